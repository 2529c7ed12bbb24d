import { setTimeout as delay } from 'node:timers/promises';
import { GlideClient } from '@valkey/valkey-glide';
import { createCluster } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { nodeRedisPort } from '../../../../src/core/redis/clients/node-redis.js';
import { slidingWindow } from '../../../../src/limit/policy.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import { openNodeRedis } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { until } from '../../../redis/processes.js';
import { RedisProxy } from '../../../redis/proxy.js';
import { startRedis } from '../../../redis/server.js';
import { useCluster } from '../../../redis/suite.js';

const policies = [slidingWindow({ limit: 20, window: '1h' })];

describeRedis('a connection that is lost', () => {
  const cluster = useCluster();

  it('is replaced if it is silent, for each node of a Cluster, with redis 5', async () => {
    const proxies = await Promise.all(cluster.nodes.map((node) => RedisProxy.start(node)));
    const nodeAddressMap = Object.fromEntries(
      cluster.nodes.map((node, i) => [`${node.host}:${node.port}`, { host: '127.0.0.1', port: proxies[i]?.port ?? 0 }]),
    );
    const rootNodes = proxies.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }));
    const client = createCluster({ rootNodes, nodeAddressMap });
    client.on('error', () => {});
    await client.connect();
    const events: string[] = [];
    const store = redisStore({
      client,
      prefix: 'silent:',
      refusalCache: false,
      onEvent: ({ kind }) => events.push(kind),
    });
    onTestFinished(() => {
      store.close();
      client.destroy();
      for (const proxy of proxies) proxy.stop();
    });
    const decide = (key: string) =>
      store.admit(policies, [key], [1]).then(
        ({ kind }) => kind,
        () => 'failed',
      );
    const keys = Array.from({ length: 12 }, (_, i) => `key-${i}`);
    for (const key of keys) expect(await decide(key)).toBe('admitted');
    for (const proxy of proxies) proxy.silence();
    await until(
      'all keys are decided again',
      async () => {
        await delay(20);
        return (await Promise.all(keys.map(decide))).every((kind) => kind !== 'failed');
      },
      15_000,
    );
    expect(events[0]).toBe('unavailable');
    await until('it is reported', () => events.at(-1) === 'available');
    for (const proxy of proxies) expect(proxy.connections).toBeGreaterThan(1);
  }, 30_000);

  it('ends the wait of a store at once when it is back, with redis 5', async () => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    const { client, close } = await openNodeRedis(server);
    onTestFinished(close);
    let heard = 0;
    const listener = () => heard++;
    const port = nodeRedisPort(client as Parameters<typeof nodeRedisPort>[0]);
    port.on('ready', listener);
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until('it is back', () => heard === 1);
    port.off('ready', listener);
  });

  it('does not lose the answer of a call that the client has given up, with @valkey/valkey-glide', async () => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    const addresses = [{ host: server.host, port: server.port }];
    const client = await GlideClient.createClient({ addresses, requestTimeout: 200 });
    const store = redisStore({ client, timeout: '10s', refusalCache: false });
    onTestFinished(() => {
      store.close();
      client.close();
    });
    expect((await store.admit(policies, ['key'], [1])).kind).toBe('admitted');
    server.pause();
    const asked = store.admit(policies, ['key'], [3]);
    // The client gives up twice or more in this time.
    await delay(700);
    server.resume();
    expect(await asked).toMatchObject({ kind: 'admitted', states: [{ remaining: 16 }] });
    await delay(200);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 16 }]);
  });
});
