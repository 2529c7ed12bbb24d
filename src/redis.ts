/**
 * Limits, replay protection, jobs and idempotency keys for several processes, in Redis or Valkey.
 * @module gatewarden/redis
 */
export {
  type RedisReplayStore,
  type RedisReplayStoreOptions,
  type ReplayRedisClient,
  redisReplayStore,
} from './auth/redis/replay-store.js';
export {
  type JobRedisClient,
  type RedisIdempotencyStoreOptions,
  redisIdempotencyStore,
} from './jobs/redis/idempotency-store.js';
export {
  type JobStoreRedisClient,
  type RedisJobStore,
  type RedisJobStoreOptions,
  redisJobStore,
} from './jobs/redis/job-store.js';
export type { JobSubscriber } from './jobs/redis/job-watchers.js';
export type { TaskRedisClient } from './jobs/redis/task-index.js';
export type { RedisClient } from './limit/redis/client.js';
export type { RedisSubscriber } from './limit/redis/queue/queue-wakeups.js';
export { type RedisStore, redisStore } from './limit/redis/redis-store.js';
export type { AheadOptions, RedisStoreEvent, RedisStoreOptions } from './limit/redis/redis-store-options.js';
