import { expect, it } from 'vitest';
import { dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import type { RedisServer } from '../../redis/server.js';
import { useClusterLater, useRedis } from '../../redis/suite.js';

const POLICIES = [slidingWindow({ limit: 60, window: '1m' }), dailyQuota({ limit: 1000 })];

async function calls(server: RedisServer, command: string): Promise<number> {
  const stats = await server.cli('INFO', 'commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

describeRedis('what redisStore sends and stores', () => {
  const startedCluster = useClusterLater();
  const server = useRedis();

  /** The timeout is not tested here, and the machine may be busy. */
  function open(options: Omit<RedisStoreOptions, 'client'>) {
    return redisStore({ client: server.client(), timeout: '10s', ...options });
  }

  async function warm() {
    const store = open({ prefix: `wire-${Math.random()}:`, refusalCache: false });
    await store.admit(POLICIES, ['warm', 'warm'], [1, 1]);
    await server.cli('CONFIG', 'RESETSTAT');
    return store;
  }

  it('sends one EVALSHA for a window and a daily quota on one key', async () => {
    const store = await warm();
    await store.admit(POLICIES, ['key', 'key'], [1, 1]);
    expect([await calls(server, 'evalsha'), await calls(server, 'eval')]).toEqual([1, 0]);
    store.close();
  });

  it('sends one EVALSHA for several partition keys', async () => {
    const store = await warm();
    await store.admit(POLICIES, ['address', 'principal'], [1, 1]);
    expect(await calls(server, 'evalsha')).toBe(1);
    store.close();
  });

  it('sends fewer EVALSHAs than it decides requests of 50 callers', async () => {
    const store = await warm();
    const decisions = 50 * 40;
    await Promise.all(
      Array.from({ length: 50 }, async (_, caller) => {
        for (let i = 0; i < 40; i++) await store.admit(POLICIES, [`key-${caller}`, `key-${caller}`], [1, 1]);
      }),
    );
    const sent = await calls(server, 'evalsha');
    console.log(`${decisions} decisions for 50 callers in ${sent} EVALSHAs`);
    expect(sent).toBeLessThan(decisions / 2);
    store.close();
  });

  it('stores few bytes, however large a correction is', async () => {
    const store = open({ prefix: 'large:', refusalCache: false });
    const decision = await store.admit(POLICIES, ['key', 'key'], [1, 1]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    expect(Number(await server.cli('STRLEN', 'large:key'))).toBe(28);
    await store.settle(decision.receipt, [1_000_000_000, 1_000_000_000]);
    expect(Number(await server.cli('STRLEN', 'large:key'))).toBeLessThan(40);
    expect(await store.peek(POLICIES, ['key', 'key'])).toMatchObject([{ remaining: 0 }, { remaining: 0 }]);
    const huge = [slidingWindow({ limit: 1_000_000_000, window: '1m' }), dailyQuota({ limit: 1_000_000_000 })];
    expect(await store.peek(huge, ['key', 'key'])).toMatchObject([{ remaining: 0 }, { remaining: 0 }]);
    store.close();
  });

  it('stores few bytes when a limit is raised from exact to coarse', async () => {
    const store = open({ prefix: 'raised:', refusalCache: false });
    await store.admit([slidingWindow({ limit: 60, window: '1m' })], ['key'], [1]);
    const raised = [slidingWindow({ limit: 60_000, window: '1m' })];
    expect(await store.admit(raised, ['key'], [50_000])).toMatchObject({
      kind: 'admitted',
      states: [{ remaining: 9999 }],
    });
    expect(Number(await server.cli('STRLEN', 'raised:key'))).toBeLessThan(40);
    store.close();
  });

  it.each([65_535, 65_536])('counts exactly beyond a total of %i', async (total) => {
    const store = open({ prefix: `total-${total}:`, refusalCache: false });
    const first = await store.admit(POLICIES, ['key', 'key'], [1, 1]);
    if (first.kind !== 'admitted') throw new Error('refused');
    await store.settle(first.receipt, [total, total]);
    const huge = [slidingWindow({ limit: 100_000, window: '1m' }), dailyQuota({ limit: 100_000 })];
    const left = (expected: number) => [{ remaining: expected }, { remaining: expected }];
    expect(await store.peek(huge, ['key', 'key'])).toMatchObject(left(100_000 - total));
    const second = await store.admit(huge, ['key', 'key'], [2, 2]);
    if (second.kind !== 'admitted') throw new Error('refused');
    expect(second.states).toMatchObject(left(100_000 - total - 2));
    await store.settle(second.receipt, [0, 0]);
    expect(await store.peek(huge, ['key', 'key'])).toMatchObject(left(100_000 - total));
    store.close();
  });

  it('counts exactly after a window of weeks was in use for months', async () => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const store = open({ prefix: 'months:', now: clock.now });
    const policies = [slidingWindow({ limit: 9, window: '20d' })];
    for (let i = 1; i <= 20; i++) {
      expect(await store.admit(policies, ['key'], [1]), `${i}`).toMatchObject({
        states: [{ remaining: 9 - Math.min(i, 3) }],
      });
      clock.advance(9 * 86_400_000);
    }
    store.close();
  });

  it('sends nothing for a refusal that is still valid', async () => {
    const store = open({ prefix: 'kept:', refusalCache: '30s' });
    const policies = [slidingWindow({ limit: 1, window: '1m' })];
    await store.admit(policies, ['key'], [1]);
    await store.admit(policies, ['key'], [1]);
    await server.cli('CONFIG', 'RESETSTAT');
    for (let i = 0; i < 20; i++) expect((await store.admit(policies, ['key'], [1])).kind).toBe('refused');
    expect(await calls(server, 'evalsha')).toBe(0);
    store.close();
  });

  it('decides exactly during SCRIPT FLUSH under load', async () => {
    const store = open({ prefix: 'flush:' });
    const policies = [slidingWindow({ limit: 300, window: '1h' })];
    let admitted = 0;
    const load = Array.from({ length: 20 }, async () => {
      for (let i = 0; i < 30; i++) if ((await store.admit(policies, ['key'], [1])).kind === 'admitted') admitted++;
    });
    for (let i = 0; i < 5; i++) await server.cli('SCRIPT', 'FLUSH');
    await Promise.all(load);
    expect(admitted).toBe(300);
    store.close();
  });

  it('keeps a key as long as its longest counter, whichever is charged last', async () => {
    const store = open({ prefix: 'ttl:', refusalCache: false });
    await store.admit([slidingWindow({ limit: 9, window: '24h', name: 'long' })], ['key'], [1]);
    await store.admit([slidingWindow({ limit: 9, window: '1s', name: 'short' })], ['key'], [1]);
    expect(Number(await server.cli('PTTL', 'ttl:key'))).toBeGreaterThan(23 * 3_600_000);
    store.close();
  });

  it('fails only the bad operations of a call', async () => {
    const store = open({ prefix: 'mixed:' });
    await server.cli('RPUSH', 'mixed:list', 'not ours');
    const decisions = ['a', 'list', 'b', 'list', 'c'].map((key) => store.admit(POLICIES, [key, key], [1, 1]));
    const outcomes = await Promise.allSettled(decisions);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    store.close();
  });

  it('sends one EVALSHA for each slot of a Cluster, and gives charges back if a later slot refuses', async () => {
    const cluster = await startedCluster();
    const store = redisStore({ client: cluster.client(), refusalCache: false, timeout: '10s' });
    const policies = [
      slidingWindow({ limit: 9, window: '1h', name: 'a' }),
      slidingWindow({ limit: 1, window: '1h', name: 'b' }),
    ];
    const keys = ['one', 'two'];
    expect((await store.admit(policies, keys, [1, 1])).kind).toBe('admitted');
    for (const node of cluster.nodes) await node.cli('CONFIG', 'RESETSTAT');
    await store.peek(policies, keys);
    const sent = await Promise.all(cluster.nodes.map((node) => calls(node, 'evalsha')));
    expect(sent.reduce((sum, count) => sum + count)).toBe(2);
    const refused = await store.admit(policies, keys, [1, 1]);
    expect(refused).toMatchObject({ kind: 'refused', violations: [{ state: { name: 'b' } }] });
    expect(await store.peek(policies, keys)).toMatchObject([{ remaining: 8 }, { remaining: 0 }]);
    store.close();
  }, 60_000);
});
