import fc from 'fast-check';
import { it } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import { expectLikeMemory, nearTheBound, overManyCounters, START } from '../alike-steps.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 500);

const freshPrefix = prefixesOf('alike');

describeRedis(
  'redisStore and memoryStore',
  () => {
    const target = useAnyRedis();

    // Each waits for its own round trips, so they wait together.
    it.concurrent.each([
      ['with', '1s', 'over many counters', overManyCounters],
      ['without', false, 'over many counters', overManyCounters],
      ['without', false, 'near the bound of what is given back', nearTheBound],
    ] as const)(
      'decide alike, given the same clock, %s a cache of refusals (%s), %s',
      async (_, refusalCache, _what, sequences) => {
        const client = target.client();
        const property = fc.asyncProperty(sequences, async (steps) => {
          const clock = new ManualClock(START);
          const prefix = freshPrefix();
          const redis = redisStore({ client, now: clock.now, refusalCache, prefix, timeout: '10s' });
          await expectLikeMemory(steps, redis, clock);
          redis.close();
        });
        await fc.assert(property, { numRuns: Math.ceil(RUNS / 3) });
      },
      RUNS * 200 + 30_000,
    );
  },
  { anyServer: true },
);
