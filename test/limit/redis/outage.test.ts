import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import type { RedisStore } from '../../../src/limit/redis/redis-store.js';
import type { Decision } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import type { RedisServer } from '../../redis/server.js';
import { fullestInterval } from '../reference-log.js';
import { OutageScene, receiptOf } from './outage-scene.js';

const TIMEOUT = 250;
/** The most that an answer may take. */
const LATEST = TIMEOUT + 100;
const LIMIT = 5;
const WINDOW = 60_000;
const policies = [slidingWindow({ limit: LIMIT, window: `${WINDOW}ms` })];

/** Ten callers send requests until `stop()`. Every answer is timed. */
function load(store: RedisStore, keys: readonly string[]) {
  let stopped = false;
  let slowest = 0;
  let failures = 0;
  const admitted: { key: string; at: number }[] = [];
  const callers = Array.from({ length: 10 }, async (_, caller) => {
    for (let i = 0; !stopped; i++) {
      const key = keys[(caller + i) % keys.length] ?? '';
      const sent = performance.now();
      const decision: Decision | undefined = await store.admit(policies, [key], [1]).catch(() => {
        failures++;
        return undefined;
      });
      slowest = Math.max(slowest, performance.now() - sent);
      if (decision?.kind === 'admitted') admitted.push({ key, at: decision.at });
      await new Promise((next) => setTimeout(next, 5));
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

// These tests wait for timeouts. Each has a server of its own, so they wait together.
describeRedis('redisStore, while Redis is away', () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  beforeAll(() => void process.on('unhandledRejection', onUnhandled));
  afterAll(() => {
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });

  describe.each([
    ['killed', (server: RedisServer) => server.kill(), (server: RedisServer) => server.restart()],
    ['stopped', (server: RedisServer) => server.pause(), (server: RedisServer) => server.resume()],
  ] as const)('because it was %s', (how, leave, comeBack) => {
    it('refuses within the timeout, never admits too much, and is back within two seconds', async (context) => {
      const scene = await OutageScene.start(context);
      const { store, kinds } = await scene.open();
      const running = load(store, ['a', 'b']);
      await until('the limits are used up', () => running.admitted.length === 2 * LIMIT);
      await leave(scene.server);
      await until('the breaker opens', () => kinds.includes('unavailable'));
      await until('it refuses at once', () => running.failures() > 100);
      await comeBack(scene.server);
      const back = performance.now();
      await until('it is back', () => kinds.includes('available'));
      expect(performance.now() - back).toBeLessThan(2000);
      const failuresBefore = running.failures();
      expect(await store.peek(policies, ['c'])).toMatchObject([{ remaining: LIMIT }]);
      const { slowest } = await running.stop();
      console.log(`server ${how}: slowest answer ${slowest.toFixed(0)} ms, timeout ${TIMEOUT} ms`);
      expect(slowest).toBeLessThan(LATEST);
      expect(failuresBefore).toBeGreaterThan(0);
      expect(kinds).toEqual(['unavailable', 'available']);
      // A killed server has forgotten the first five. That it admits them again is not the store's doing.
      const most = how === 'killed' ? 2 * LIMIT : LIMIT;
      for (const key of ['a', 'b']) expect(fullest(running.admitted, key)).toBeLessThanOrEqual(most);
    }, 30_000);

    it.concurrent('admits everything, uncounted, if asked to', async (context) => {
      const scene = await OutageScene.start(context);
      const { store, kinds } = await scene.open({ onStoreFailure: 'admit' });
      await store.admit(policies, ['key'], [1]);
      await leave(scene.server);
      const start = performance.now();
      for (let i = 0; i < 50; i++) expect((await store.admit(policies, ['key'], [1])).kind).toBe('admitted');
      // Two failures take the timeout. The other requests do not wait.
      expect(performance.now() - start).toBeLessThan(3 * TIMEOUT);
      expect(kinds).toEqual(['unavailable']);
      await comeBack(scene.server);
      await until('it is back', () => kinds.includes('available'));
    }, 30_000);

    it.concurrent('admits its share, never more than the limit in all, and reports it afterwards', async (context) => {
      const scene = await OutageScene.start(context);
      const local = { onStoreFailure: 'local', instances: 2 } as const;
      const one = await scene.open(local);
      const two = [one, await scene.open(local)];
      for (const { store } of two) await store.admit(policies, ['known'], [1]);
      await leave(scene.server);
      const admitted = { known: 0, fresh: 0 };
      for (const { store } of two) {
        for (let i = 0; i < 2 * LIMIT; i++) {
          for (const key of ['known', 'fresh'] as const) {
            if ((await store.admit(policies, [key], [1])).kind === 'admitted') admitted[key]++;
          }
        }
      }
      // Of the known key the stores have seen one and two units in use. Each admits half of the rest, rounded down.
      expect(admitted).toEqual({ known: 3, fresh: 4 });
      await comeBack(scene.server);
      await until('both are back', () => two.every(({ kinds }) => kinds.includes('available')));
      await until('Redis has both reports', async () => {
        const [state] = await one.store.peek(policies, ['fresh']);
        return state?.remaining === 1;
      });
      const [state] = await one.store.peek(policies, ['known']);
      expect(state?.remaining).toBe(how === 'killed' ? 2 : 0);
    }, 30_000);

    it.concurrent.for(['admit', 'local'] as const)(
      'answers every caller in time under load (%s)',
      {
        timeout: 30_000,
      },
      async (onStoreFailure, context) => {
        const scene = await OutageScene.start(context);
        const options = { onStoreFailure, instances: 2 };
        const two = [await scene.open(options), await scene.open(options)];
        const running = two.map(({ store }) => load(store, ['a', 'b']));
        const admitted = () => running.flatMap((one) => one.admitted);
        await until('the limits are used up', () => admitted().length === 2 * LIMIT);
        // Both have been refused, and so have seen how much is in use.
        for (const { store } of two) {
          for (const key of ['a', 'b']) expect((await store.admit(policies, [key], [1])).kind).toBe('refused');
        }
        await leave(scene.server);
        await until('both breakers open', () => two.every(({ kinds }) => kinds.includes('unavailable')));
        if (onStoreFailure === 'admit') await until('everything passes', () => admitted().length > 10 * LIMIT);
        else expect(admitted()).toHaveLength(2 * LIMIT);
        await comeBack(scene.server);
        await until('both are back', () => two.every(({ kinds }) => kinds.includes('available')));
        for (const one of running) {
          const { slowest, failures } = await one.stop();
          expect(slowest).toBeLessThan(LATEST);
          expect(failures).toBe(0);
        }
        for (const { kinds } of two) expect(kinds).toEqual(['unavailable', 'available']);
        // The restarted server is empty and admits once more what the killed one had counted. Nothing else comes twice.
        const most = how === 'killed' ? 2 * LIMIT : LIMIT;
        if (onStoreFailure === 'local')
          for (const key of ['a', 'b']) expect(fullest(admitted(), key)).toBeLessThanOrEqual(most);
      },
    );
  });

  it.concurrent('charges nothing for a request that reached Redis too late', async (context) => {
    const scene = await OutageScene.start(context);
    const { store, client } = await scene.open();
    await store.admit(policies, ['key'], [1]);
    scene.server.pause();
    const late = Array.from({ length: 4 }, () => store.admit(policies, ['key'], [1]));
    for (const { status } of await Promise.allSettled(late)) expect(status).toBe('rejected');
    scene.server.resume();
    await until('Redis answers', async () => (await client.ping()) === 'PONG');
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: LIMIT - 1 }]);
  });

  it.concurrent('gives back what the very first call charged too late', async (context) => {
    const scene = await OutageScene.start(context);
    const { store, kinds } = await scene.open();
    scene.server.pause();
    await expect(store.admit(policies, ['key'], [1])).rejects.toThrow('did not answer within 250 ms');
    scene.server.resume();
    await until('the unit is back', async () => {
      const [state] = await store.peek(policies, ['key']).catch(() => []);
      return state?.remaining === LIMIT;
    });
    expect(kinds).not.toContain('correction-lost');
  });

  it.concurrent('corrects charges after the outage, once', async (context) => {
    const scene = await OutageScene.start(context);
    const { store, kinds } = await scene.open();
    const receipt = await receiptOf(store.admit(policies, ['key'], [4]));
    scene.server.pause();
    const settled = store.settle(receipt, [1]);
    await expect(store.admit(policies, ['key'], [1])).rejects.toThrow();
    await until('the breaker opens', () => kinds.includes('unavailable'));
    scene.server.resume();
    await settled;
    await until('it is corrected', async () => {
      const [state] = await store.peek(policies, ['key']).catch(() => []);
      return state?.remaining === LIMIT - 1;
    });
  });

  it.concurrent('decides exactly even if its connections are cut', async (context) => {
    const scene = await OutageScene.start(context);
    const { store } = await scene.open({ timeout: '5s' });
    const many = [slidingWindow({ limit: 400, window: '1h' })];
    let admitted = 0;
    const callers = Array.from({ length: 10 }, async () => {
      for (let i = 0; i < 60; i++) if ((await store.admit(many, ['key'], [1])).kind === 'admitted') admitted++;
    });
    for (let i = 0; i < 3; i++) {
      await new Promise((next) => setTimeout(next, 20));
      await scene.server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }
    await Promise.all(callers);
    expect(admitted).toBe(400);
    expect(await store.peek(many, ['key'])).toMatchObject([{ remaining: 0 }]);
  }, 30_000);
});
