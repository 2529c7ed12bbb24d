import { afterAll, beforeAll } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { openRedis, type RedisCluster, type RedisTarget, startCluster } from '../../redis/server.js';

let runs = 0;

describeRedis(
  'a Redis server',
  () => {
    let target: RedisTarget;
    beforeAll(async () => {
      target = await openRedis();
    });
    afterAll(() => target.stop());

    limitStoreContract('redisStore', () => {
      const clock = new ManualClock(0);
      const client = target.client();
      const store = redisStore({ client, now: clock.now, prefix: `contract-${process.pid}-${runs++}:` });
      return { store, clock, close: () => store.close() };
    });
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startCluster();
  }, 60_000);
  afterAll(() => cluster.stop());

  limitStoreContract('redisStore', () => {
    const clock = new ManualClock(0);
    const store = redisStore({ client: cluster.client(), now: clock.now, prefix: `contract-${runs++}:` });
    return { store, clock, close: () => store.close() };
  });
});
