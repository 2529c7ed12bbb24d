import { createClient } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { reconnectionsOf } from '../../redis/connected.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { useRedis } from '../../redis/suite.js';
import { outcomeOf } from './outage-scene.js';

const policies = [slidingWindow({ limit: 1, window: '1h' })];
const LONG = 'x'.repeat(20_000);

const turn = () => new Promise((resolve) => setImmediate(resolve));

describeRedis('redisStore with a client that confuses replies', () => {
  const server = useRedis();

  // node-redis 5.12 writes what waits behind a long command to a connection that has ended. The store keeps its own
  // commands out of that, but not those of the service, and the replies of the next connection go to the wrong commands.
  it('takes no decision for another, and has the connection replaced', async () => {
    const proxy = await RedisProxy.start(server);
    const socket = { host: '127.0.0.1', port: proxy.port, reconnectStrategy: 20 };
    const client = createClient({ disableClientInfo: true, socket });
    client.on('error', () => {});
    await client.connect();
    const reconnections = reconnectionsOf(client);
    const store = redisStore({ client, refusalCache: false });
    onTestFinished(() => {
      store.close();
      client.destroy();
      proxy.stop();
    });
    const decide = (key: string) => outcomeOf(store.admit(policies, [key], [1]));
    expect(await decide('used up')).toBe('admitted');
    for (let i = 0; i < 4; i++) client.set('of the service', LONG).catch(() => undefined);
    await turn();
    proxy.reset();
    await until('the client is connected again', () => reconnections() === 1 && client.isReady);
    const decided: Promise<unknown>[] = [];
    for (let i = 0; i < 12; i++) {
      decided.push(decide('used up'));
      await turn();
      decided.push(decide(`fresh ${i}`));
      await turn();
    }
    const kinds = await Promise.all(decided);
    expect(kinds.filter((kind, i) => kind === (i % 2 === 0 ? 'admitted' : 'refused'))).toEqual([]);
    expect(kinds).toContain('failed');
    await until('it decides again', async () => (await decide('used up')) === 'refused');
    expect(await decide('fresh')).toBe('admitted');
    expect(reconnections()).toBe(2);
  });
});
