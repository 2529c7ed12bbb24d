import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { concurrency, gpuTime } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { expectAlike, holdWorld } from '../hold-steps.js';
import { at } from '../reference-log.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);
const TIMEOUT = Math.max(60_000, RUNS * 60);
/** Shortly before midnight, so that a day ends during the runs. */
const START = Date.UTC(2025, 5, 16) - 5_000;
const DAY = 86_400_000;

it(
  'memoryStore returns the same answers as plain lists, whatever is admitted, settled, renewed, released and lost',
  async () => {
    await fc.assert(
      fc.asyncProperty(holdWorld, fc.constantFrom(3, 4, 1000), async (world, maxEntries) => {
        const clock = new ManualClock(START);
        await expectAlike(world, memoryStore({ maxEntries, now: clock.now }), clock);
      }),
      { numRuns: RUNS },
    );
  },
  TIMEOUT,
);

describe('memoryStore', () => {
  const LEASE = 1000;
  const jump = fc.oneof(
    fc.integer({ min: 0, max: 500 }),
    fc.constantFrom(LEASE - 1, LEASE, 3_600_000, DAY, -1, -400, -LEASE, -3_600_000, -DAY),
  );
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('admit' as const), units: fc.integer({ min: 1, max: 3 }) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constantFrom('release', 'renew', 'settle'), i: fc.nat({ max: 20 }) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('jump' as const), ms: jump }) },
  );

  it(
    'never holds more than the limit, nor anything for longer than a lease, wherever the clock jumps',
    () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 5 }),
          fc.array(step, { maxLength: 60, size: 'max' }),
          fc.boolean(),
          (limit, steps, isGpu) => {
            const clock = new ManualClock(START);
            const store = memoryStore({ now: clock.now });
            const policy = isGpu
              ? gpuTime({ limit: `${limit}ms`, window: '5s', estimate: '1ms', lease: '1s' })
              : concurrency({ limit, lease: '1s' });
            /** What surely still runs: since its grant or renewal, less than a lease has passed in all. */
            const jobs: { receipt: Receipt; units: number; passed: number; slot: number; token: number }[] = [];
            let lastToken = 0;
            for (const step of steps) {
              if (step.kind === 'jump') {
                const ms = 'ms' in step ? step.ms : 0;
                clock.set(Math.max(0, clock.now() + ms));
                for (const job of jobs) job.passed = ms < 0 ? Number.NaN : job.passed + ms;
              } else if (step.kind === 'admit') {
                const units = 'units' in step ? step.units : 1;
                const held = jobs.filter(({ passed }) => passed < LEASE);
                const decision = store.admit([policy], ['key'], [units]);
                if (decision.kind === 'refused') continue;
                expect(held.reduce((sum, job) => sum + job.units, units)).toBeLessThanOrEqual(limit);
                const [hold] = decision.holds ?? [];
                expect(held.map(({ slot }) => slot)).not.toContain(hold?.slot);
                // Also after the clock ran back.
                expect(hold?.token).toBeGreaterThan(lastToken);
                lastToken = hold?.token ?? Number.NaN;
                jobs.push({ receipt: decision.receipt, units, passed: 0, slot: hold?.slot ?? -1, token: lastToken });
              } else if (jobs.length > 0) {
                const job = at(jobs, 'i' in step ? step.i : 0);
                if (step.kind === 'renew') {
                  if (store.renew(job.receipt)) job.passed = 0;
                  continue;
                }
                if (step.kind === 'release') store.release(job.receipt);
                else store.settle(job.receipt, [0]);
                jobs.splice(jobs.indexOf(job), 1);
              }
            }
            // Whatever the time is by now, one lease of silence frees everything.
            store.peek([policy], ['key']);
            clock.advance(LEASE);
            expect(store.peek([policy], ['key'])).toMatchObject([{ remaining: limit }]);
            for (const { receipt } of jobs) expect(store.renew(receipt)).toBe(false);
          },
        ),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );
});
