/**
 * Limits and replay protection for several processes, in Redis or Valkey.
 * @module gatewarden/redis
 */
export {
  type RedisReplayStore,
  type RedisReplayStoreOptions,
  type ReplayRedisClient,
  redisReplayStore,
} from './auth/redis/replay-store.js';
export type { RedisClient } from './limit/redis/client.js';
export { type RedisStore, redisStore } from './limit/redis/redis-store.js';
export type { AheadOptions, RedisStoreEvent, RedisStoreOptions } from './limit/redis/redis-store-options.js';
