import { expect, it } from 'vitest';
import { concurrency, dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { Decision } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';

const START = Date.UTC(2025, 9, 25, 21);

describeRedis(
  'a cached refusal of redisStore',
  () => {
    const target = useAnyRedis();

    const freshPrefix = prefixesOf('refusals');
    function open() {
      const clock = new ManualClock(START);
      const options = { client: target.client(), now: clock.now, prefix: freshPrefix(), timeout: '10s' } as const;
      const store = redisStore({ ...options, refusalCache: '30s' });
      const plain = redisStore({ ...options, refusalCache: false });
      return { clock, store, plain };
    }

    function receiptOf(decision: Decision): object {
      if (decision.kind !== 'admitted') throw new Error('refused');
      return decision.receipt;
    }

    it('is not repeated after this process has renewed a hold of its key', async () => {
      const { clock, store, plain } = open();
      const policies = [slidingWindow({ limit: 1, window: '1m' }), concurrency({ limit: 2, lease: '10s' })];
      const admit = (by: typeof store) => by.admit(policies, ['key', 'key'], [1, 1]);
      const receipt = receiptOf(await admit(store));
      expect((await admit(store)).states[1]).toMatchObject({ resetAt: START + 10_000 });
      clock.advance(5000);
      expect(await store.renew(receipt)).toBe(true);
      const decision = await admit(store);
      expect(decision.states[1]).toMatchObject({ resetAt: START + 15_000 });
      expect(decision).toEqual(await admit(plain));
      store.close();
      plain.close();
    });

    it('is not repeated after this process has settled, released or reset a charge of its key', async () => {
      const { store, plain } = open();
      const policies = [dailyQuota({ limit: 2 }), concurrency({ limit: 1, lease: '10s' })];
      const admit = (by: typeof store) => by.admit(policies, ['key', 'key'], [1, 1]);
      const first = receiptOf(await admit(store));
      expect(await admit(store)).toEqual(await admit(plain));
      await store.release(first);
      const second = receiptOf(await admit(store));
      expect(await admit(store)).toEqual(await admit(plain));
      await store.settle(second, [0, 0]);
      receiptOf(await admit(store));
      expect(await admit(store)).toEqual(await admit(plain));
      await store.reset(policies, ['key', 'key']);
      // What is held stays.
      expect(await admit(store)).toMatchObject({ states: [{ remaining: 2 }, { remaining: 0 }] });
      store.close();
      plain.close();
    });
  },
  { anyServer: true },
);
