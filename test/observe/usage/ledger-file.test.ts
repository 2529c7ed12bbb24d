import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { memoryLedger } from '../../../src/observe/usage/memory-ledger.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-ledger-file-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('can be read by its owner only', async () => {
  const file = join(folder, 'usage.json');
  const ledger = memoryLedger({ file });
  ledger.add([{ client: 'ada', requests: 1 }]);
  await ledger.close();
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('is written again after a failure, without another request, and the failure is reported once', async () => {
  const warnings: string[] = [];
  const note = (warning: Error & { readonly code?: string }) => {
    if (warning.code === 'GATEWARDEN_LEDGER_FILE') warnings.push(warning.message);
  };
  process.on('warning', note);
  await mkdir(join(folder, 'later'));
  const file = join(folder, 'later', 'usage.json');
  const ledger = memoryLedger({ file, interval: '5ms' });
  await rm(join(folder, 'later'), { recursive: true });
  ledger.add([{ client: 'ada', requests: 1 }]);
  // Its timers do not keep a process alive.
  const alive = setInterval(() => undefined, 1000);
  await sleep(100);
  await mkdir(join(folder, 'later'));
  await expect.poll(() => readFile(file, 'utf8').catch(() => '')).toContain('"ada"');
  clearInterval(alive);
  process.off('warning', note);
  expect(warnings).toEqual([expect.stringContaining('memoryLedger cannot write its file, and will try again: ENOENT')]);
  await ledger.close();
});

it('is not written after close', async () => {
  const file = join(folder, 'usage.json');
  const ledger = memoryLedger({ file, interval: '5ms' });
  ledger.add([{ client: 'ada', requests: 1 }]);
  await ledger.close();
  await rm(file);
  ledger.add([{ client: 'ada', requests: 1 }]);
  await sleep(50);
  await expect(stat(file)).rejects.toThrow('ENOENT');
});

it('has the row of others beside those of so many clients', async () => {
  const file = join(folder, 'usage.json');
  const first = memoryLedger({ file, maxClients: 1 });
  for (const client of ['ada', 'bob']) first.add([{ client, requests: 1 }]);
  await first.close();
  // There is room for one client more.
  const second = memoryLedger({ file, maxClients: 2 });
  second.add([{ client: 'grace', requests: 1 }]);
  expect(second.read({ sort: 'client' }).rows.map(({ client }) => client)).toEqual(['ada', 'grace', 'others']);
  await second.close();
});

it('is written by a second save if the first has failed', async () => {
  await mkdir(join(folder, 'later'));
  const file = join(folder, 'later', 'usage.json');
  const ledger = memoryLedger({ file });
  await rm(join(folder, 'later'), { recursive: true });
  ledger.add([{ client: 'ada', requests: 1 }]);
  await expect(ledger.save()).rejects.toThrow('ENOENT');
  await mkdir(join(folder, 'later'));
  await ledger.save();
  expect(await readFile(file, 'utf8')).toContain('"ada"');
});
