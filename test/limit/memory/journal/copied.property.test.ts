import * as fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import { concurrency, dailyQuota, gpuTime, slidingWindow } from '../../../../src/limit/policy.js';
import type { Receipt } from '../../../../src/limit/store.js';
import { ManualClock } from '../../../contracts/limit-store.js';
import { QUICK } from './reopening-store.js';
import { useScratch } from './scratch.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.min(2000, Number(process.env.PROPERTY_RUNS ?? 10));
const NOON = Date.UTC(2025, 5, 15, 12);
/** More than there are counters for, and far more than are copied at once. */
const KEYS = Array.from({ length: 700 }, (_, i) => `client ${i} ${'x'.repeat(i % 40)}`);
const MAX_ENTRIES = 600;
const POLICIES = [
  slidingWindow({ limit: 20, window: '3s' }),
  dailyQuota({ limit: 30 }),
  concurrency({ limit: 4, lease: '2s' }),
  gpuTime({ limit: '20ms', window: '4s', estimate: '1ms', lease: '1s' }),
];

const several = { from: fc.nat({ max: KEYS.length - 1 }), count: fc.integer({ min: 1, max: 300 }) };
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      ...several,
      policies: fc.uniqueArray(fc.nat({ max: POLICIES.length - 1 }), { minLength: 1, maxLength: 4 }),
      units: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('settle' as const, 'renew' as const, 'release' as const),
      ...several,
      units: fc.nat({ max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const), ...several }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 40, 900, 2000, 5000, -700) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
);

const newDirectory = useScratch();
let crashes = 0;
/** Crashes between the first and the last part of a copy. */
let amidst = 0;

function open(directory: string, clock: ManualClock): JournaledStore {
  const settings = { directory, sync: 'each', mode: 'refuse', onEvent: undefined } as const;
  return new JournaledStore(MAX_ENTRIES, new GivenClock(clock.now), true, settings, QUICK);
}

const statesOf = (store: JournaledStore) => KEYS.map((key) => store.peek(POLICIES, Array(POLICIES.length).fill(key)));

/** Expects that a process that starts now finds all that was counted, or more if the clock was set back since. */
function expectAll(directory: string, store: JournaledStore, clock: ManualClock, wasSetBack: boolean): void {
  const left = newDirectory();
  fs.cpSync(directory, left, { recursive: true, filter: (path) => !/lock$|[.]new$/.test(path) });
  crashes++;
  if (fs.readdirSync(left).filter((name) => name.endsWith('.journal')).length > 1) amidst++;
  const states = statesOf(store);
  const again = open(left, clock);
  try {
    if (!wasSetBack) expect(statesOf(again)).toEqual(states);
    else {
      const remaining = states.flat().map((state) => state.remaining);
      const found = statesOf(again).flat();
      expect(found.filter((state, i) => state.remaining > (remaining[i] as number))).toEqual([]);
    }
  } finally {
    again.close();
  }
}

it(
  'a journal forgets nothing if it crashes while its counters are copied, whatever changes meanwhile',
  async () => {
    const steps = fc.array(step, { minLength: 20, maxLength: 50, size: 'max' });
    const property = fc.asyncProperty(steps, async (steps) => {
      const clock = new ManualClock(NOON);
      const directory = newDirectory();
      const store = open(directory, clock);
      const receipts: Receipt[] = [];
      let wasSetBack = false;
      try {
        for (const step of steps) {
          if (step.kind === 'pass') {
            clock.advance(step.ms);
            wasSetBack ||= step.ms < 0;
          } else if (step.kind === 'turns') for (let i = 0; i < step.count; i++) await sleep(1);
          else if (step.kind === 'crash') expectAll(directory, store, clock, wasSetBack);
          else {
            for (let i = 0; i < step.count; i++) {
              const key = KEYS[(step.from + i) % KEYS.length] as string;
              const receipt = receipts[receipts.length - 1 - (step.from + i)];
              if (step.kind === 'admit') {
                const policies = step.policies.map((n) => POLICIES[n] as (typeof POLICIES)[number]);
                const decision = store.admit(
                  policies,
                  policies.map(() => key),
                  policies.map(() => step.units),
                );
                if (decision.kind === 'admitted') receipts.push(decision.receipt);
              } else if (step.kind === 'reset') store.reset(POLICIES, Array(POLICIES.length).fill(key));
              else if (receipt !== undefined && step.kind === 'settle')
                store.settle(receipt, Array(4).fill(step.units));
              else if (receipt !== undefined && step.kind !== 'settle') store[step.kind](receipt);
            }
          }
        }
        expectAll(directory, store, clock, wasSetBack);
      } finally {
        store.close();
      }
    });
    await fc.assert(property, { numRuns: RUNS });
    console.info(`${crashes} crashes, ${amidst} of them while counters were copied`);
    expect(amidst).toBeGreaterThan(RUNS);
  },
  60_000 + RUNS * 2000,
);
