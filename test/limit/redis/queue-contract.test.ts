import { afterAll, beforeAll } from 'vitest';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { queueContract } from '../../contracts/queue.js';
import { describeRedis } from '../../redis/describe.js';
import { openRedis, type RedisTarget } from '../../redis/server.js';

let queues = 0;

describeRedis(
  'redisStore',
  () => {
    let target: RedisTarget;
    beforeAll(async () => {
      target = await openRedis();
    });
    afterAll(() => target.stop());

    queueContract({
      name: 'redisStore',
      open(settings, clock) {
        const client = target.client();
        const prefix = `queue-contract-${process.pid}-${queues++}:`;
        const store = redisStore({ client, prefix, now: () => clock.now, timeout: '10s', queueInterval: '20ms' });
        return {
          queue: store.queue(settings),
          async close() {
            store.close();
            client.disconnect();
          },
        };
      },
    });
  },
  { anyServer: true },
);
