import { setTimeout as sleep } from 'node:timers/promises';
import { describe } from 'vitest';
import { redisReplayStore } from '../../../../src/auth/redis/replay-store.js';
import { redisIdempotencyStore } from '../../../../src/jobs/redis/idempotency-store.js';
import { redisJobStore } from '../../../../src/jobs/redis/job-store.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import { idempotencyStoreContract } from '../../../contracts/idempotency-store.js';
import { jobStoreContract } from '../../../contracts/jobs.js';
import { limitStoreContract, ManualClock } from '../../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../../contracts/limit-store-holds.js';
import { queueContract } from '../../../contracts/queue.js';
import { replayStoreContract } from '../../../contracts/replay-store.js';
import { FOR_A_CLUSTER, FOR_ONE_SERVER, type OtherClient } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { prefixesOf, useAnyRedis, useClient, useCluster } from '../../../redis/suite.js';

const freshPrefix = prefixesOf('clients');
// Timeouts are not tested here, and the machine may be busy.
const PATIENT = '10s';

/** Every contract of a store, as it is run with ioredis beside each store. */
function contracts(clientOf: () => OtherClient): void {
  const limits = () => {
    const clock = new ManualClock(0);
    const store = redisStore({ client: clientOf(), now: clock.now, prefix: freshPrefix(), timeout: PATIENT });
    return { store, clock, close: () => store.close() };
  };
  limitStoreContract('redisStore', limits);
  limitStoreHoldsContract('redisStore', limits);

  queueContract({
    name: 'redisStore',
    open(settings, clock) {
      const options = { prefix: freshPrefix(), timeout: PATIENT, queueInterval: '20ms' } as const;
      const store = redisStore({ client: clientOf(), now: () => clock.now, ...options });
      return { queue: store.queue(settings), close: async () => store.close() };
    },
  });

  jobStoreContract('redisJobStore', () => {
    const clock = new ManualClock(0);
    const options = { prefix: freshPrefix(), now: clock.now, timeout: PATIENT } as const;
    return { store: redisJobStore({ client: clientOf(), ...options }), clock };
  });

  idempotencyStoreContract('redisIdempotencyStore', () => {
    const prefix = freshPrefix();
    const open = () => redisIdempotencyStore({ client: clientOf(), prefix });
    return { stores: [open(), open()], pass: (ms) => sleep(ms + 5) };
  });

  replayStoreContract('redisReplayStore', () => {
    const prefix = freshPrefix();
    const now = Date.now();
    const open = () => redisReplayStore({ client: clientOf(), prefix, now: () => now, timeout: PATIENT });
    return { store: open(), others: [open()], now };
  });
}

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();

    describe.each(FOR_ONE_SERVER)('asked by $name', ({ open }) => contracts(useClient(() => open(target))));
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();

  describe.each(FOR_A_CLUSTER)('asked by $name', ({ openCluster }) => contracts(useClient(() => openCluster(cluster))));
});
