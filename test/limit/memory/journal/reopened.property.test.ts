import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ManualClock } from '../../../contracts/limit-store.js';
import { expectLikeMemory, nearTheBound, overManyCounters, START } from '../../alike-steps.js';
import { expectAlike, holdWorld } from '../../hold-steps.js';
import { expectHoldsAlike, HOLD_SEQUENCES, START as HOLDS_START } from '../../holds-alike-steps.js';
import { expectForgetting, START as FORGETTING_START, fullWorld, type WatchedStore } from '../forgetting-steps.js';
import { dueUntilSetBack, ReopeningStore } from './reopening-store.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 20);
const TIMEOUT = 60_000 + RUNS * 400;
/** About so many times, a step of a full store is looked at. */
const PEEKS = 4;
/** Shortly before midnight, so that a day ends during the runs. */
const BEFORE_MIDNIGHT = Date.UTC(2025, 5, 16) - 5_000;

/** How often the store is reopened, and whether each charge was written by then. */
const reopening = fc.record({
  every: fc.integer({ min: 1, max: 7 }),
  sync: fc.constantFrom('each' as const, 'turn' as const),
});

interface Reopening {
  readonly maxEntries?: number | undefined;
  readonly every: number;
  readonly sync: 'each' | 'turn';
}

let opened = 0;

async function withStore(
  start: number,
  { every, sync, maxEntries }: Reopening,
  run: (store: ReopeningStore, clock: ManualClock) => Promise<void>,
): Promise<void> {
  const clock = new ManualClock(start);
  const store = new ReopeningStore({
    now: clock.now,
    sync,
    maxEntries,
    isDue: dueUntilSetBack(clock, (call) => call % every === 0),
  });
  try {
    await run(store, clock);
  } finally {
    opened += store.opened;
    await store.remove();
  }
}

it.each([
  ['over many counters', overManyCounters],
  ['near the bound of what is given back', nearTheBound],
] as const)(
  'a journal that is reopened between calls and memoryStore decide alike, %s',
  async (_, sequences) => {
    const property = fc.asyncProperty(sequences, reopening, (steps, how) =>
      withStore(START, how, (store, clock) => expectLikeMemory(steps, store, clock)),
    );
    await fc.assert(property, { numRuns: RUNS });
    expect(opened).toBeGreaterThan(RUNS);
  },
  TIMEOUT,
);

it.each(HOLD_SEQUENCES)(
  'a journal that is reopened between calls and memoryStore decide alike with holds%s',
  async (_, sequences, withReference) => {
    const property = fc.asyncProperty(sequences, reopening, (steps, how) =>
      withStore(HOLDS_START, how, (store, clock) =>
        expectHoldsAlike(steps, withReference, 'a reopened journal', store, clock),
      ),
    );
    await fc.assert(property, { numRuns: RUNS });
  },
  TIMEOUT,
);

it(
  'a journal that is reopened between calls returns the same answers as plain lists',
  async () => {
    const property = fc.asyncProperty(holdWorld, reopening, (world, how) =>
      withStore(BEFORE_MIDNIGHT, how, (store, clock) => expectAlike(world, store, clock)),
    );
    await fc.assert(property, { numRuns: RUNS });
  },
  TIMEOUT,
);

it(
  'a full journal that is reopened between calls counts like plain lists, and forgets only what has used less than half of its limit',
  async () => {
    let evicted = 0;
    let shared = 0;
    const property = fc.asyncProperty(fullWorld, reopening, (world, how) =>
      withStore(
        FORGETTING_START,
        { ...how, every: how.every * PEEKS, maxEntries: world.maxEntries },
        async (store, clock) => {
          const watched: WatchedStore = {
            store,
            chargeOf: (receipt) => store.chargeOf(receipt),
            onReopened: (reconcile) => {
              store.onReopened = reconcile;
            },
          };
          // Units that were set back are counted longer after a restart.
          const steps = world.steps.filter((step) => step.kind !== 'pass' || step.ms >= 0);
          const forgetting = expectForgetting({ ...world, steps }, watched, clock);
          evicted += forgetting.evicted;
          shared += forgetting.shared;
        },
      ),
    );
    await fc.assert(property, { numRuns: RUNS });
    expect(evicted).toBeGreaterThan(RUNS / 4);
    expect(shared).toBeGreaterThan(RUNS / 4);
  },
  TIMEOUT,
);
