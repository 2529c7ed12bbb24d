import { describe, expect, it } from 'vitest';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { LimitStore, Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { useClusterLater, useRedis } from '../../redis/suite.js';

const NOON = Date.UTC(2026, 0, 15, 12);
const perMinute = (limit: number) => slidingWindow({ limit, window: '1m' });
const perDay = (limit: number) => dailyQuota({ limit });

describeRedis('what redisStore gives back', () => {
  const startedCluster = useClusterLater();
  const server = useRedis();
  let runs = 0;

  function open(clock = new ManualClock(NOON)) {
    const prefix = `returned-${runs++}:`;
    const store = redisStore({ client: server.client(), prefix, now: clock.now, refusalCache: false, timeout: '10s' });
    return { store, clock, prefix };
  }

  async function admit(store: LimitStore, policies: readonly QuotaPolicy[], units = 1, key = 'key') {
    const decision = await store.admit(
      policies,
      policies.map(() => key),
      policies.map(() => units),
    );
    return decision.kind === 'admitted' ? decision.receipt : undefined;
  }

  async function admitted(store: LimitStore, policies: readonly QuotaPolicy[], units = 1): Promise<Receipt> {
    const receipt = await admit(store, policies, units);
    if (receipt === undefined) throw new Error('refused');
    return receipt;
  }

  const remaining = async (store: LimitStore, policy: QuotaPolicy) =>
    (await store.peek([policy], ['key']))[0]?.remaining;

  describe.each([
    ['a sliding window', perMinute],
    ['a coarse sliding window', (limit: number) => ({ ...perMinute(limit), granule: 1000 })],
    ['a daily quota', perDay],
  ] as const)('of %s', (_, make) => {
    it('is never more than the limit in one window, however often it is asked for', async () => {
      const { store, clock } = open();
      let admissions = 0;
      for (let i = 0; i < 30; i++) {
        const receipt = await admit(store, [make(3)]);
        if (receipt !== undefined) {
          admissions++;
          await store.settle(receipt, [0]);
        }
        clock.advance(7);
      }
      expect(admissions).toBe(6);
    });

    it('is as much as is left of that, and the rest stays charged', async () => {
      const { store } = open();
      await store.settle(await admitted(store, [make(10)], 7), [0]);
      await store.settle(await admitted(store, [make(10)], 8), [1]);
      expect(await remaining(store, make(10))).toBe(5);
      await store.settle(await admitted(store, [make(10)], 4), [0]);
      expect(await remaining(store, make(10))).toBe(1);
    });

    it('is forgotten with its window', async () => {
      const { store, clock } = open();
      for (let i = 0; i < 3; i++) await store.settle(await admitted(store, [make(3)]), [0]);
      await store.settle(await admitted(store, [make(3)]), [0]);
      expect(await remaining(store, make(3))).toBe(2);
      clock.advance(86_400_000);
      for (let i = 0; i < 3; i++) await store.settle(await admitted(store, [make(3)]), [0]);
      expect(await remaining(store, make(3))).toBe(3);
    });

    it('is not limited in the other direction', async () => {
      const { store } = open();
      await store.settle(await admitted(store, [make(3)]), [0]);
      await store.settle(await admitted(store, [make(3)]), [9]);
      expect(await remaining(store, make(20))).toBe(11);
    });

    it('is forgotten by a reset', async () => {
      const { store } = open();
      for (let i = 0; i < 3; i++) await store.settle(await admitted(store, [make(3)]), [0]);
      await store.reset([make(3)], ['key']);
      for (let i = 0; i < 3; i++) await store.settle(await admitted(store, [make(3)]), [0]);
      expect(await remaining(store, make(3))).toBe(3);
    });

    it('is bounded by the limit under which the request was admitted', async () => {
      const { store } = open();
      await store.settle(await admitted(store, [make(5)], 5), [0]);
      await store.settle(await admitted(store, [make(5)], 5), [0]);
      expect(await remaining(store, make(5))).toBe(0);
      await store.settle(await admitted(store, [make(9)], 4), [0]);
      expect(await remaining(store, make(9))).toBe(4);
    });
  });

  it('is bounded for each policy apart', async () => {
    const { store } = open();
    const both = [perMinute(2), perDay(5)];
    for (let i = 0; i < 3; i++) await store.settle(await admitted(store, both), [0, 0]);
    expect(await store.peek(both, ['key', 'key'])).toMatchObject([{ remaining: 1 }, { remaining: 5 }]);
  });

  it('is nothing for a charge that has left its window, and uses up nothing', async () => {
    const { store, clock } = open();
    const early = await admitted(store, [perMinute(3)], 2);
    clock.advance(30_000);
    await store.settle(await admitted(store, [perMinute(3)]), [0]);
    clock.advance(30_000);
    await store.settle(early, [0]);
    await store.settle(await admitted(store, [perMinute(3)], 2), [0]);
    expect(await remaining(store, perMinute(3))).toBe(3);
  });

  it('occupies few bytes, and no key of its own', async () => {
    const { store, prefix } = open();
    for (let i = 0; i < 20; i++) await store.settle(await admitted(store, [perMinute(60), perDay(100)]), [0, 0]);
    const keys = await server.client().keys(`${prefix}key*`);
    expect(keys).toEqual([`${prefix}key`]);
    expect(Number(await server.cli('STRLEN', `${prefix}key`))).toBeLessThan(60);
  });

  it('is all of it if a later slot of a Cluster refuses, however often', async () => {
    const cluster = await startedCluster();
    const store = redisStore({ client: cluster.client(), refusalCache: false, timeout: '10s' });
    const policies = [
      slidingWindow({ limit: 4, window: '1h', name: 'a' }),
      slidingWindow({ limit: 1, window: '1h', name: 'b' }),
    ];
    const keys = ['one', 'two'];
    expect((await store.admit(policies, keys, [1, 1])).kind).toBe('admitted');
    for (let i = 0; i < 20; i++) expect((await store.admit(policies, keys, [1, 1])).kind).toBe('refused');
    expect(await store.peek(policies, keys)).toMatchObject([{ remaining: 3 }, { remaining: 0 }]);
    store.close();
  }, 60_000);

  it('is all of it if the answer came too late, however often', async () => {
    const prefix = `returned-${runs++}:`;
    for (let i = 0; i < 3; i++) {
      // The first call of a store has no bound, as it does not know the server's time.
      const client = server.client();
      await client.ping();
      const store = redisStore({ client, prefix, refusalCache: false });
      server.pause();
      await expect(store.admit([perMinute(2)], ['key'], [2])).rejects.toThrow('did not answer');
      server.resume();
      await until('the units are back', async () => {
        const [state] = await store.peek([perMinute(2)], ['key']).catch(() => []);
        return state?.remaining === 2;
      });
      store.close();
    }
  });

  describe('totals', () => {
    const BILLION = 1_000_000_000;
    // Whose ticks are one second.
    const many = slidingWindow({ limit: BILLION, window: '64s' });
    const all = dailyQuota({ limit: BILLION });

    it.each([
      ['redisStore', () => open()],
      [
        'memoryStore',
        () => {
          const clock = new ManualClock(NOON);
          return { clock, store: memoryStore({ now: clock.now }) };
        },
      ],
    ] as const)('are exact beyond 2^32 in %s', async (_, make) => {
      const { store, clock } = make();
      const receipts: Receipt[] = [];
      for (let i = 0; i < 8; i++) {
        receipts.push(await admitted(store, [many, all], BILLION / 8));
        clock.advance(1000);
      }
      for (const receipt of receipts) await store.settle(receipt, [4 * BILLION, 4 * BILLION]);
      expect(await remaining(store, many)).toBe(0);
      // Seven of eight have left the window, and one is still four times the limit.
      clock.set(NOON + 70_000 - 1);
      expect(await store.peek([many, all], ['key', 'key'])).toMatchObject([
        { remaining: 0, resetAt: NOON + 71_000 },
        { remaining: 0 },
      ]);
      expect(await admit(store, [many])).toBeUndefined();
      clock.set(NOON + 71_000 - 1);
      expect(await admit(store, [many])).toBeUndefined();
      clock.set(NOON + 71_000);
      expect(await remaining(store, many)).toBe(BILLION);
    });

    it('stay small in Redis', async () => {
      const { store, prefix } = open();
      await store.settle(await admitted(store, [many, all], 1), [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]);
      expect(Number(await server.cli('STRLEN', `${prefix}key`))).toBeLessThan(40);
      expect(await store.peek([many, all], ['key', 'key'])).toMatchObject([{ remaining: 0 }, { remaining: 0 }]);
      expect(await admit(store, [all])).toBeUndefined();
    });
  });
});
