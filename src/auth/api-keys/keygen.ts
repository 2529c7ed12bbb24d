import { parseArgs } from 'node:util';
import { milliseconds } from '../../core/duration.js';
import { OptionError } from '../../core/option.js';
import { generateApiKey } from './generate.js';

/** The result of running a command. */
export interface CommandResult {
  readonly exitCode: 0 | 2;
  readonly stdout: string;
  readonly stderr: string;
}

export const KEYGEN_HELP = `Usage: gatewarden keygen [options]

Generates an API key. Prints two lines: the key, which cannot be shown again, and the record to store, as JSON.

  --client <id>        the client that gets the key; default a new id
  --name <text>        a name for people
  --scope <scope>      a scope that the key grants; may be repeated
  --expires <duration> how long the key is valid, such as 90d or 12h; default forever
  --prefix <text>      the beginning of the key; default gk_live_
  --help               prints this help

Environment:
  GATEWARDEN_PEPPER    the pepper of the apiKeys that uses the record, if it has one: at least 32 characters

Example: write the record to a file, and pass the key to another command:
  npx gatewarden keygen --client acme --expires 90d | { IFS= read -r key; cat > acme.json; printf %s "$key" | pass insert -e acme; }
`;

const OPTIONS = {
  client: { type: 'string', multiple: true },
  name: { type: 'string', multiple: true },
  scope: { type: 'string', multiple: true },
  expires: { type: 'string', multiple: true },
  prefix: { type: 'string', multiple: true },
  help: { type: 'boolean' },
} as const;

/** A hundred years, in milliseconds. */
const MAX_EXPIRES = 3_153_600_000_000;

/** The command's name for each option of `generateApiKey`. */
const ARGUMENTS: ReadonlyMap<string, string> = new Map([
  ['clientId', '--client'],
  ['name', '--name'],
  ['scopes', '--scope'],
  ['expiresAt', '--expires'],
  ['prefix', '--prefix'],
  ['pepper', 'GATEWARDEN_PEPPER'],
]);

/** Runs `gatewarden keygen`. For bad arguments, the exit code is 2 and one line on stderr says what is wrong. */
export function keygen(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  now: () => number = Date.now,
): CommandResult {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    if (values.help === true) return { exitCode: 0, stdout: KEYGEN_HELP, stderr: '' };
    const clientId = single('client', values.client);
    const name = single('name', values.name);
    const expires = single('expires', values.expires);
    const prefix = single('prefix', values.prefix);
    // An empty pepper is an error: a variable that is set is meant to have a value.
    const pepper = env.GATEWARDEN_PEPPER;
    const time = now();
    const { key, record } = generateApiKey({
      ...(clientId === undefined ? {} : { clientId }),
      ...(name === undefined ? {} : { name }),
      ...(expires === undefined ? {} : { expiresAt: time + milliseconds('keygen', '--expires', expires, MAX_EXPIRES) }),
      ...(prefix === undefined ? {} : { prefix }),
      ...(pepper === undefined ? {} : { pepper }),
      scopes: values.scope ?? [],
      now: () => time,
    });
    return { exitCode: 0, stdout: `${key}\n${JSON.stringify(record)}\n`, stderr: '' };
  } catch (error) {
    // Both parseArgs and bad options throw TypeErrors. No argument is a secret.
    if (!(error instanceof TypeError)) throw error;
    const message = error.message
      .replace(/^gatewarden: \w+ "([\w-]+)"/, (_start, option: string) => ARGUMENTS.get(option) ?? option)
      .replace(/\s*\n\s*/g, ' ');
    return { exitCode: 2, stdout: '', stderr: `gatewarden keygen: ${message}\nSee gatewarden keygen --help.\n` };
  }
}

function single(name: string, values: readonly string[] | undefined): string | undefined {
  if (values !== undefined && values.length > 1) throw new OptionError(`--${name} must be given only once`);
  return values?.[0];
}
