import fc from 'fast-check';
import { describe, it } from 'vitest';
import { type RedisStore, redisStore } from '../../../../src/limit/redis/redis-store.js';
import { ManualClock } from '../../../contracts/limit-store.js';
import { expectLikeMemory, overManyCounters, START } from '../../../limit/alike-steps.js';
import { expectHoldsAlike, HOLD_SEQUENCES } from '../../../limit/holds-alike-steps.js';
import { FOR_A_CLUSTER } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { prefixesOf, useClient, useCluster } from '../../../redis/suite.js';

/** `npm run test:long` runs only the suites with ioredis for longer: what differs here is how calls travel. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 30);
const TIMEOUT = RUNS * 400 + 30_000;

const freshPrefix = prefixesOf('alike');

describeRedis('redisStore and memoryStore, in a Cluster, over another client', () => {
  const cluster = useCluster();

  describe.each(FOR_A_CLUSTER)('$name', ({ openCluster }) => {
    const client = useClient(() => openCluster(cluster));

    /** All keys are in one slot: keys of several slots are charged one after another, and report fewer violations. */
    const open = (clock: ManualClock): RedisStore => {
      const options = { prefix: freshPrefix(), refusalCache: false, timeout: '10s' } as const;
      const store = redisStore({ client: client(), now: clock.now, ...options });
      const inOneSlot = (keys: readonly string[]) => keys.map((key) => `{slot}${key}`);
      return {
        admit: (policies, keys, units) => store.admit(policies, inOneSlot(keys), units),
        peek: (policies, keys) => store.peek(policies, inOneSlot(keys)),
        reset: (policies, keys) => store.reset(policies, inOneSlot(keys)),
        settle: (receipt, units) => store.settle(receipt, units),
        renew: (receipt) => store.renew(receipt),
        release: (receipt) => store.release(receipt),
        queue: (settings) => store.queue(settings),
        close: () => store.close(),
      };
    };

    it(
      'decide alike, given the same clock',
      async () => {
        const property = fc.asyncProperty(overManyCounters, async (steps) => {
          const clock = new ManualClock(START);
          const store = open(clock);
          await expectLikeMemory(steps, store, clock);
          store.close();
        });
        await fc.assert(property, { numRuns: RUNS });
      },
      TIMEOUT,
    );

    it.each(HOLD_SEQUENCES)(
      'decide alike with holds%s',
      async (_, sequences, withReference) => {
        const property = fc.asyncProperty(sequences, async (steps) => {
          const clock = new ManualClock(START);
          const store = open(clock);
          await expectHoldsAlike(steps, withReference, 'Redis', store, clock);
          store.close();
        });
        await fc.assert(property, { numRuns: RUNS });
      },
      TIMEOUT,
    );
  });
});
