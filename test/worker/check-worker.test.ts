import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OptionError } from '../../src/index.js';
import { checkWorker } from '../../src/worker/check/check-worker.js';
import { checkWorkerCommand } from '../../src/worker/check/command.js';
import { temporaryFolder } from './folder.js';
import { CLOSED_URL } from './scene.js';
import { smallWorker } from './small-worker.js';

async function started(server: Server, finished: typeof onTestFinished = onTestFinished): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  finished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const QUICK = { stopWithin: '800ms', body: '{}' } as const;

/** Every rule, in the order in which they are checked. */
const RULES = [
  ['ready', 'listed', 'gpu-seconds'],
  ['headers', 'instance', 'slot', 'token', 'slots-apart'],
  ['ended', 'deadline', 'disconnect'],
  ['busy', 'newer-stops-older', 'newer-starts', 'announced'],
  ['cancel', 'cancel-state', 'cancel-repeated', 'cancel-first', 'cancel-older', 'cancel-instance'],
  ['ended-list'],
].flat();

describe('checkWorker', () => {
  it('finds nothing wrong with a worker that follows the contract', { timeout: 60_000 }, async () => {
    const url = await started(smallWorker());
    const { conforms, results } = await checkWorker({ url, ...QUICK });
    expect(results.filter(({ kind }) => kind !== 'held')).toEqual([]);
    expect(results.map(({ name }) => name)).toEqual(RULES);
    expect(conforms).toBe(true);
  });

  it.concurrent.each(RULES)(
    'names the rule that a worker breaks, and no other: %s',
    async (breaks) => {
      const url = await started(smallWorker({ breaks }), () => undefined);
      const { conforms, results } = await checkWorker({ url, ...QUICK });
      const broken = results.filter(({ kind }) => kind === 'broken');
      expect(broken).toEqual([expect.objectContaining({ name: breaks, reason: expect.stringMatching(/./) })]);
      expect(conforms).toBe(false);
    },
    60_000,
  );

  it('checks that a restart changes the instance, if it knows the one before', async () => {
    const check = async (instance: string, previousInstance: string) => {
      const url = await started(smallWorker({ instance }));
      const { results } = await checkWorker({ url, ...QUICK, previousInstance });
      return results.filter(({ kind }) => kind === 'broken').map(({ name }) => name);
    };
    expect(await Promise.all([check('second', 'first'), check('first', 'first')])).toEqual([[], ['restart']]);
  }, 60_000);

  it('skips the list of ended jobs of a worker that keeps none', { timeout: 60_000 }, async () => {
    const url = await started(smallWorker({ keepsEnded: false }));
    const { conforms, results } = await checkWorker({ url, ...QUICK });
    expect(conforms).toBe(true);
    expect(results.at(-1)).toMatchObject({
      kind: 'skipped',
      reason: 'it keeps no list: GET /jobs/ended does not respond with 200',
    });
  });

  it('checks nothing else if there is no worker', async () => {
    const { results } = await checkWorker({ url: CLOSED_URL, ...QUICK });
    expect(results[0]).toMatchObject({ name: 'ready', kind: 'broken', reason: expect.stringContaining('/ready') });
    expect(new Set(results.slice(1).map(({ kind, reason }) => `${kind}: ${reason}`))).toEqual(
      new Set(['skipped: it needs the rule "ready"']),
    );
  });

  it('refuses a job that is too short to be checked', async () => {
    const url = await started(smallWorker({ jobMs: 200 }));
    await expect(checkWorker({ url, ...QUICK })).rejects.toThrow(/"body" must be a longer job.*at least 1300 ms/);
  });

  it.each([
    ['ftp://worker', '"url" must be a URL that begins with http'],
    ['http://a:c4n4ry@worker', 'must not contain a user name or password'],
    ['http://worker?a=b', 'must have no query'],
  ])('refuses the URL %s', async (url, message) => {
    const found = await checkWorker({ url }).catch((error: unknown) => error);
    expect(found).toBeInstanceOf(OptionError);
    expect(String(found)).toContain(message);
    expect(String(found)).not.toContain('c4n4ry');
  });
});

describe('gatewarden check-worker', () => {
  async function run(...args: string[]) {
    const printed = { out: '', error: '' };
    const code = await checkWorkerCommand(args, {
      out: (text) => {
        printed.out += text;
      },
      error: (text) => {
        printed.error += text;
      },
    });
    return { code, ...printed };
  }

  it('prints each rule, held or broken, and exits with 1 if one is broken', { timeout: 60_000 }, async () => {
    const url = await started(smallWorker({ breaks: 'deadline', slots: 1 }));
    const body = join(temporaryFolder(), 'job.json');
    await writeFile(body, '{}');
    const { code, out, error } = await run(url, '--body', body, '--type', 'text/plain', '--stop-within', '800ms');
    expect([code, error]).toEqual([1, '']);
    const lines = out.split('\n').filter((line) => /^\w/.test(line));
    expect(lines.filter((line) => line.startsWith('BROKEN'))).toEqual([
      'BROKEN   deadline: a job stops at its X-Deadline-Ms and is answered with 504',
    ]);
    expect(lines).toContain('skipped  slots-apart: tokens rise for each slot by itself');
    expect(lines).toContain('held     cancel-first: a cancel that arrives before its job keeps the job from starting');
    expect(out).toMatch(/^ {9}a job went on for 800 ms after its deadline$/m);
    expect(out).toMatch(/^20 rules held, 1 broken, 1 not checked\.$/m);
    expect(out).toMatch(/--previous-instance [\w-]{36}$/m);
  });

  it.each([
    [[], 'check-worker takes one URL'],
    [['http://a', 'http://b'], 'check-worker takes one URL'],
    [['worker:8090'], '"url" must be a URL that begins with http:// or https://'],
    [['http://a', '--paht', '/x'], "Unknown option '--paht'"],
    [['http://a', '--path', 'x'], '"path" must be a path that begins with one'],
    [['http://a', '--body', '/nowhere/x'], 'ENOENT'],
    [['http://a', '--stop-within', '5'], '"stopWithin" needs a unit'],
    [['http://a', '--header', 'x'], "--header must be 'Name: value'"],
  ])('explains %j, and exits with 2', async (args, message) => {
    const { code, out, error } = await run(...args);
    expect([code, out]).toEqual([2, '']);
    expect(error).toContain(message);
    expect(error).toContain('Usage: gatewarden check-worker URL');
  });
});
