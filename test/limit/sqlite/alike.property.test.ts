import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { slidingWindow } from '../../../src/limit/policy.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { expectLikeMemory, nearTheBound, overManyCounters, START } from '../alike-steps.js';
import { expectAlike, holdWorld } from '../hold-steps.js';
import { expectHoldsAlike, HOLD_SEQUENCES } from '../holds-alike-steps.js';
import { describeSqlite, makeFolder, nodeSqlite } from './describe.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 400);
const TIMEOUT = 60_000 + RUNS * 200;
/** Shortly before midnight, so that a day ends during the runs. */
const BEFORE_MIDNIGHT = Date.UTC(2025, 5, 16) - 5_000;

describeSqlite('sqliteStore and memoryStore', () => {
  let folder: ReturnType<typeof makeFolder>;
  beforeAll(() => {
    folder = makeFolder();
  });
  afterAll(() => folder.remove());

  /** A new store in the memory of SQLite: a file would be made and removed for each run. */
  async function withStore(
    start: number,
    run: (store: ReturnType<typeof sqliteStore>, clock: ManualClock) => Promise<void>,
  ) {
    const clock = new ManualClock(start);
    const store = sqliteStore({ path: ':memory:', now: clock.now });
    try {
      await run(store, clock);
    } finally {
      store.close();
    }
  }

  it.each([
    ['over many counters', overManyCounters],
    ['near the bound of what is given back', nearTheBound],
  ] as const)(
    'decide alike, given the same clock, %s',
    async (_, sequences) => {
      const property = fc.asyncProperty(sequences, (steps) =>
        withStore(START, (store, clock) => expectLikeMemory(steps, store, clock)),
      );
      await fc.assert(property, { numRuns: Math.ceil(RUNS / 2) });
    },
    TIMEOUT,
  );

  it.each(HOLD_SEQUENCES)(
    'decide alike with holds%s',
    async (_, sequences, withReference) => {
      const property = fc.asyncProperty(sequences, (steps) =>
        withStore(START, (store, clock) => expectHoldsAlike(steps, withReference, 'SQLite', store, clock)),
      );
      await fc.assert(property, { numRuns: Math.ceil(RUNS / 2) });
    },
    TIMEOUT,
  );

  it('decide alike if all that was charged last was given back, and the clock steps back', () =>
    withStore(START, async (store, clock) => {
      const memory = memoryStore({ now: clock.now });
      const policies = [slidingWindow({ limit: 3, window: '1s' })];
      for (const each of [store, memory]) {
        for (const [at, isReturned] of [
          [0, false],
          [500, true],
          [300, false],
        ] as const) {
          clock.set(START + at);
          const decision = await each.admit(policies, ['key'], [1]);
          if (decision.kind === 'admitted' && isReturned) await each.settle(decision.receipt, [0]);
        }
      }
      for (const at of [999, 1000, 1299, 1300, 1499, 1500]) {
        clock.set(START + at);
        expect(await store.peek(policies, ['key']), `at ${at}`).toEqual(memory.peek(policies, ['key']));
      }
      expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 3 }]);
    }));

  it(
    'return the same answers as plain lists, whatever is admitted, settled, renewed, released and lost',
    async () => {
      const property = fc.asyncProperty(holdWorld, (world) =>
        withStore(BEFORE_MIDNIGHT, (store, clock) => expectAlike(world, store, clock)),
      );
      await fc.assert(property, { numRuns: Math.ceil(RUNS / 2) });
    },
    TIMEOUT,
  );

  it(
    'decide alike over one file that two stores use in turn',
    async () => {
      const sqlite = nodeSqlite as NonNullable<typeof nodeSqlite>;
      const clock = new ManualClock(START);
      const [first, second] = [0, 1].map(() => sqliteStore({ path: folder.path, now: clock.now }));
      if (first === undefined || second === undefined) throw new Error('no stores');
      let calls = 0;
      const inTurn = () => (calls++ % 2 === 0 ? first : second);
      // A receipt belongs to the store that made it.
      const owners = new WeakMap<object, ReturnType<typeof sqliteStore>>();
      const property = fc.asyncProperty(overManyCounters, async (steps) => {
        clock.set(START);
        const database = new sqlite.DatabaseSync(folder.path);
        database.exec('DELETE FROM gatewarden_limits; UPDATE gatewarden_limits_info SET entries = 0, token = 0');
        database.close();
        await expectLikeMemory(
          steps,
          {
            admit: async (...args) => {
              const store = inTurn();
              const decision = await store.admit(...args);
              if (decision.kind === 'admitted') owners.set(decision.receipt, store);
              return decision;
            },
            settle: (receipt, units) => owners.get(receipt)?.settle(receipt, units),
            renew: (receipt) => owners.get(receipt)?.renew(receipt) ?? false,
            release: (receipt) => owners.get(receipt)?.release(receipt),
            peek: (...args) => inTurn().peek(...args),
            reset: (...args) => inTurn().reset(...args),
          },
          clock,
        );
      });
      await fc.assert(property, { numRuns: Math.ceil(RUNS / 8) });
      expect(calls).toBeGreaterThan(RUNS);
      first.close();
      second.close();
    },
    TIMEOUT,
  );
});
