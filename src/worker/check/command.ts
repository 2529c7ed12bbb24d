import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { Duration } from '../../core/duration.js';
import { OptionError } from '../../core/option.js';
import { checkWorker, type WorkerRuleResult } from './check-worker.js';

export const CHECK_WORKER_HELP = `Usage: gatewarden check-worker URL [options]

Checks an idle worker against the worker contract, and prints each rule, held or broken. It runs about twenty jobs.

  --path PATH               the path of a job (default /generate/text)
  --body FILE               a file with the body of a job (default a slow prompt of the Point-E stand-in). The job must
                            take at least half a second longer than --stop-within
  --type TYPE               the media type of the body (default application/json)
  --header 'Name: value'    another header of a job; may be repeated
  --stop-within TIME        how soon a job must have ended after it was told to stop (default 2s)
  --previous-instance ID    the instance before a restart of the worker, which must be another one now

The exit code is 0 if no rule is broken, 1 if one is, and 2 if the worker could not be checked.
`;

/** Where a command prints. */
export interface CommandOutput {
  out(text: string): void;
  error(text: string): void;
}

/** Runs `gatewarden check-worker`, and returns the exit code. */
export async function checkWorkerCommand(args: readonly string[], { out, error }: CommandOutput): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        path: { type: 'string' },
        body: { type: 'string' },
        type: { type: 'string' },
        header: { type: 'string', multiple: true, default: [] },
        'stop-within': { type: 'string' },
        'previous-instance': { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      out(CHECK_WORKER_HELP);
      return 0;
    }
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) throw new OptionError('gatewarden: check-worker takes one URL');
    const { conforms, instance, results } = await checkWorker({
      url,
      path: values.path,
      body: values.body === undefined ? undefined : await readFile(values.body),
      contentType: values.type,
      headers: Object.fromEntries(values.header.map(headerOf)),
      stopWithin: values['stop-within'] as Duration | undefined,
      previousInstance: values['previous-instance'],
      onResult: (result) => out(lineOf(result)),
    });
    const count = (kind: WorkerRuleResult['kind']) => results.filter((result) => result.kind === kind).length;
    out(`\n${count('held')} rules held, ${count('broken')} broken, ${count('skipped')} not checked.\n`);
    if (values['previous-instance'] === undefined && instance !== '') {
      out(`To check that a restart changes the instance, restart the worker and add --previous-instance ${instance}\n`);
    }
    return conforms ? 0 : 1;
  } catch (failure) {
    if (!isExpected(failure)) throw failure;
    error(`${failure.message}\n\n${CHECK_WORKER_HELP}`);
    return 2;
  }
}

const MARKS = { held: 'held    ', broken: 'BROKEN  ', skipped: 'skipped ' } as const;

function lineOf({ name, rule, kind, reason }: WorkerRuleResult): string {
  return `${MARKS[kind]} ${name}: ${rule}\n${reason === '' ? '' : `         ${reason}\n`}`;
}

function headerOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new OptionError("gatewarden: check-worker --header must be 'Name: value'");
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}

/** A mistake in the command line, or a file that cannot be read. */
function isExpected(failure: unknown): failure is Error {
  if (failure instanceof OptionError) return true;
  const { code, syscall } = failure as NodeJS.ErrnoException;
  return failure instanceof Error && (code?.startsWith('ERR_PARSE_ARGS') === true || syscall !== undefined);
}
