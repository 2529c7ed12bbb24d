import fc from 'fast-check';
import { it } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import { expectHoldsAlike, HOLD_SEQUENCES, START } from '../holds-alike-steps.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1000);

const freshPrefix = prefixesOf('holds');

describeRedis(
  'redisStore, memoryStore and the reference, with holds',
  () => {
    const target = useAnyRedis();

    it.each(HOLD_SEQUENCES)(
      'decide alike%s',
      async (_, sequences, withReference) => {
        const client = target.client();
        const property = fc.asyncProperty(sequences, async (steps) => {
          const clock = new ManualClock(START);
          const prefix = freshPrefix();
          const redis = redisStore({ client, now: clock.now, refusalCache: false, prefix, timeout: '10s' });
          await expectHoldsAlike(steps, withReference, 'Redis', redis, clock);
          redis.close();
        });
        await fc.assert(property, { numRuns: RUNS });
      },
      RUNS * 200 + 30_000,
    );
  },
  { anyServer: true },
);
