import { createClient } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import { reconnectionsOf } from '../../redis/connected.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { useRedis } from '../../redis/suite.js';
import { outcomeOf } from './outage-scene.js';

const policies = [slidingWindow({ limit: 1, window: '1h' })];
const LONG = 'x'.repeat(20_000);

const turn = () => new Promise((resolve) => setImmediate(resolve));
const decide = (store: RedisStore, key: string) => outcomeOf(store.admit(policies, [key], [1]));

describeRedis('redisStore with a client that confuses replies', () => {
  const server = useRedis();

  async function open() {
    const proxy = await RedisProxy.start(server);
    const socket = { host: '127.0.0.1', port: proxy.port, reconnectStrategy: 20 };
    const client = createClient({ disableClientInfo: true, socket });
    client.on('error', () => {});
    await client.connect();
    const reconnections = reconnectionsOf(client);
    // So long that a connection is not replaced for its silence.
    const stores = ['a', 'b'].map((name) =>
      redisStore({ client, prefix: `${name}-${proxy.port}:`, refusalCache: false, timeout: '5s' }),
    );
    onTestFinished(() => {
      for (const store of stores) store.close();
      client.destroy();
      proxy.stop();
    });
    /**
     * node-redis 5.12 writes what waits behind a long command to a connection that has ended. The store keeps its own
     * commands out of that, but not those of the service. Each reply goes then to the command so many places before.
     */
    const shiftBy = async (places: number) => {
      for (let i = 0; i <= places; i++) client.set('of the service', LONG).catch(() => undefined);
      await turn();
      proxy.reset();
      await turn();
      await until('the client is connected again', () => reconnections() === 1 && client.isReady);
    };
    const [store, other] = stores as [RedisStore, RedisStore];
    return { reconnections, shiftBy, store, other };
  }

  /** Asks in turns about a key that is used up, and about fresh ones. Each question is a call of its own. */
  async function ask(store: RedisStore, other: RedisStore) {
    const decided: ReturnType<typeof decide>[] = [];
    for (let i = 0; i < 12; i++) {
      decided.push(decide(store, 'used up'));
      await turn();
      decided.push(decide(other, `fresh ${i}`));
      await turn();
    }
    const kinds = await Promise.all(decided);
    return { kinds, wrong: kinds.filter((kind, i) => kind === (i % 2 === 0 ? 'admitted' : 'refused')) };
  }

  it('takes no decision for another, and has the connection replaced', async () => {
    const { reconnections, shiftBy, store } = await open();
    expect(await decide(store, 'used up')).toBe('admitted');
    await shiftBy(3);
    const { kinds, wrong } = await ask(store, store);
    expect(wrong).toEqual([]);
    expect(kinds).toContain('failed');
    await until('it decides again', async () => (await decide(store, 'used up')) === 'refused');
    expect(await decide(store, 'fresh')).toBe('admitted');
    expect(reconnections()).toBe(2);
  });

  it('takes no decision of another store with the same client for its own', async () => {
    const { shiftBy, store, other } = await open();
    expect(await decide(store, 'used up')).toBe('admitted');
    expect(await decide(other, 'used up')).toBe('admitted');
    await shiftBy(1);
    const { kinds, wrong } = await ask(store, other);
    expect(wrong).toEqual([]);
    expect(kinds).toContain('failed');
  });
});
