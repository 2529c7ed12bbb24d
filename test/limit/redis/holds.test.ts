import { describe, expect, it } from 'vitest';
import { concurrency, gpuTime, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { admission } from '../../../src/limit/redis/operation.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Hold, Receipt } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { startRedis } from '../../redis/server.js';
import { useRedis } from '../../redis/suite.js';
import { OutageScene, outageNoticed, receiptOf } from './outage-scene.js';
import { SHARED_MARKER, scriptOf } from './script-fixture.js';

const slots = (limit: number) => concurrency({ limit, lease: '20s' });
const gpu = (limit: number) => gpuTime({ limit: `${limit}ms`, window: '1m', estimate: '1s', lease: '20s' });
const perMinute = (limit: number) => slidingWindow({ limit, window: '1m' });

const keysOf = (policies: readonly QuotaPolicy[], key = 'key') => policies.map(() => key);

async function left(store: RedisStore, policies: readonly QuotaPolicy[], key = 'key'): Promise<readonly number[]> {
  return (await store.peek(policies, keysOf(policies, key))).map(({ remaining }) => remaining);
}

describeRedis('what redisStore holds', () => {
  const server = useRedis();

  function open(prefix: string, options: Partial<RedisStoreOptions> = {}): RedisStore {
    return redisStore({
      client: server.client(),
      prefix: `${prefix}:`,
      timeout: '10s',
      refusalCache: false,
      ...options,
    });
  }

  async function calls(): Promise<number> {
    const stats = await server.cli('INFO', 'commandstats');
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it('is granted with a window and GPU time in one call', async () => {
    const store = open('one-call');
    const policies = [perMinute(9), gpu(60_000), slots(2)];
    await store.admit(policies, keysOf(policies, 'warm'), [1, 1000, 1]);
    await server.cli('CONFIG', 'RESETSTAT');
    const decision = await store.admit(policies, keysOf(policies), [1, 1000, 1]);
    expect(decision).toMatchObject({ kind: 'admitted', holds: [undefined, { slot: 0 }, { slot: 0 }] });
    expect(await calls()).toBe(1);
    store.close();
  });

  it('is renewed in few calls, however much is renewed at once', async () => {
    const store = open('renewed');
    const policies = [slots(500)];
    const receipts: Receipt[] = [];
    for (let i = 0; i < 200; i++) receipts.push(await receiptOf(store.admit(policies, [`key-${i % 7}`], [1])));
    await server.cli('CONFIG', 'RESETSTAT');
    const renewed = await Promise.all(receipts.map((receipt) => store.renew(receipt)));
    expect(renewed).toEqual(receipts.map(() => true));
    expect(await calls()).toBe(8);
    store.close();
  });

  it('can be renewed and ended, also by a clock with fractions of milliseconds', async () => {
    let now = 1_800_000_000_000.5;
    const store = open('fractions', { now: () => now });
    const policies = [slots(1)];
    const receipt = await receiptOf(store.admit(policies, keysOf(policies), [1]));
    expect(await store.renew(receipt)).toBe(true);
    await store.release(receipt);
    expect(await left(store, policies)).toEqual([1]);
    now += 0.25;
    const decision = await store.admit(policies, keysOf(policies), [1]);
    expect(decision).toMatchObject({ kind: 'admitted', holds: [{ slot: 0, token: 1_800_000_000_001 }] });
    store.close();
  });

  it('lives in a key that outlives it, and not much longer', async () => {
    const store = open('life');
    const short = concurrency({ limit: 5, lease: '300ms' });
    const receipt = await receiptOf(store.admit([short], ['short'], [1]));
    const ttl = async (key: string) => Number(await server.cli('PTTL', `life:${key}`));
    expect(await ttl('short')).toBeGreaterThan(300);
    expect(await ttl('short')).toBeLessThan(1400);
    await receiptOf(
      store.admit([concurrency({ limit: 5, lease: '20s', name: 'long' }), short], ['short', 'short'], [1, 1]),
    );
    expect(await ttl('short')).toBeGreaterThan(19_000);
    expect(await store.renew(receipt)).toBe(true);
    expect(await ttl('short')).toBeGreaterThan(19_000);
    store.close();
  });

  it('needs few bytes, and none once all of it has ended', async () => {
    const store = open('bytes');
    const bytes = async () => Number(await server.cli('STRLEN', 'bytes:key'));
    await store.admit([perMinute(9)], ['key'], [1]);
    const before = await bytes();
    const receipt = await receiptOf(store.admit([slots(9)], ['key'], [1]));
    expect(await bytes()).toBeLessThan(before + 40);
    await store.release(receipt);
    // The next grant must not have the token of this one, also if the clock steps back by a second.
    await until('a later second', async () => {
      await store.admit([perMinute(9000)], ['key'], [1]);
      return ((await server.client().getBuffer('bytes:key'))?.[0] ?? 0) === 129;
    });
    store.close();
  });

  it('is granted once if the same call reaches the server twice', async () => {
    const script = scriptOf(server.client());
    const operations = [admission([slots(5), gpu(9000)], ['twice:key', 'twice:key'], [1, 500])];
    const call = script.prepare(operations, SHARED_MARKER);
    const answers = [await script.send(call), await script.send(call)];
    expect(answers[0]).toEqual(answers[1]);
    const store = open('twice');
    expect(await left(store, [slots(5), gpu(9000)])).toEqual([4, 8500]);
    store.close();
  });

  it('is named by tokens that rise across processes, restarts of Redis and keys that were forgotten', async () => {
    const own = await startRedis();
    const [one, other] = [0, 1].map(() =>
      redisStore({ client: own.client(), timeout: '10s', refusalCache: false }),
    ) as [RedisStore, RedisStore];
    let last = 0;
    const next = async (store: RedisStore): Promise<void> => {
      const decision = await store.admit([slots(5)], ['key'], [1]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      const [hold] = decision.holds as readonly [Hold];
      expect(hold.token).toBeGreaterThan(last);
      last = hold.token;
      await store.release(decision.receipt);
    };
    for (let i = 0; i < 10; i++) await next(i % 2 === 0 ? one : other);
    // Tokens run ahead of the clock if there are several in a millisecond.
    await until('the clock is beyond the last token', () => Date.now() > last);
    await own.cli('DEL', 'gw:key');
    await next(one);
    await own.restart();
    await until('the client is connected again', () =>
      next(other).then(
        () => true,
        () => false,
      ),
    );
    one.close();
    other.close();
    await own.stop();
  });
});

describeRedis('holds during an outage of Redis', () => {
  describe.each(['refuse', 'admit', 'local'] as const)('with onStoreFailure %s', (onStoreFailure) => {
    it('are refused, since others could not see them', async (context) => {
      const scene = await OutageScene.start(context);
      const opened = await scene.open({ onStoreFailure });
      const { store } = opened;
      await receiptOf(store.admit([perMinute(9), slots(2)], ['key', 'key'], [1, 1]));
      scene.server.pause();
      // One call that is not answered, and then none at all.
      for (const when of ['before it is noticed', 'once it is noticed']) {
        const decision = store.admit([perMinute(9), slots(2)], ['key', 'key'], [1, 1]);
        await expect(decision, when).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
        await outageNoticed(opened).catch(() => undefined);
      }
    });

    it('cannot be renewed, and can be afterwards', async (context) => {
      const scene = await OutageScene.start(context);
      const opened = await scene.open({ onStoreFailure });
      const { store, kinds } = opened;
      const receipt = await receiptOf(store.admit([slots(2)], ['key'], [1]));
      scene.server.pause();
      await outageNoticedWithLimits(opened);
      await expect(store.renew(receipt)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
      scene.server.resume();
      await until('Redis is back', () => kinds.at(-1) === 'available');
      expect(await store.renew(receipt)).toBe(true);
    });

    it('end when Redis is back, if they were released or settled', async (context) => {
      const scene = await OutageScene.start(context);
      const opened = await scene.open({ onStoreFailure });
      const { store, kinds } = opened;
      const released = await receiptOf(store.admit([slots(2)], ['key'], [1]));
      const settled = await receiptOf(store.admit([gpu(60_000)], ['key'], [20_000]));
      scene.server.pause();
      await outageNoticedWithLimits(opened);
      await store.release(released);
      await store.settle(settled, [700]);
      scene.server.resume();
      await until('Redis is back', () => kinds.at(-1) === 'available');
      await until('both have ended', async () => {
        const [slotsLeft, msLeft] = await left(store, [slots(2), gpu(60_000)]);
        return slotsLeft === 2 && msLeft === 59_300;
      });
    });
  });

  it('are given back if the answer comes after the request was refused', async (context) => {
    const scene = await OutageScene.start(context);
    const { store, kinds } = await scene.open({ timeout: '500ms' });
    await receiptOf(store.admit([slots(5)], ['warm'], [1]));
    scene.server.pause();
    const late = store.admit(
      [perMinute(9), slots(2), gpu(60_000)],
      keysOf([slots(2), slots(2), slots(2)]),
      [1, 1, 500],
    );
    await expect(late).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    scene.server.resume();
    await until('it is given back', async () => {
      const remaining = await left(store, [perMinute(9), slots(2), gpu(60_000)]).catch(() => []);
      return remaining.join() === '9,2,60000';
    });
    expect(kinds).not.toContain('correction-lost');
  });
});

/** As `outageNoticed`, for modes in which a request that only counts is admitted during an outage. */
async function outageNoticedWithLimits({ store, kinds }: Parameters<typeof outageNoticed>[0]): Promise<void> {
  await until('the breaker opens', async () => {
    await store.admit([slots(2)], ['unrelated'], [1]).catch(() => undefined);
    return kinds.at(-1) === 'unavailable';
  });
}
