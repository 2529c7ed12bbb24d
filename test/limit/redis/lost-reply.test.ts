import type { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { describeRedis } from '../../redis/describe.js';
import { LossyProxy } from '../../redis/lossy-proxy.js';
import { useRedis } from '../../redis/suite.js';

const policies = [slidingWindow({ limit: 10, window: '1h' })];

describeRedis('redisStore, when a reply is lost after Redis has run the call', () => {
  const server = useRedis();
  let proxy: LossyProxy;
  let client: Redis;

  beforeEach(async () => {
    await server.cli('FLUSHALL');
    proxy = await LossyProxy.start(server);
    client = await proxy.client({ retryStrategy: () => 20 });
  });
  afterEach(() => proxy.stop());

  it('charges once, and returns the answer that was lost', async () => {
    const store = redisStore({ client, timeout: '5s', refusalCache: false });
    await store.admit(policies, ['key'], [1]);
    proxy.dropNext = true;
    // The client sends the call again over its next connection.
    expect(await store.admit(policies, ['key'], [3])).toMatchObject({ kind: 'admitted', states: [{ remaining: 6 }] });
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 6 }]);
    store.close();
  });

  it('corrects once if the client sends the call again', async () => {
    const store = redisStore({ client, timeout: '5s' });
    const decision = await store.admit(policies, ['key'], [4]);
    const other = await store.admit(policies, ['key'], [4]);
    if (decision.kind !== 'admitted' || other.kind !== 'admitted') throw new Error('refused');
    proxy.dropNext = true;
    await store.settle(decision.receipt, [1]);
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });

  it('corrects once if the client gives up and the store sends the call again', async () => {
    client.disconnect();
    client = await proxy.client({ retryStrategy: () => 20, autoResendUnfulfilledCommands: false });
    const store = redisStore({ client });
    const decision = await store.admit(policies, ['key'], [4]);
    await store.admit(policies, ['key'], [4]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    proxy.dropNext = true;
    await store.settle(decision.receipt, [1]);
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });
});
