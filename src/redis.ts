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
export type { OtherRedisClient } from './core/redis/clients/any-client.js';
export type { GlideSubscriber, NodeRedisSubscriber, OtherSubscriber } from './core/redis/clients/any-subscriber.js';
export type { GlideRedisClient } from './core/redis/clients/glide.js';
export type {
  NodeRedisBase,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisNode,
  NodeRedisReplyOptions,
  NodeRedisSentinel,
  NodeRedisSingle,
} from './core/redis/clients/node-redis-client.js';
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
export type { RedisStore } from './limit/redis/redis-limit-store.js';
export { redisStore } from './limit/redis/redis-store.js';
export type { AheadOptions, RedisStoreEvent, RedisStoreOptions } from './limit/redis/redis-store-options.js';
export type { LedgerRedisClient } from './observe/usage/redis/ledger-client.js';
export { type RedisLedger, type RedisLedgerOptions, redisLedger } from './observe/usage/redis/redis-ledger.js';
export {
  type OperatorRedisClient,
  type RedisOperatorStore,
  type RedisOperatorStoreOptions,
  redisOperatorStore,
} from './operator/redis/operator-store.js';
