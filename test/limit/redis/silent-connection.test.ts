import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, type Redis, type RedisOptions } from 'ioredis';
import { expect, it, type TestContext } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import type { RedisClient } from '../../../src/limit/redis/client.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { byteCommandsOf } from '../../redis/byte-commands.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { type RedisServer, startRedis } from '../../redis/server.js';
import { useClusterLater, useRedis } from '../../redis/suite.js';
import { admitsAgain, openOverProxy, outcomeOf } from './outage-scene.js';

const policies = [slidingWindow({ limit: 100, window: '1h' })];
/** ioredis waits this long for the other side to close a connection, by default 2 s. */
const FAST = { retryStrategy: () => 100, disconnectTimeout: 100 };

// Most of these tests wait for timeouts. Each has a connection of its own, so they wait together.
describeRedis('redisStore over a connection that dies without a word', () => {
  const startedCluster = useClusterLater();
  const server = useRedis();

  const open = (
    context: TestContext,
    clientOptions: RedisOptions = {},
    options: Partial<RedisStoreOptions> = {},
    target: RedisServer = server,
  ) => openOverProxy(context, target, { ...FAST, ...clientOptions }, options);

  const decide = (store: Pick<RedisStore, 'admit'>) => outcomeOf(store.admit(policies, ['key'], [1]));

  /** Sends requests until the store reports the outage. */
  const outage = (store: Pick<RedisStore, 'admit'>, events: readonly RedisStoreEvent[]) =>
    until('the breaker opens', async () => {
      await decide(store);
      return events.length > 0;
    });

  /** Resolves as soon as the store has begun to ask a connection that has fallen silent whether it still answers. */
  const silenceNoticed = async (proxy: RedisProxy, store: Pick<RedisStore, 'admit'>) => {
    // Then no earlier question is open.
    await admitsAgain(() => decide(store), 8000);
    proxy.silence();
    expect(await decide(store)).toBe('failed');
  };

  it.concurrent.for([
    ['', {}],
    [' of a client that sends nothing again', { autoResendUnfulfilledCommands: false }],
    [' of a client without a queue', { enableOfflineQueue: false }],
    [" of the README's client", { disconnectTimeout: 2000, retryStrategy: () => 200 }],
  ] as const)('asks the client for a new one%s, and is back within seconds', async ([_, clientOptions], context) => {
    const { proxy, reconnections, store, events } = await open(context, clientOptions);
    await decide(store);
    proxy.silence();
    await admitsAgain(() => decide(store), 12_000);
    expect(events.map(({ kind }) => kind)).toEqual(['unavailable', 'available']);
    expect(reconnections()).toBe(1);
  });

  it.concurrent('corrects what was to be corrected in the meantime, once', async (context) => {
    const { proxy, store, events } = await open(context);
    const receipts: Receipt[] = [];
    for (let i = 0; i < 20; i++) {
      const decision = await store.admit(policies, ['key'], [2]);
      if (decision.kind === 'admitted') receipts.push(decision.receipt);
    }
    proxy.silence();
    for (const receipt of receipts.slice(0, 10)) void store.settle(receipt, [1]);
    await outage(store, events);
    for (const receipt of receipts.slice(10)) void store.settle(receipt, [1]);
    await until('it is back', () => events.at(-1)?.kind === 'available');
    await until('all are corrected', async () => (await store.peek(policies, ['key']))[0]?.remaining === 80);
    await delay(700);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 80 }]);
    expect(events.map(({ kind }) => kind)).toEqual(['unavailable', 'available']);
  });

  it.concurrent('asks again, later and later, while new connections are silent too', async (context) => {
    const { proxy, reconnections, store, events } = await open(context);
    await decide(store);
    proxy.silence({ newOnes: true });
    await outage(store, events);
    await until('the second connection', () => reconnections() === 1);
    const second = performance.now();
    // This one stays silent.
    proxy.speak();
    await until('the third connection', () => reconnections() === 2);
    // The first was asked for one second. The client was given three to replace it, and the second is asked for two.
    expect(performance.now() - second).toBeGreaterThan(4000);
    await until('it is back', () => events.at(-1)?.kind === 'available');
    expect(await decide(store)).toBe('admitted');
  }, 30_000);

  it.concurrent.for([
    ['disconnected', (client: Redis): void => client.disconnect()],
    ['quit', (client: Redis): void => void client.quit().catch(() => undefined)],
  ] as const)('leaves a client alone that the service has %s', async ([_, close], context) => {
    const { proxy, client, reconnections, store } = await open(context);
    await silenceNoticed(proxy, store);
    close(client);
    for (const end = performance.now() + 4000; performance.now() < end; await delay(100)) await decide(store);
    expect(reconnections()).toBe(0);
    expect(client.status).toBe('end');
  });

  it.concurrent('leaves the client alone once the store is closed', async (context) => {
    const { proxy, client, reconnections, store } = await open(context);
    await silenceNoticed(proxy, store);
    store.close();
    await delay(2000);
    expect([reconnections(), client.status]).toEqual([0, 'ready']);
  });

  it.concurrent('replaces no connection of a server that answers, even if with errors', async (context) => {
    const busy = await startRedis({ args: ['--lua-time-limit', '20'] });
    context.onTestFinished(() => busy.stop());
    const { reconnections, store, events } = await open(context, {}, {}, busy);
    await decide(store);
    busy
      .client()
      .eval('while true do end', 0)
      .catch(() => undefined);
    await outage(store, events);
    await delay(2500);
    await busy.cli('SCRIPT', 'KILL');
    await until('it is back', () => events.at(-1)?.kind === 'available');
    expect(reconnections()).toBe(0);
  });

  it.concurrent('does without, given a client that cannot open a new connection', async (context) => {
    const { proxy, client, reconnections } = await open(context);
    const minimal: RedisClient = {
      isCluster: false,
      evalsha: (...args) => client.evalsha(...args),
      eval: (...args) => client.eval(...args),
      ...byteCommandsOf(client),
      info: (section) => client.info(section),
      on: (event, listener) => client.on(event, listener),
      off: (event, listener) => client.off(event, listener),
    };
    const store = redisStore({ client: minimal });
    context.onTestFinished(() => store.close());
    expect(await decide(store)).toBe('admitted');
    proxy.silence();
    for (const end = performance.now() + 2500; performance.now() < end; await delay(50)) {
      expect(await decide(store)).toBe('failed');
    }
    expect(reconnections()).toBe(0);
  });

  it.concurrent('replaces the connections of a Cluster that are silent, and no others', async ({ onTestFinished }) => {
    const cluster = await startedCluster();
    const proxies = await Promise.all(cluster.nodes.map((node) => RedisProxy.start(node)));
    const natMap = Object.fromEntries(
      cluster.nodes.map(({ port }, i) => [`127.0.0.1:${port}`, { host: '127.0.0.1', port: proxies[i]?.port ?? 0 }]),
    );
    const client = new Cluster([{ host: '127.0.0.1', port: proxies[0]?.port ?? 0 }], {
      natMap,
      redisOptions: { disconnectTimeout: 100 },
    });
    client.on('error', () => {});
    const store = redisStore({ client, refusalCache: false });
    onTestFinished(() => {
      store.close();
      client.disconnect();
      for (const proxy of proxies) proxy.stop();
    });
    const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);
    const admitted = async () => {
      const all = await Promise.all(
        keys.map((key) => store.admit(policies, [key], [1]).then(({ kind }) => kind, String)),
      );
      return all.filter((kind) => kind === 'admitted').length;
    };
    await until('all nodes are connected', async () => (await admitted()) === keys.length);
    const portOf = (node: Redis) => natMap[`127.0.0.1:${node.options.port}`]?.port ?? node.options.port;
    const nodeAt = (proxy: RedisProxy | undefined) => client.nodes().find((node) => portOf(node) === proxy?.port);
    const before = proxies.map(nodeAt);
    expect(before.every((node) => node?.status === 'ready')).toBe(true);
    proxies[1]?.silence();
    await until('all keys are admitted again', async () => (await admitted()) === keys.length, 15_000);
    const after = proxies.map(nodeAt);
    expect(after[1]).not.toBe(before[1]);
    expect([after[0], after[2]]).toEqual([before[0], before[2]]);
  }, 60_000);
});
