import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type MemoryLedger, memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { MemoryRows } from '../../../src/observe/usage/memory-rows.js';

const NOON = Date.UTC(2026, 10, 22, 12);
const DAY = 86_400_000;

async function withFile(test: (file: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-large-'));
  try {
    await test(join(folder, 'usage.json'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** All that a ledger knows, day by day. */
function all(ledger: MemoryLedger): unknown {
  const days = Array.from({ length: 8 }, (_, i) => new Date(NOON + i * DAY).toISOString().slice(0, 10));
  return [undefined, ...days].map((day) => ledger.read({ day, sort: 'client' }));
}

it('packs one day in a turn, and those that have not changed only once', async () => {
  const rows = new MemoryRows(31, 10_000);
  const addOn = (day: number) => rows.add(`2026-01-${String(day).padStart(2, '0')}`, { client: 'ada', requests: 1 });
  for (let day = 1; day <= 31; day++) addOn(day);
  const turnsOf = async (act: () => Promise<unknown>) => {
    let [turns, isOver] = [0, false];
    const look = (): void => {
      turns++;
      if (!isOver) setImmediate(look);
    };
    setImmediate(look);
    await act();
    isOver = true;
    return turns;
  };
  expect(await turnsOf(() => rows.packed())).toBeGreaterThanOrEqual(29);
  expect(await turnsOf(() => rows.packed())).toBe(0);
  addOn(7);
  // The day that was the last one is packed now.
  expect(await turnsOf(() => rows.packed())).toBeLessThanOrEqual(2);
  const text = (await rows.packed()).join('');
  expect(JSON.parse(text).days.map(([, [row]]: [string, [[string, number[]]]]) => row[1][0])).toEqual(
    Array.from({ length: 31 }, (_, i) => (i === 6 ? 2 : 1)),
  );
});

it('the file has what the ledger had at one moment, whatever was counted meanwhile and on whichever day', async () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant('add' as const), client: fc.constantFrom('ada', 'bob', 'grace') }),
    fc.record({ what: fc.constant('book' as const), job: fc.integer({ min: 0, max: 5 }), gpuTime: fc.nat(1000) }),
    fc.record({ what: fc.constant('correct' as const), job: fc.integer({ min: 0, max: 5 }), gpuTime: fc.nat(1000) }),
    fc.record({ what: fc.constant('day' as const), day: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ what: fc.constant('save' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      await withFile(async (file) => {
        let now = NOON;
        const ledger = memoryLedger({ file, keepDays: 4, interval: '1h', now: () => now });
        const saves: Promise<void>[] = [];
        for (const one of steps) {
          if (one.what === 'add') ledger.add([{ client: one.client, requests: 1 }]);
          if (one.what === 'day') now = NOON + one.day * DAY;
          if (one.what === 'save') saves.push(ledger.save());
          if (one.what === 'book' || one.what === 'correct') {
            const { job, gpuTime } = one;
            ledger.book([
              { job: `job-${job}`, client: 'ada', gpuTime, isFinal: one.what === 'correct', end: 'finished' },
            ]);
          }
          // Some of it is written now.
          await new Promise(setImmediate);
        }
        await Promise.all(saves);
        await ledger.close();
        const again = memoryLedger({ file, keepDays: 4, now: () => now });
        expect(all(again)).toEqual(all(ledger));
        // What was booked stays booked.
        for (const one of [again, ledger]) {
          for (let job = 0; job <= 5; job++) {
            one.book([{ job: `job-${job}`, client: 'ada', gpuTime: 5, isFinal: true, end: 'finished' }]);
          }
        }
        expect(all(again)).toEqual(all(ledger));
        await again.close();
      });
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 60) },
  );
});

it('remembers a job for as long as those that were booked after its correction', () => {
  const ledger = memoryLedger();
  const book = (job: string, isFinal: boolean) =>
    ledger.book([{ job, client: 'ada', gpuTime: 1, isFinal, end: 'finished' }]);
  book('a', false);
  for (let i = 1; i < 40_000; i++) book(`job-${i}`, true);
  book('a', true);
  book('last', true);
  book('a', true);
  expect(ledger.read().rows).toMatchObject([{ gpuTime: 40_001, jobsFinished: 40_001 }]);
});
