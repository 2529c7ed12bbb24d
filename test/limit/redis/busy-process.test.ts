import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { reconnectionsOf } from '../../redis/connected.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { useRedis } from '../../redis/suite.js';

const LIMIT = 50;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];
const MODES = ['refuse', 'admit', 'local'] as const;

/** Blocks the event loop, as a long computation does. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

// Redis is healthy in all of these, and only this process is busy.
describeRedis('redisStore in a process that is busy', () => {
  const server = useRedis();

  async function open(options: Partial<RedisStoreOptions> = {}) {
    await server.cli('FLUSHALL');
    return openStore(options);
  }

  /** A store for each mode, with counters and a connection of its own. */
  async function openAll() {
    await server.cli('FLUSHALL');
    return Promise.all(MODES.map((onStoreFailure) => openStore({ onStoreFailure, prefix: `${onStoreFailure}:` })));
  }

  async function openStore(options: Partial<RedisStoreOptions>) {
    const client = server.client();
    const events: RedisStoreEvent[] = [];
    const store = redisStore({ client, refusalCache: false, onEvent: (event) => events.push(event), ...options });
    onTestFinished(() => {
      store.close();
      client.disconnect();
    });
    await client.ping();
    return { store, events, client };
  }

  it.each([
    [3, 300],
    [2, 1000],
  ] as const)('admits exactly the limit over %i stalls of %i ms, in every mode', async (stalls, stall) => {
    const all = await openAll();
    const decisions = all.map((): Promise<{ readonly kind: string }>[] => []);
    for (let i = 0; i < stalls; i++) {
      all.forEach(({ store }, mode) => {
        for (let j = 0; j < 30; j++) {
          decisions[mode]?.push(
            store.admit(policies, ['key'], [1]).catch((error: unknown) => ({ kind: String(error) })),
          );
        }
      });
      // The calls are sent, and the answers come while nothing reads them.
      await new Promise((next) => setImmediate(next));
      block(stall);
      await new Promise((next) => setImmediate(next));
    }
    for (const [mode, { store, events }] of all.entries()) {
      const kinds = (await Promise.all(decisions[mode] ?? [])).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'admitted')).toHaveLength(LIMIT);
      expect(new Set(kinds)).toEqual(new Set(['admitted', 'refused']));
      expect(events).toEqual([]);
      expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 0 }]);
    }
  });

  it('decides if the process is busy for every other moment, in every mode', async () => {
    const all = await openAll();
    const admitted = all.map(() => 0);
    let isOver = false;
    const callers = all.flatMap(({ store }, mode) =>
      Array.from({ length: 10 }, async () => {
        while (!isOver) {
          if ((await store.admit(policies, ['key'], [1])).kind === 'admitted')
            admitted[mode] = (admitted[mode] ?? 0) + 1;
          await delay(5);
        }
      }),
    );
    for (let i = 0; i < 4; i++) {
      block(200 + 200 * i);
      await delay(7 * i);
    }
    await until('the limits are used up', () => admitted.every((count) => count >= LIMIT));
    isOver = true;
    await Promise.all(callers);
    expect(admitted).toEqual(all.map(() => LIMIT));
    for (const { events } of all) expect(events).toEqual([]);
  });

  it('decides if the server does not know the script, and its answer to that waits unread', async () => {
    const { store, events } = await open();
    await server.cli('SCRIPT', 'FLUSH');
    const decision = store.admit(policies, ['key'], [1]);
    await new Promise((next) => setImmediate(next));
    block(1000);
    expect((await decision).kind).toBe('admitted');
    expect(events).toEqual([]);
  });

  it('settles, peeks and resets', async () => {
    const { store, events } = await open();
    const decision = await store.admit(policies, ['key'], [5]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    const busy = async <T>(call: Promise<T>): Promise<T> => {
      await new Promise((next) => setImmediate(next));
      block(400);
      return call;
    };
    await busy(store.settle(decision.receipt, [2]));
    expect(await busy(store.peek(policies, ['key']))).toMatchObject([{ remaining: LIMIT - 2 }]);
    await busy(store.reset(policies, ['key']));
    expect(await busy(store.peek(policies, ['key']))).toMatchObject([{ remaining: LIMIT }]);
    expect(events).toEqual([]);
  });

  it('asks the server once for each call, however late the answers were read', async () => {
    const { store } = await open();
    await store.admit(policies, ['key'], [1]);
    await server.cli('CONFIG', 'RESETSTAT');
    for (let i = 0; i < 2; i++) {
      const decision = store.admit(policies, ['key'], [1]);
      await new Promise((next) => setImmediate(next));
      block(500);
      await decision;
    }
    const stats = await server.cli('INFO', 'commandstats');
    expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1])).toBe(2);
  });

  it('still gives up after the timeout if Redis does not answer, and not much later if it was busy', async () => {
    const { store, events } = await open();
    await store.admit(policies, ['key'], [1]);
    server.pause();
    onTestFinished(() => server.resume());
    const sent = performance.now();
    await expect(store.admit(policies, ['key'], [1])).rejects.toThrow('Redis did not answer within 250 ms');
    expect(performance.now() - sent).toBeLessThan(400);
    const late = store.admit(policies, ['key'], [1]);
    await new Promise((next) => setImmediate(next));
    const busy = performance.now();
    block(500);
    await expect(late).rejects.toThrow('Redis did not answer within 250 ms');
    expect(performance.now() - busy).toBeLessThan(500 + 400);
    expect(events.map(({ kind }) => kind)).toEqual(['unavailable']);
  });

  it('gives up within seconds if Redis does not answer and the process is never idle', async () => {
    const { store } = await open();
    await store.admit(policies, ['key'], [1]);
    server.pause();
    onTestFinished(() => server.resume());
    let isOver = false;
    const work = () => {
      if (isOver) return;
      block(70);
      setImmediate(work);
    };
    setImmediate(work);
    // So that the test ends.
    const latest = setTimeout(() => {
      isOver = true;
    }, 6000);
    const sent = performance.now();
    await expect(store.admit(policies, ['key'], [1])).rejects.toThrow('Redis did not answer within 250 ms');
    expect(performance.now() - sent).toBeLessThan(3000);
    isOver = true;
    clearTimeout(latest);
  });

  it('is not taken for a connection that has died', async () => {
    const proxy = await RedisProxy.start(server);
    const client = new Redis(proxy.port, '127.0.0.1');
    client.on('error', () => {});
    const store = redisStore({ client, timeout: '50ms' });
    onTestFinished(() => {
      store.close();
      client.disconnect();
      proxy.stop();
    });
    await client.ping();
    const reconnections = reconnectionsOf(client);
    for (let i = 0; i < 2; i++) {
      const decision = store.admit(policies, ['another'], [1]).catch(() => undefined);
      await new Promise((next) => setImmediate(next));
      block(1200);
      await decision;
    }
    expect(reconnections()).toBe(0);
  });
});
