import { type Duration, milliseconds } from '../../core/duration.js';
import {
  badOption,
  badSecret,
  callback,
  checkOptionNames,
  type OptionNames,
  oneOf,
  positiveInteger,
} from '../../core/option.js';
import type { RedisClient } from './client.js';
import type { OnStoreFailure } from './outage-mode.js';

/**
 * A change that a Redis store reports to `onEvent`.
 * - `unavailable`: Redis does not answer. From now on `onStoreFailure` decides.
 * - `available`: Redis answers again.
 * - `eviction-risk`: the server's `maxmemory-policy` may evict counters that still count.
 * - `correction-lost`: `count` charges could not be corrected, or local admissions not charged: Redis was away for more
 *   than a minute, or more than 10,000 corrections waited for it.
 */
export type RedisStoreEvent =
  | { readonly kind: 'unavailable'; readonly error: unknown }
  | { readonly kind: 'available' }
  | { readonly kind: 'eviction-risk'; readonly maxmemoryPolicy: string }
  | { readonly kind: 'correction-lost'; readonly error: unknown; readonly count: number };

/** Options of `redisStore`. */
export interface RedisStoreOptions {
  /** An ioredis client, version 5 or 6: a `Redis` or a `Cluster`. The store neither connects nor closes it. */
  readonly client: RedisClient;
  /** A prefix of every key, without braces. Default `gw:`. */
  readonly prefix?: string | undefined;
  /** How long to wait for Redis, at most one minute. Default `'250ms'`. */
  readonly timeout?: Duration | undefined;
  /**
   * What happens to a request if Redis does not answer. Default `refuse`.
   * - `refuse`: it is refused with 503.
   * - `admit`: it is admitted and not counted.
   * - `local`: this process admits its share of each limit, and charges it in Redis afterwards.
   */
  readonly onStoreFailure?: OnStoreFailure | undefined;
  /** How many processes share the limits, for `local`. Default 1. */
  readonly instances?: number | undefined;
  /**
   * How long a refusal may be repeated without asking Redis, at most one minute. It is never repeated once the request
   * could pass, but units that another process gives back may be missed for that long. `false`: never. Default `'1s'`.
   */
  readonly refusalCache?: Duration | false | undefined;
  /** Called at every change of state. */
  readonly onEvent?: ((event: RedisStoreEvent) => void) | undefined;
  /** A clock in epoch milliseconds, for tests. Default: the clock of the Redis server. */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<RedisStoreOptions> = {
  client: true,
  prefix: true,
  timeout: true,
  onStoreFailure: true,
  instances: true,
  refusalCache: true,
  onEvent: true,
  now: true,
};

/** The checked options. All times are milliseconds. */
export interface RedisStoreSettings {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly timeout: number;
  readonly mode: OnStoreFailure;
  readonly instances: number;
  /** How long a refusal may be cached; undefined: not at all. */
  readonly maxRefusalAge: number | undefined;
  readonly onEvent: ((event: RedisStoreEvent) => void) | undefined;
  readonly now: (() => number) | undefined;
}

/** Checks the options of `redisStore`. @throws OptionError */
export function checkOptions(options: RedisStoreOptions): RedisStoreSettings {
  checkOptionNames('redisStore', options, OPTIONS);
  const { client, prefix = 'gw:', refusalCache = '1s' } = options;
  if (typeof client?.evalsha !== 'function' || typeof client.on !== 'function') {
    // Never shown: a value passed here by mistake may be a URL with a password.
    throw badSecret('redisStore', 'client', 'must be an ioredis client');
  }
  if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
    throw badOption('redisStore', 'prefix', 'must be a string without braces', prefix);
  }
  return {
    client,
    prefix,
    timeout: milliseconds('redisStore', 'timeout', options.timeout ?? '250ms', 60_000),
    mode: oneOf('redisStore', 'onStoreFailure', options.onStoreFailure ?? 'refuse', ['refuse', 'admit', 'local']),
    instances: positiveInteger('redisStore', 'instances', options.instances ?? 1, 1_000_000),
    maxRefusalAge:
      refusalCache === false ? undefined : milliseconds('redisStore', 'refusalCache', refusalCache, 60_000),
    onEvent: callback('redisStore', 'onEvent', options.onEvent),
    now: callback('redisStore', 'now', options.now),
  };
}
