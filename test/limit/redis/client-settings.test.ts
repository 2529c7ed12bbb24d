import { setTimeout as delay } from 'node:timers/promises';
import type { RedisOptions } from 'ioredis';
import { afterAll, beforeAll, expect, it, type TestContext } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import type { RedisClient } from '../../../src/limit/redis/client.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { byteCommandsOf } from '../../redis/byte-commands.js';
import { connected, reconnectionsOf } from '../../redis/connected.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { useRedis } from '../../redis/suite.js';

const policies = [slidingWindow({ limit: 2000, window: '1h' })];

/** What may stand in place of `info`. */
const INFOS: readonly (readonly [what: string, info: unknown])[] = [
  [
    'throws',
    () => {
      throw new Error('no INFO here');
    },
  ],
  ['returns no promise', () => undefined],
  ['is missing', undefined],
];

// Each test has a connection of its own, so they wait together.
describeRedis('redisStore, given a client with settings or faults of its own', () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  beforeAll(() => {
    process.on('unhandledRejection', onUnhandled);
  });
  // Of hooks like this one, the first runs last: when the server has stopped.
  afterAll(() => {
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });
  const server = useRedis();

  async function connect({ onTestFinished }: TestContext, options: RedisOptions = {}) {
    const proxy = await RedisProxy.start(server);
    const client = await connected(proxy.port, { retryStrategy: () => 50, disconnectTimeout: 100, ...options });
    onTestFinished(() => {
      client.disconnect();
      proxy.stop();
    });
    const events: RedisStoreEvent[] = [];
    const open = (changes: Partial<RedisStoreOptions> = {}) => {
      const store = redisStore({
        client,
        prefix: `settings-${proxy.port}:`,
        refusalCache: false,
        onEvent: (event) => events.push(event),
        ...changes,
      });
      onTestFinished(() => store.close());
      return store;
    };
    return { proxy, client, reconnections: reconnectionsOf(client), events, open };
  }

  it.concurrent('replaces a silent connection, although the client gives up INFO by itself', async (context) => {
    const { proxy, reconnections, open } = await connect(context, { commandTimeout: 400 });
    const store = open();
    const decide = () => store.admit(policies, ['key'], [1]).then(({ kind }) => kind, String);
    expect(await decide()).toBe('admitted');
    proxy.silence();
    await until('it admits again', async () => (await decide()) === 'admitted');
    expect(reconnections()).toBe(1);
  });

  it.concurrent('replaces no connection that answers later than the client waits', async (context) => {
    const { client, reconnections, open } = await connect(context, { commandTimeout: 150 });
    const store = open({ timeout: '100ms' });
    await store.admit(policies, ['key'], [1]);
    const blocker = server.client();
    await server.cli('CONFIG', 'SET', 'lua-time-limit', '100000');
    const blocked = blocker.eval("local t = redis.call('TIME')[1] + 1 while redis.call('TIME')[1] - t < 0 do end", 0);
    for (const end = performance.now() + 900; performance.now() < end; await delay(30)) {
      await store.admit(policies, ['key'], [1]).catch(() => undefined);
    }
    await blocked;
    await until('it admits again', async () => {
      await delay(20);
      return store.admit(policies, ['key'], [1]).then(
        () => true,
        () => false,
      );
    });
    expect([reconnections(), client.status]).toEqual([0, 'ready']);
  });

  it.concurrent.for(INFOS)('decides, and survives an outage, if its `info` %s', async ([_, info], context) => {
    const { proxy, client, open } = await connect(context);
    const minimal = {
      isCluster: false,
      ...byteCommandsOf(client),
      on: () => undefined,
      off: () => undefined,
      info,
    };
    const store = open({ client: minimal as unknown as RedisClient });
    expect((await store.admit(policies, ['key'], [1])).kind).toBe('admitted');
    proxy.silence();
    for (const end = performance.now() + 1500; performance.now() < end; await delay(50)) {
      await expect(store.admit(policies, ['key'], [1])).rejects.toMatchObject({
        code: 'GATEWARDEN_STORE_UNAVAILABLE',
      });
    }
  });

  it.concurrent('ends every `settle` of many, although each call is a fault', async (context) => {
    const { client, events, open } = await connect(context);
    const store = open({ timeout: '5s' });
    const decisions = await Promise.all(Array.from({ length: 1000 }, () => store.admit(policies, ['key'], [1])));
    await client.subscribe('channel');
    await Promise.all(decisions.map((decision) => decision.kind === 'admitted' && store.settle(decision.receipt, [0])));
    const lost = events.map((event) => (event.kind === 'correction-lost' ? event.count : Number.NaN));
    expect(lost.reduce((sum, count) => sum + count, 0)).toBe(1000);
  });

  it.concurrent('prints what an asynchronous `onEvent` rejects with', async (context) => {
    const { proxy, open } = await connect(context);
    const print = console.error;
    const printed: unknown[][] = [];
    console.error = (...words) => printed.push(words);
    context.onTestFinished(() => {
      console.error = print;
    });
    const fault = new Error('a fault of the callback');
    const store = open({ onEvent: async () => Promise.reject(fault) });
    proxy.silence();
    await until('it is printed', async () => {
      await store.admit(policies, ['key'], [1]).catch(() => undefined);
      return printed.length > 0;
    });
    expect(printed).toEqual([['gatewarden: the onEvent callback of redisStore threw:', fault]]);
  });
});
