import { expect, it, type TestContext } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { spawnWorker, until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { useRedis } from '../../redis/suite.js';
import { openOverProxy } from './outage-scene.js';

const LIMIT = 100;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];

// Each test has a connection of its own, so they wait together.
describeRedis('redisStore, closed with work under way', () => {
  const server = useRedis();

  async function open(context: TestContext, options: Partial<RedisStoreOptions> = {}) {
    // Other suites may keep the processor busy.
    const patient = { timeout: '500ms', ...options } as const;
    const clientOptions = { retryStrategy: () => 50, disconnectTimeout: 100 };
    const { proxy, client, prefix, store, events } = await openOverProxy(context, server, clientOptions, patient);
    const lost = () => events.reduce((sum, event) => sum + (event.kind === 'correction-lost' ? event.count : 0), 0);
    /** Sends requests until the store reports the outage. */
    const outage = () =>
      until('the breaker opens', async () => {
        await store.admit(policies, ['unrelated'], [1]).catch(() => undefined);
        return events.at(-1)?.kind === 'unavailable';
      });
    /** What Redis has left, over a connection of its own. */
    const remaining = async () => {
      const observer = redisStore({ client: server.client(), prefix, timeout: '10s' });
      const [state] = await observer.peek(policies, ['key']);
      observer.close();
      return state?.remaining;
    };
    return { proxy, client, store, lost, outage, remaining };
  }

  const receipts = (store: RedisStore, count: number): Promise<readonly Receipt[]> =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const decision = await store.admit(policies, ['key'], [1]);
        if (decision.kind !== 'admitted') throw new Error('refused');
        return decision.receipt;
      }),
    );

  it.concurrent('decides and corrects what was asked before', async (context) => {
    const { store, lost, remaining } = await open(context);
    const [receipt, other] = await receipts(store, 2);
    const decision = store.admit(policies, ['key'], [3]);
    const settled = store.settle(receipt as Receipt, [0]);
    store.close();
    expect((await decision).kind).toBe('admitted');
    await settled;
    await store.settle(other as Receipt, [0]);
    expect(await remaining()).toBe(LIMIT - 3);
    expect(lost()).toBe(0);
  });

  it.concurrent('counts the corrections that its client had and did not deliver', async (context) => {
    const { proxy, client, store, lost, outage } = await open(context);
    const [first, second, third] = await receipts(store, 3);
    proxy.silence();
    // The client has the first, the store holds the second, and the third comes after its end.
    void store.settle(first as Receipt, [0]);
    await outage();
    await store.settle(second as Receipt, [0]);
    store.close();
    expect(lost()).toBe(1);
    void store.settle(third as Receipt, [0]);
    client.disconnect();
    await until('all are counted', () => lost() === 3);
  });

  it.concurrent('counts no correction as lost that its client delivers afterwards', async (context) => {
    const { proxy, client, store, lost, outage, remaining } = await open(context);
    const [first] = await receipts(store, 1);
    proxy.silence();
    void store.settle(first as Receipt, [0]);
    await outage();
    store.close();
    client.disconnect(true);
    await until('it is corrected', async () => (await remaining()) === LIMIT);
    expect(lost()).toBe(0);
  });

  it.concurrent('counts the local admissions that Redis was not told of', async (context) => {
    const { proxy, store, lost, outage } = await open(context, { onStoreFailure: 'local' });
    proxy.silence();
    await outage();
    const unrelated = lost();
    await receipts(store, 7);
    store.close();
    expect(lost() - unrelated).toBeGreaterThanOrEqual(7);
  });

  it.concurrent('does not keep its process alive', async (context) => {
    const proxy = await RedisProxy.start(server);
    const worker = spawnWorker(new URL('closing-worker.ts', import.meta.url), {
      WORKER_REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    });
    context.onTestFinished(async () => {
      await worker.stop();
      proxy.stop();
    });
    expect(await worker.receive()).toBe('ready');
    proxy.silence();
    worker.send('outage');
    expect(await worker.receive()).toBe('closed');
    const closed = performance.now();
    expect(await worker.exit).toBe(0);
    expect(performance.now() - closed).toBeLessThan(1500);
  });
});
