import { setTimeout as delay } from 'node:timers/promises';
import type { RedisOptions } from 'ioredis';
import { expect, type TestContext } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { connected, reconnectionsOf } from '../../redis/connected.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { type RedisServer, type RedisTarget, startRedis } from '../../redis/server.js';

/** A store under test, its client, and the kinds of events that it has reported. */
export type OpenStore = Awaited<ReturnType<OutageScene['open']>>;

/** One Redis server that a test may pause or kill, and the stores of the test. All end with the test. */
export class OutageScene {
  readonly server: RedisServer;
  readonly #stores: RedisStore[] = [];

  static async start({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): Promise<OutageScene> {
    const scene = new OutageScene(await startRedis());
    onTestFinished(() => scene.#end());
    return scene;
  }

  private constructor(server: RedisServer) {
    this.server = server;
  }

  /** Opens a store whose client is connected: connecting may take longer than the timeout of a store. */
  async open({ onEvent, ...options }: Partial<RedisStoreOptions> = {}) {
    const kinds: RedisStoreEvent['kind'][] = [];
    // The store can be back no sooner than its client. By default ioredis waits up to two seconds between attempts.
    const client = this.server.client({ retryStrategy: () => 100 });
    const store = redisStore({
      client,
      refusalCache: false,
      onEvent: (event) => {
        kinds.push(event.kind);
        onEvent?.(event);
      },
      ...options,
    });
    this.#stores.push(store);
    await client.ping();
    return { store, client, kinds };
  }

  async #end(): Promise<void> {
    for (const store of this.#stores) store.close();
    this.server.resume();
    await this.server.stop();
  }
}

/** A store whose client is connected through a proxy. All of it ends with the test. */
export async function openOverProxy(
  { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
  server: RedisTarget,
  clientOptions: RedisOptions,
  options: Partial<RedisStoreOptions> = {},
) {
  const proxy = await RedisProxy.start(server);
  const client = await connected(proxy.port, clientOptions);
  const reconnections = reconnectionsOf(client);
  const events: RedisStoreEvent[] = [];
  const prefix = `proxy-${proxy.port}:`;
  const store = redisStore({ client, prefix, refusalCache: false, onEvent: (event) => events.push(event), ...options });
  onTestFinished(() => {
    store.close();
    client.disconnect();
    proxy.stop();
  });
  return { proxy, client, reconnections, prefix, store, events };
}

const unrelatedPolicy = [slidingWindow({ limit: 10, window: '1m' })];

/** Sends requests until the store reports the outage. */
export async function outageNoticed({ store, kinds }: OpenStore): Promise<void> {
  await until('the breaker opens', async () => {
    await store.admit(unrelatedPolicy, ['unrelated'], [1]).catch(() => undefined);
    return kinds.at(-1) === 'unavailable';
  });
}

/** How the store decides, or `failed` if it cannot. */
export function outcomeOf(decision: ReturnType<RedisStore['admit']>): Promise<'admitted' | 'refused' | 'failed'> {
  return decision.then(
    ({ kind }) => kind,
    () => 'failed',
  );
}

/** Asks about all keys at once: those of the node that is away fail, and all others are admitted. */
export async function expectOnlyLost(
  decide: (key: string) => ReturnType<typeof outcomeOf>,
  { lost, others }: { readonly lost: readonly string[]; readonly others: readonly string[] },
): Promise<void> {
  const kinds = await Promise.all([...others.map(decide), ...lost.map(decide)]);
  expect(new Set(kinds.slice(0, others.length))).toEqual(new Set(['admitted']));
  expect(new Set(kinds.slice(others.length))).toEqual(new Set(['failed']));
}

/** Sends requests until one is admitted, and prints how long that took. `within` in milliseconds. */
export async function admitsAgain(decide: () => ReturnType<typeof outcomeOf>, within: number): Promise<void> {
  const start = performance.now();
  await until(
    'it admits again',
    async () => {
      await delay(20);
      return (await decide()) === 'admitted';
    },
    within,
  );
  console.log(`back after ${Math.round(performance.now() - start)} ms`);
}

/** The receipt of an admission that must not be refused. */
export async function receiptOf(decision: ReturnType<RedisStore['admit']>): Promise<Receipt> {
  const decided = await decision;
  if (decided.kind !== 'admitted') throw new Error('refused');
  return decided.receipt;
}
