import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import {
  type RedisStore,
  type RedisStoreEvent,
  type RedisStoreOptions,
  redisStore,
} from '../../../src/limit/redis/redis-store.js';
import type { Decision } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { type RedisServer, startRedis } from '../../redis/server.js';
import { fullestInterval } from '../reference-log.js';

const DEADLINE = 250;
/** What an answer may take at most. */
const LATEST = DEADLINE + 100;
const LIMIT = 5;
const WINDOW = 60_000;
const policies = [slidingWindow({ limit: LIMIT, window: `${WINDOW}ms` })];

describeRedis('redisStore, when Redis is gone', () => {
  let server: RedisServer;
  const stores: RedisStore[] = [];
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);

  beforeEach(async () => {
    server = await startRedis();
    process.on('unhandledRejection', onUnhandled);
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) store.close();
    server.resume();
    await server.stop();
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });

  function open(options: Partial<RedisStoreOptions> = {}) {
    const events: RedisStoreEvent[] = [];
    // The store can be back no sooner than the client: ioredis' own default waits up to two seconds between attempts.
    const client = server.client({ retryStrategy: () => 100 });
    const store = redisStore({ client, refusalCache: false, onEvent: (event) => events.push(event), ...options });
    stores.push(store);
    return { store, client, events, kinds: () => events.map(({ kind }) => kind) };
  }

  /** Asks until `stopped`, by ten callers; every answer is timed. */
  function load(store: RedisStore, keys: readonly string[]) {
    let stopped = false;
    let slowest = 0;
    let failures = 0;
    const admitted: { key: string; at: number }[] = [];
    const callers = Array.from({ length: 10 }, async (_, caller) => {
      for (let i = 0; !stopped; i++) {
        const key = keys[(caller + i) % keys.length] ?? '';
        const start = performance.now();
        const decision: Decision | undefined = await store.admit(policies, [key], 1).catch(() => {
          failures++;
          return undefined;
        });
        slowest = Math.max(slowest, performance.now() - start);
        if (decision?.kind === 'admitted') admitted.push({ key, at: decision.at });
        await new Promise((next) => setTimeout(next, 2));
      }
    });
    return {
      admitted,
      failures: () => failures,
      async stop() {
        stopped = true;
        await Promise.all(callers);
        return { slowest, failures };
      },
    };
  }

  const fullest = (admitted: readonly { key: string; at: number }[], key: string) =>
    fullestInterval(
      admitted.filter((one) => one.key === key).map(({ at }) => ({ at, units: 1 })),
      WINDOW,
    );

  describe.each([
    ['killed', () => server.kill(), () => server.restart()],
    ['stopped', () => server.pause(), () => server.resume()],
  ] as const)('because it was %s', (how, leave, comeBack) => {
    it('refuses within the deadline, admits nothing too much, and is back within two seconds', async () => {
      const { store, kinds } = open();
      const running = load(store, ['a', 'b']);
      await until('the limits are used up', () => running.admitted.length === 2 * LIMIT);
      await leave();
      await until('the breaker opens', () => kinds().includes('unavailable'));
      await until('it refuses at once', () => running.failures() > 100);
      await comeBack();
      const back = performance.now();
      await until('it is back', () => kinds().includes('available'));
      expect(performance.now() - back).toBeLessThan(2000);
      const before = running.failures();
      const answered = await store.peek(policies, ['c']);
      expect(answered).toMatchObject([{ remaining: LIMIT }]);
      const { slowest } = await running.stop();
      console.log(`server ${how}: slowest answer ${slowest.toFixed(0)} ms of a deadline of ${DEADLINE} ms`);
      expect(slowest).toBeLessThan(LATEST);
      expect(before).toBeGreaterThan(0);
      expect(kinds()).toEqual(['unavailable', 'available']);
      // A server that starts empty has forgotten the first five: what it admits anew is not the store's doing.
      const most = how === 'killed' ? 2 * LIMIT : LIMIT;
      for (const key of ['a', 'b']) expect(fullest(running.admitted, key)).toBeLessThanOrEqual(most);
    }, 30_000);

    it('admits everything, uncounted, where that is asked for', async () => {
      const { store, kinds } = open({ onStoreFailure: 'admit' });
      await store.admit(policies, ['key'], 1);
      await leave();
      const start = performance.now();
      for (let i = 0; i < 50; i++) expect((await store.admit(policies, ['key'], 1)).kind).toBe('admitted');
      // Two failures at the deadline, and then none that waits.
      expect(performance.now() - start).toBeLessThan(3 * DEADLINE);
      expect(kinds()).toEqual(['unavailable']);
      await comeBack();
      await until('it is back', () => kinds().includes('available'));
    }, 30_000);

    it.each(['admit', 'local'] as const)(
      'answers every caller in time under load (%s)',
      async (onStoreFailure) => {
        const two = [open({ onStoreFailure, instances: 2 }), open({ onStoreFailure, instances: 2 })];
        const running = two.map(({ store }) => load(store, ['a', 'b']));
        const admitted = () => running.flatMap((one) => one.admitted);
        await until('the limits are used up', () => admitted().length === 2 * LIMIT);
        // Both have been refused, and know how things stand.
        for (const { store } of two) {
          for (const key of ['a', 'b']) expect((await store.admit(policies, [key], 1)).kind).toBe('refused');
        }
        await leave();
        await until('both breakers open', () => two.every(({ kinds }) => kinds().includes('unavailable')));
        if (onStoreFailure === 'admit') await until('everything passes', () => admitted().length > 10 * LIMIT);
        else expect(admitted()).toHaveLength(2 * LIMIT);
        await comeBack();
        await until('both are back', () => two.every(({ kinds }) => kinds().includes('available')));
        for (const one of running) {
          const { slowest, failures } = await one.stop();
          expect(slowest).toBeLessThan(LATEST);
          expect(failures).toBe(0);
        }
        for (const { kinds } of two) expect(kinds()).toEqual(['unavailable', 'available']);
        // An empty server grants anew what the killed one had forgotten; nothing else is granted twice.
        const most = how === 'killed' ? 2 * LIMIT : LIMIT;
        if (onStoreFailure === 'local')
          for (const key of ['a', 'b']) expect(fullest(admitted(), key)).toBeLessThanOrEqual(most);
      },
      30_000,
    );

    it('admits a share by itself, never more than the limit in all, and tells Redis afterwards', async () => {
      const two = [open({ onStoreFailure: 'local', instances: 2 }), open({ onStoreFailure: 'local', instances: 2 })];
      for (const { store } of two) await store.admit(policies, ['known'], 1);
      await leave();
      const admitted = { known: 0, fresh: 0 };
      for (const { store } of two) {
        for (let i = 0; i < 2 * LIMIT; i++) {
          for (const key of ['known', 'fresh'] as const) {
            if ((await store.admit(policies, [key], 1)).kind === 'admitted') admitted[key]++;
          }
        }
      }
      // Two units of the known key were in use; of the rest each has its half, whole units only.
      expect(admitted).toEqual({ known: 3, fresh: 4 });
      await comeBack();
      const [first] = two;
      await until('both are back', () => two.every(({ kinds }) => kinds().includes('available')));
      const inRedis = how === 'killed' ? 1 : 0;
      await until('Redis knows', async () => {
        const states = await first?.store.peek(policies, ['known', 'fresh'].slice(1));
        return states?.[0]?.remaining === 1;
      });
      const [state] = (await first?.store.peek(policies, ['known'])) ?? [];
      expect(state?.remaining).toBe(inRedis === 1 ? 2 : 0);
    }, 30_000);
  });

  it('charges nothing for a request that reached Redis too late', async () => {
    const { store, client } = open();
    await store.admit(policies, ['key'], 1);
    server.pause();
    const late = Array.from({ length: 4 }, () => store.admit(policies, ['key'], 1));
    for (const { status } of await Promise.allSettled(late)) expect(status).toBe('rejected');
    server.resume();
    await until('Redis answers', async () => (await client.ping()) === 'PONG');
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: LIMIT - 1 }]);
  });

  it('gives back what the very first call charged too late', async () => {
    const { store, client, kinds } = open();
    await client.ping();
    server.pause();
    await expect(store.admit(policies, ['key'], 1)).rejects.toThrow('did not answer within 250 ms');
    server.resume();
    await until('the unit is back', async () => {
      const [state] = await store.peek(policies, ['key']).catch(() => []);
      return state?.remaining === LIMIT;
    });
    expect(kinds()).not.toContain('correction-lost');
  });

  it('corrects charges afterwards, once', async () => {
    const { store, kinds } = open();
    const decision = await store.admit(policies, ['key'], 4);
    if (decision.kind !== 'admitted') throw new Error('refused');
    server.pause();
    const settled = store.settle(decision.receipt, 1);
    await expect(store.admit(policies, ['key'], 1)).rejects.toThrow();
    await until('the breaker opens', () => kinds().includes('unavailable'));
    server.resume();
    await settled;
    await until('it is corrected', async () => {
      const [state] = await store.peek(policies, ['key']).catch(() => []);
      return state?.remaining === LIMIT - 1;
    });
  });

  it('does not mind that its connections are cut', async () => {
    const { store } = open({ timeout: '5s' });
    const many = [slidingWindow({ limit: 400, window: '1h' })];
    let admitted = 0;
    const callers = Array.from({ length: 10 }, async () => {
      for (let i = 0; i < 60; i++) if ((await store.admit(many, ['key'], 1)).kind === 'admitted') admitted++;
    });
    for (let i = 0; i < 3; i++) {
      await new Promise((next) => setTimeout(next, 20));
      await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }
    await Promise.all(callers);
    expect(admitted).toBe(400);
    expect(await store.peek(many, ['key'])).toMatchObject([{ remaining: 0 }]);
  }, 30_000);
});
