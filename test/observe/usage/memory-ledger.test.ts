import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { type MemoryLedgerOptions, memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { ledgerContract } from '../../contracts/ledger.js';

ledgerContract('memoryLedger', () => {
  let now = 0;
  return {
    ledgers: [memoryLedger({ now: () => now })],
    setTime(time) {
      now = time;
    },
  };
});

const NOON = Date.UTC(2026, 10, 22, 12);
const DAY = 86_400_000;

describe('memoryLedger', () => {
  it('begins its days in its time zone', () => {
    const now = () => Date.UTC(2026, 10, 22, 23, 30);
    expect(memoryLedger({ now }).today()).toBe('2026-11-22');
    expect(memoryLedger({ now, timeZone: 'Europe/Berlin' }).today()).toBe('2026-11-23');
    expect(memoryLedger({ now, timeZone: 'America/New_York' }).today()).toBe('2026-11-22');
  });

  it('keeps so many days, and their sum', () => {
    let now = NOON;
    const ledger = memoryLedger({ keepDays: 2, now: () => now });
    for (let i = 0; i < 4; i++) {
      ledger.add([{ client: 'ada', requests: 1 }]);
      now += DAY;
    }
    const days = ['2026-11-22', '2026-11-23', '2026-11-24', '2026-11-25'];
    expect(days.map((day) => ledger.read({ day }).total)).toEqual([0, 0, 1, 1]);
    expect(ledger.read().rows).toMatchObject([{ requests: 4 }]);
  });

  it('counts on a day before all days that it keeps, as if the clock was set back', () => {
    let now = Date.UTC(2026, 10, 22);
    const ledger = memoryLedger({ keepDays: 1, now: () => now });
    ledger.add([{ client: 'ada', requests: 1 }]);
    now -= 1;
    ledger.add([{ client: 'ada', requests: 1 }]);
    ledger.book([{ job: 'a', client: 'ada', gpuTime: 5, isFinal: false, end: 'finished' }]);
    now += 1;
    ledger.book([{ job: 'a', client: 'ada', gpuTime: 7, isFinal: true, end: 'finished' }]);
    ledger.add([{ client: 'ada', requests: 1 }]);
    expect(ledger.read().rows).toMatchObject([{ requests: 3, gpuTime: 7, jobsFinished: 1 }]);
    expect(ledger.read({ day: '2026-11-22' }).rows).toMatchObject([{ requests: 2, gpuTime: 0 }]);
  });

  it('counts clients beyond its bound together, and loses nothing of them', () => {
    const ledger = memoryLedger({ maxClients: 3 });
    for (let i = 0; i < 10; i++) ledger.add([{ client: `client-${i}`, requests: 1 }]);
    ledger.add([{ client: 'client-0', requests: 1 }]);
    ledger.book([{ job: 'a', client: 'client-9', gpuTime: 5, isFinal: true, end: 'finished' }]);
    const { rows, total } = ledger.read({ sort: 'client' });
    expect(total).toBe(4);
    expect(rows.map(({ client, requests }) => [client, requests])).toEqual([
      ['client-0', 2],
      ['client-1', 1],
      ['client-2', 1],
      ['others', 7],
    ]);
    expect(ledger.read().rows[0]).toMatchObject({ client: 'others', gpuTime: 5 });
  });

  it.each<[message: string, options: object]>([
    ['memoryLedger "keepDays" must be at most 400, got 401', { keepDays: 401 }],
    ['memoryLedger "maxClients" must be a positive integer, got 0', { maxClients: 0 }],
    ['memoryLedger "timeZone" must be a time zone such as Europe/Berlin', { timeZone: 'Mars' }],
    ['memoryLedger "file" must be a non-empty string', { file: '' }],
    ['memoryLedger "interval" needs a unit', { interval: 5 }],
    ['memoryLedger has no option "path"', { path: 'x' }],
  ])('refuses bad options: %s', (message, options) => {
    const make = () => memoryLedger(options as MemoryLedgerOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });
});

describe('the file of memoryLedger', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatewarden-ledger-'));
    file = join(folder, 'usage.json');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('has all rows, days and jobs after close', async () => {
    let now = NOON;
    const first = memoryLedger({ file, now: () => now });
    first.add([{ client: 'ada', requests: 2, refusal: 'not-ready' }]);
    now += DAY;
    first.book([
      { job: 'a', client: 'bob', gpuTime: 70, isFinal: false, end: 'aborted' },
      { job: 'b', client: 'bob', gpuTime: 7, isFinal: true, end: 'finished' },
    ]);
    const before = first.read();
    await first.close();

    const second = memoryLedger({ file, now: () => now });
    expect(second.read()).toEqual(before);
    expect(second.read({ day: '2026-11-22' }).rows).toMatchObject([{ client: 'ada', requests: 2 }]);
    // What was booked stays booked, and what was measured is corrected.
    second.book([
      { job: 'b', client: 'bob', gpuTime: 7, isFinal: true, end: 'finished' },
      { job: 'a', client: 'bob', gpuTime: 60, isFinal: true, end: 'finished' },
    ]);
    expect(second.read({ client: 'bob', day: '2026-11-23' }).rows).toMatchObject([
      { gpuTime: 67, jobsFinished: 1, jobsAborted: 1 },
    ]);
    await second.close();
    expect(await readdir(folder)).toEqual(['usage.json']);
  });

  it('keeps the row of each client that had one, also if others came before it on a later day', async () => {
    let now = NOON;
    const first = memoryLedger({ file, maxClients: 2, now: () => now });
    for (const client of ['ada', 'bob', 'grace']) first.add([{ client, requests: 1 }]);
    now += DAY;
    for (const client of ['grace', 'bob', 'ada']) first.add([{ client, requests: 1 }]);
    const before = first.read({ sort: 'client' });
    await first.close();
    expect(before.rows.map(({ client, requests }) => [client, requests])).toEqual([
      ['ada', 2],
      ['bob', 2],
      ['others', 2],
    ]);
    expect(memoryLedger({ file, maxClients: 2, now: () => now }).read({ sort: 'client' })).toEqual(before);
  });

  it('can be read again, whatever lengths clients have named', async () => {
    const first = memoryLedger({ file, maxClients: 1 });
    for (const client of ['ada', 'bob', 'bob', 'bob']) {
      first.add([{ client, requests: 1, bytesIn: Number.MAX_SAFE_INTEGER, bytesOut: Number.MAX_SAFE_INTEGER }]);
      first.add([{ client, requests: 1, bytesIn: 5 }]);
    }
    await first.close();
    const second = memoryLedger({ file, maxClients: 1 });
    expect(second.read({ client: 'others' }).rows).toMatchObject([
      { requests: 6, bytesIn: Number.MAX_SAFE_INTEGER, bytesOut: Number.MAX_SAFE_INTEGER },
    ]);
    await second.close();
  });

  it('books no job again after a restart that the full lists of four workers have', async () => {
    const first = memoryLedger({ file });
    const jobs = Array.from({ length: 40_000 }, (_, i) => ({
      job: `instance ${i % 4} ${i}`,
      client: 'ada',
      gpuTime: 1,
      isFinal: true,
      end: 'finished' as const,
    }));
    first.book(jobs);
    await first.close();
    const second = memoryLedger({ file });
    second.book(jobs);
    expect(second.read().rows).toMatchObject([{ gpuTime: 40_000, jobsFinished: 40_000 }]);
    await second.close();
  });

  it('is written on an interval, so that a process that is killed loses little', async () => {
    const ledger = memoryLedger({ file, interval: '10ms' });
    ledger.add([{ client: 'ada', requests: 1 }]);
    await expect.poll(() => readFile(file, 'utf8').catch(() => '')).toContain('ada');
    expect(memoryLedger({ file }).read().rows).toMatchObject([{ client: 'ada', requests: 1 }]);
    await ledger.close();
  });

  it('is not reset by a process that died while it wrote', async () => {
    const ledger = memoryLedger({ file });
    ledger.add([{ client: 'ada', requests: 1 }]);
    await ledger.close();
    await writeFile(`${file}.new`, '{"version":"gatewa');
    expect(memoryLedger({ file }).read().total).toBe(1);
  });

  it.each([
    ['cut off', (whole: string) => whole.slice(0, -20)],
    ['empty', () => ''],
    ['of another program', () => '{"usage":[]}'],
    ['of another version', (whole: string) => whole.replace('usage 1', 'usage 9')],
    ['without figures', (whole: string) => whole.replace(/\[1,0,0.*?\]/, '[]')],
    ['with a figure that is no number', (whole: string) => whole.replace(/\[1,0/, '["1",0')],
  ])('is refused if it is %s', async (_what, damage) => {
    const ledger = memoryLedger({ file });
    ledger.add([{ client: 'ada', requests: 1 }]);
    await ledger.close();
    const damaged = damage(await readFile(file, 'utf8'));
    await writeFile(file, damaged);
    expect(() => memoryLedger({ file })).toThrow(
      `gatewarden: memoryLedger cannot use the file ${file}: it is damaged, or no ledger; restore it from a backup, or move it away to begin at zero`,
    );
    expect(await readFile(file, 'utf8')).toBe(damaged);
  });

  it('is refused if it cannot be read', () => {
    expect(() => memoryLedger({ file: folder })).toThrow(`gatewarden: memoryLedger cannot read the file ${folder}`);
  });

  it('rejects close if it cannot be written', async () => {
    await mkdir(join(folder, 'removed'));
    const ledger = memoryLedger({ file: join(folder, 'removed', 'usage.json') });
    await rm(join(folder, 'removed'), { recursive: true });
    ledger.add([{ client: 'ada', requests: 1 }]);
    await expect(ledger.close()).rejects.toThrow('ENOENT');
  });
});
