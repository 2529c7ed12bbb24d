import type { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../contracts/limit-store-holds.js';
import { describeRedis } from '../../redis/describe.js';
import { openRedis, type RedisCluster, type RedisTarget, startCluster } from '../../redis/server.js';

let runs = 0;

function setup(client: Redis | Cluster) {
  const clock = new ManualClock(0);
  const prefix = `contract-${process.pid}-${runs++}:`;
  // The timeout is not tested here, and the machine may be busy.
  const store = redisStore({ client, now: clock.now, prefix, timeout: '10s' });
  return { store, clock, close: () => store.close() };
}

describeRedis(
  'a Redis server',
  () => {
    let target: RedisTarget;
    let client: Redis;
    beforeAll(async () => {
      target = await openRedis();
      client = target.client();
    });
    afterAll(() => target.stop());

    limitStoreContract('redisStore', () => setup(client));
    limitStoreHoldsContract('redisStore', () => setup(client));
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  let cluster: RedisCluster;
  let client: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
    client = cluster.client();
  }, 60_000);
  afterAll(() => cluster.stop());

  limitStoreContract('redisStore', () => setup(client));
  limitStoreHoldsContract('redisStore', () => setup(client));
});
