export {
  type RedisReplayStore,
  type RedisReplayStoreOptions,
  type ReplayRedisClient,
  redisReplayStore,
} from '../auth/redis/replay-store.js';
export type { RedisClient } from '../limit/redis/client.js';
export {
  type RedisStore,
  type RedisStoreEvent,
  type RedisStoreOptions,
  redisStore,
} from '../limit/redis/redis-store.js';
