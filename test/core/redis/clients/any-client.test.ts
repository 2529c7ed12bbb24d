import type { GlideClient } from '@valkey/valkey-glide';
import { Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis6';
import { createClient, createClientPool, type createCluster, type createSentinel } from 'redis';
import { describe, expect, expectTypeOf, it, onTestFinished } from 'vitest';
import { redisReplayStore } from '../../../../src/auth/redis/replay-store.js';
import { OptionError } from '../../../../src/core/option.js';
import { redisIdempotencyStore } from '../../../../src/jobs/redis/idempotency-store.js';
import { redisJobStore } from '../../../../src/jobs/redis/job-store.js';
import { concurrency, slidingWindow } from '../../../../src/limit/policy.js';
import type { JoinRequest } from '../../../../src/limit/queue/waiting-queue.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import type { OtherRedisClient, RedisStoreOptions } from '../../../../src/redis.js';
import { type Opened, OTHER_CLIENTS, type SingleClient } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { until } from '../../../redis/processes.js';
import type { RedisTarget } from '../../../redis/server.js';
import { prefixesOf, useRedis } from '../../../redis/suite.js';

const freshPrefix = prefixesOf('any');

/** Clients that can be subscribers, of each package. */
const SUBSCRIBERS: readonly {
  readonly name: string;
  open(target: RedisTarget): Promise<Opened<SingleClient | Redis6>>;
}[] = [
  ...OTHER_CLIENTS,
  {
    name: 'ioredis 6',
    open: async ({ url }) => {
      const client = new Redis6(url);
      return { client, close: () => client.disconnect() };
    },
  },
];

describeRedis('the stores in Redis', () => {
  const server = useRedis();

  it('count together, whatever client each of them has', async () => {
    const prefix = freshPrefix();
    const clients: RedisStoreOptions['client'][] = [server.client()];
    for (const { open } of OTHER_CLIENTS) {
      const { client, close } = await open(server);
      onTestFinished(close);
      clients.push(client);
    }
    const stores = clients.map((client) => redisStore({ client, prefix, timeout: '10s' }));
    const policies = [slidingWindow({ limit: 50, window: '1h' }), concurrency({ limit: 45 })];
    const keys = ['schlüssel ✓ \r\n', 'schlüssel ✓ \r\n'];
    const asked = Array.from({ length: 100 }, (_, i) => stores[i % stores.length]?.admit(policies, keys, [1, 1]));
    const admitted = (await Promise.all(asked)).filter((decision) => decision?.kind === 'admitted');
    expect(admitted).toHaveLength(45);
    for (const store of stores) {
      expect(await store.peek(policies, keys)).toMatchObject([{ remaining: 5 }, { remaining: 0 }]);
      store.close();
    }
  });

  it.each(SUBSCRIBERS)('hear of a turn and of a job at once, with a subscriber of $name', async ({ open }) => {
    const prefix = freshPrefix();
    const [client, subscriber] = [await open(server), await open(server)];
    onTestFinished(() => {
      client.close();
      subscriber.close();
    });
    const listener = { client: client.client, subscriber: subscriber.client };
    const own = server.client();
    const options = { prefix, queueInterval: '10s', timeout: '10s' } as const;
    const stores = [redisStore({ client: own, ...options }), redisStore({ ...listener, ...options })];
    onTestFinished(() => {
      for (const store of stores) store.close();
    });
    const [one, other] = stores.map((store) => store.queue({ policy: concurrency({ limit: 1 }), maxWaiting: 10 }));
    const request: Omit<JoinRequest, 'client'> = {
      key: 'key',
      weight: 1,
      maxWait: 60_000,
      estimate: undefined,
      onPlace: undefined,
    };
    const first = await one?.join({ ...request, client: 'alice' });
    if (first?.kind !== 'turn') throw new Error('no turn');
    first.ticket.started();
    const second = await other?.join({ ...request, client: 'bob' });
    if (second?.kind !== 'waiting') throw new Error('not waiting');
    const turn = second.ticket.turn();
    await until('it listens', async () => (await server.cli('PUBSUB', 'CHANNELS', `${prefix}*`)) !== '');
    // The message that it listens is on its way to the queue. Only then is it told of turns.
    await until('the queue knows it', async () => (await server.cli('KEYS', `${prefix}queue:*`)) !== '');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const began = performance.now();
    first.ticket.ended();
    expect(await turn).toEqual({ kind: 'turn' });
    expect(performance.now() - began).toBeLessThan(3000);

    const jobs = redisJobStore({ client: own, prefix: `${prefix}jobs:` });
    const following = redisJobStore({ ...listener, prefix: `${prefix}jobs:`, pollInterval: '1h' });
    await jobs.create({ id: 'a', owner: 'me', holder: 'h1', lease: 30_000, ttl: 60_000, task: undefined });
    let heard = 0;
    const stop = following.watch('a', () => heard++);
    const channels = () => server.cli('PUBSUB', 'CHANNELS', `${prefix}jobs:a`);
    await until('it follows the job', async () => (await channels()) !== '');
    await jobs.change('a', 'h1', { kind: 'start' });
    await until('it was told', () => heard > 0);
    stop();
    await until('it has unsubscribed', async () => (await channels()) === '');
  });
});

describe('a value that is no client', () => {
  const WRONG: readonly (readonly [what: string, value: unknown])[] = [
    ['nothing', undefined],
    ['null', null],
    ['a URL', 'redis://:c4n4ry-password@localhost'],
    ['an object', {}],
    ['a function', createClient],
    ['the options of a client', { url: 'redis://:c4n4ry-password@localhost' }],
    ['a pool of node-redis', createClientPool({ url: 'redis://localhost:1' })],
    ['node-redis in its legacy mode', createClient({ url: 'redis://localhost:1' }).legacy()],
    ['a promise of a client', Promise.resolve({})],
  ];
  const SENTENCE =
    '"client" must be a client of ioredis (Redis, Cluster), of redis 5 (createClient, createCluster, createSentinel) or ' +
    'of @valkey/valkey-glide (GlideClient, GlideClusterClient)';
  const FACTORIES = Object.entries({ redisStore, redisJobStore, redisIdempotencyStore, redisReplayStore });

  it.each(WRONG)('stops the start with what is accepted: %s', (_, client) => {
    for (const [name, factory] of FACTORIES) {
      const make = () => factory({ client } as never);
      expect(make).toThrow(OptionError);
      expect(make).toThrow(new OptionError(`gatewarden: ${name} ${SENTENCE}`));
    }
  });

  it.each(WRONG.slice(1))('stops the start as a subscriber: %s', (_, subscriber) => {
    const client = new Redis({ lazyConnect: true });
    for (const [name, factory] of FACTORIES.slice(0, 2)) {
      expect(() => factory({ client, subscriber } as never)).toThrow(
        `gatewarden: ${name} "subscriber" must be a client of ioredis, redis 5 or @valkey/valkey-glide, and another one than "client"`,
      );
    }
  });

  it('is the client itself, as a subscriber', () => {
    const client = createClient({ url: 'redis://localhost:1' });
    for (const [, factory] of FACTORIES.slice(0, 2)) {
      expect(() => factory({ client, subscriber: client } as never)).toThrow('another one than "client"');
    }
  });
});

it('every client is accepted by its own type', () => {
  expectTypeOf<ReturnType<typeof createClient>>().toExtend<OtherRedisClient>();
  expectTypeOf<ReturnType<typeof createCluster>>().toExtend<OtherRedisClient>();
  expectTypeOf<ReturnType<typeof createSentinel>>().toExtend<OtherRedisClient>();
  expectTypeOf<GlideClient>().toExtend<RedisStoreOptions['client']>();
  const resp3 = () => createClient({ RESP: 3, commandOptions: { typeMapping: { 36: Buffer } } });
  expectTypeOf(resp3).returns.toExtend<RedisStoreOptions['client']>();
});
