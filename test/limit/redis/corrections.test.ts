import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { correction } from '../../../src/limit/redis/operation.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { SettleQueue } from '../../../src/limit/redis/settle-queue.js';
import type { Receipt } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import type { RedisProxy } from '../../redis/proxy.js';
import { type RedisServer, startRedis } from '../../redis/server.js';
import { openOverProxy } from './outage-scene.js';
import { scriptOf } from './script-fixture.js';

/** `npm run test:long` waits for the whole minute that is promised. */
const OUTAGE = Number(process.env.PROPERTY_RUNS ?? 0) > 10_000 ? 60_000 : 1_000;
const MANY = 10_000;
const MEBIBYTE = 1024 * 1024;

const policies = [slidingWindow({ limit: 20_000, window: '1h' })];
const keyOf = (i: number): string => `key-${i % 500}`;

/** What ioredis holds. */
function heldBy(client: Redis): number {
  const queues = client as unknown as Record<'commandQueue' | 'offlineQueue', { readonly length: number }>;
  const previous = (client as unknown as { readonly prevCommandQueue?: { readonly length: number } }).prevCommandQueue;
  return queues.commandQueue.length + queues.offlineQueue.length + (previous?.length ?? 0);
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

interface Scene {
  readonly server: RedisServer;
  readonly proxy: RedisProxy;
  readonly client: Redis;
  readonly store: RedisStore;
  readonly events: RedisStoreEvent[];
}

async function open(options: Partial<RedisStoreOptions> = {}, clientOptions = {}): Promise<Scene> {
  const server = await startRedis();
  onTestFinished(async () => {
    server.resume();
    await server.stop();
  });
  const through = { retryStrategy: () => 100, ...clientOptions };
  // The prefix that a store has by default: others look at the same counters.
  const named = { prefix: 'gw:', ...options } as const;
  return { server, ...(await openOverProxy({ onTestFinished }, server, through, named)) };
}

async function admitted(store: RedisStore, count: number): Promise<readonly Receipt[]> {
  const receipts: Receipt[] = [];
  // In several turns: a busy machine runs a small call within the timeout.
  while (receipts.length < count) {
    const part = Array.from({ length: Math.min(100, count - receipts.length) }, async (_, i) => {
      const decision = await store.admit(policies, [keyOf(receipts.length + i)], [2]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      return decision.receipt;
    });
    receipts.push(...(await Promise.all(part)));
  }
  return receipts;
}

/** Units in use, of all keys, as Redis counts them. */
async function inUse(server: RedisServer): Promise<number> {
  const observer = redisStore({ client: server.client(), timeout: '30s' });
  const states = await Promise.all(Array.from({ length: 500 }, (_, i) => observer.peek(policies, [keyOf(i)])));
  observer.close();
  return states.reduce((sum, [state]) => sum + 20_000 - (state?.remaining ?? 0), 0);
}

async function inUseIs(server: RedisServer, units: number): Promise<void> {
  await until(`${units} units are in use`, async () => {
    await delay(100);
    return (await inUse(server)) === units;
  });
}

/** Settles each receipt in a turn of its own, as requests end. */
async function settleAll(store: RedisStore, receipts: readonly Receipt[]): Promise<void> {
  for (const receipt of receipts) {
    void store.settle(receipt, [1]);
    await new Promise((next) => setImmediate(next));
  }
}

async function outageNoticed({ store, events }: Scene): Promise<void> {
  await until('the breaker opens', async () => {
    await store.admit(policies, ['unrelated'], [1]).catch(() => undefined);
    return events.at(-1)?.kind === 'unavailable';
  });
}

const kindsOf = (events: readonly RedisStoreEvent[]) => events.map(({ kind }) => kind);
const lostOf = (events: readonly RedisStoreEvent[]) =>
  events.reduce((sum, event) => sum + (event.kind === 'correction-lost' ? event.count : 0), 0);

describeRedis('the corrections of redisStore', () => {
  describe.each([
    [
      'falls silent',
      ({ server }: Scene) => server.pause(),
      ({ server }: Scene) => server.resume(),
      // With the second, all of them wait before the breaker opens.
      ['250ms', '1500ms'],
    ],
    ['cannot be reached', ({ proxy }: Scene) => proxy.refuse(), ({ proxy }: Scene) => proxy.accept(), ['250ms']],
  ] as const)('when the server %s', (_what, leave, comeBack, timeouts) => {
    it.each(timeouts)(
      'wait in bounded memory if they were on their way, and all take effect once (%s)',
      async (timeout) => {
        const scene = await open({ timeout });
        const { server, client, store, events } = scene;
        const receipts = await admitted(store, MANY);
        expect(await inUse(server)).toBe(2 * MANY);
        const before = heapUsed();
        leave(scene);
        const settled = settleAll(store, receipts);
        await outageNoticed(scene);
        await settled;
        const held = heldBy(client);
        let most = held;
        for (const end = performance.now() + OUTAGE; performance.now() < end; await delay(100)) {
          most = Math.max(most, heldBy(client));
        }
        // Probes and the questions whether a connection is alive, but no copy of a correction.
        expect(most - held).toBeLessThan(30);
        expect(most).toBeLessThan(MANY + 100);
        const growth = heapUsed() - before;
        console.log(`${MANY} corrections: ${held} with the client, ${Math.round(growth / MEBIBYTE)} MiB`);
        expect(growth).toBeLessThan(64 * MEBIBYTE);
        comeBack(scene);
        await until('Redis is back', () => events.at(-1)?.kind === 'available', 20_000);
        await inUseIs(server, MANY);
        await delay(600);
        expect(await inUse(server)).toBe(MANY);
        expect(kindsOf(events)).not.toContain('correction-lost');
      },
      OUTAGE + 60_000,
    );

    it('are not sent while the breaker is open, and go out in batches when Redis is back', async () => {
      const scene = await open();
      const { server, client, store, events } = scene;
      const receipts = await admitted(store, MANY);
      await server.cli('CONFIG', 'RESETSTAT');
      leave(scene);
      await outageNoticed(scene);
      const held = heldBy(client);
      await settleAll(store, receipts);
      // Twice as long as corrections wait that are sent again.
      await delay(1000);
      expect(heldBy(client) - held).toBeLessThan(10);
      comeBack(scene);
      await until('Redis is back', () => events.at(-1)?.kind === 'available', 20_000);
      await inUseIs(server, MANY);
      const stats = await server.cli('INFO', 'commandstats');
      // 50 calls of 200 corrections, and those that looked at 500 keys in the meantime.
      expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)).toBeLessThan(1000);
      expect(kindsOf(events)).not.toContain('correction-lost');
    }, 60_000);
  });

  it('settle at once while the breaker is open', async () => {
    const scene = await open();
    const [receipt] = await admitted(scene.store, 1);
    scene.server.pause();
    await outageNoticed(scene);
    const sent = performance.now();
    await scene.store.settle(receipt as Receipt, [0]);
    expect(performance.now() - sent).toBeLessThan(100);
  });

  it('are counted if more than 10,000 wait, and the others take effect', async () => {
    const scene = await open();
    const { server, store, events } = scene;
    const receipts = await admitted(store, MANY + 300);
    server.pause();
    await outageNoticed(scene);
    await settleAll(store, receipts);
    expect(lostOf(events)).toBe(300);
    expect(String((events.at(-1) as { readonly error: unknown }).error)).toContain(
      'more than 10000 corrections wait for Redis',
    );
    server.resume();
    await inUseIs(server, MANY + 600);
    expect(lostOf(events)).toBe(300);
  }, 60_000);

  it('are counted if the store is closed before Redis is back', async () => {
    const scene = await open();
    const receipts = await admitted(scene.store, 3);
    scene.server.pause();
    await outageNoticed(scene);
    await settleAll(scene.store, receipts);
    scene.store.close();
    expect(lostOf(scene.events)).toBe(3);
  });

  it('have no effect once they were given up', async () => {
    const { server, client } = await open();
    const lost: number[] = [];
    const script = scriptOf(client, { timeout: 100 });
    const settles = new SettleQueue(script, (_error, count) => lost.push(count), 600);
    const store = redisStore({ client, timeout: '10s' });
    const decision = await store.admit(policies, ['key-0'], [5]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    const { charges } = decision.receipt as unknown as {
      readonly charges: readonly { readonly charged: Parameters<typeof correction>[2] }[];
    };
    await script.probe(0);
    server.pause();
    // It is in the socket, where the server finds it as soon as it is back.
    void settles.send(correction(policies, ['gw:key-0'], charges[0]?.charged ?? [], [-5]));
    await until('it is given up', () => lost.length > 0);
    server.resume();
    expect(await inUse(server)).toBe(5);
    settles.stop();
    store.close();
  });

  it('are made once, with the right time, after the clock of the server has jumped', async () => {
    const { server, client } = await open();
    let now = Date.now();
    const script = scriptOf(client);
    // As if the process had been suspended for an hour: the estimate of the server's time is an hour old.
    script.clock.latest = () => now - 3_600_000;
    await script.probe(0);
    const store = redisStore({ client, timeout: '10s' });
    const decision = await store.admit(policies, ['key-0'], [5]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    const { charges } = decision.receipt as unknown as {
      readonly charges: readonly { readonly charged: Parameters<typeof correction>[2] }[];
    };
    const lost: number[] = [];
    const settles = new SettleQueue(script, (_error, count) => lost.push(count));
    await settles.send(correction(policies, ['gw:key-0'], charges[0]?.charged ?? [], [-3]));
    now += 3_600_000;
    await until('it is corrected', async () => (await inUse(server)) === 2);
    expect(lost).toEqual([]);
    settles.stop();
    store.close();
  });
});
