import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { queueContract } from '../../contracts/queue.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';

const freshPrefix = prefixesOf('queue-contract');

describeRedis(
  'redisStore',
  () => {
    const target = useAnyRedis();

    queueContract({
      name: 'redisStore',
      open(settings, clock) {
        const client = target.client();
        const prefix = freshPrefix();
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
