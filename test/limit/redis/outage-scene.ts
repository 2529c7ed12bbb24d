import type { TestContext } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { until } from '../../redis/processes.js';
import { type RedisServer, startRedis } from '../../redis/server.js';

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

const unrelatedPolicy = [slidingWindow({ limit: 10, window: '1m' })];

/** Sends requests until the store reports the outage. */
export async function outageNoticed({ store, kinds }: OpenStore): Promise<void> {
  await until('the breaker opens', async () => {
    await store.admit(unrelatedPolicy, ['unrelated'], [1]).catch(() => undefined);
    return kinds.at(-1) === 'unavailable';
  });
}

/** The receipt of an admission that must not be refused. */
export async function receiptOf(decision: ReturnType<RedisStore['admit']>): Promise<Receipt> {
  const decided = await decision;
  if (decided.kind !== 'admitted') throw new Error('refused');
  return decided.receipt;
}
