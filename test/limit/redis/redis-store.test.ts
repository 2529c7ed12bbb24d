import type { Cluster, Redis } from 'ioredis';
import { beforeAll } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../contracts/limit-store-holds.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis, useCluster } from '../../redis/suite.js';

const freshPrefix = prefixesOf('contract');

function setup(client: Redis | Cluster) {
  const clock = new ManualClock(0);
  const prefix = freshPrefix();
  // The timeout is not tested here, and the machine may be busy.
  const store = redisStore({ client, now: clock.now, prefix, timeout: '10s' });
  return { store, clock, close: () => store.close() };
}

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();
    let client: Redis;
    beforeAll(() => {
      client = target.client();
    });

    limitStoreContract('redisStore', () => setup(client));
    limitStoreHoldsContract('redisStore', () => setup(client));
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();
  let client: Cluster;
  beforeAll(() => {
    client = cluster.client();
  });

  limitStoreContract('redisStore', () => setup(client));
  limitStoreHoldsContract('redisStore', () => setup(client));
});
