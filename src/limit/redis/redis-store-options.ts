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
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../core/redis/clients/any-client.js';
import {
  ACCEPTED_SUBSCRIBERS,
  type OtherSubscriber,
  subscriberPortOf,
} from '../../core/redis/clients/any-subscriber.js';
import type { AheadSettings } from './ahead/hot-counters.js';
import { hasByteCommands, type RedisClient } from './client.js';
import type { OnStoreFailure } from './outage-mode.js';
import { isSubscriber, type RedisSubscriber } from './queue/queue-wakeups.js';

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

/**
 * What a process may take ahead of a counter that it charges often. The units are charged in Redis in one call, and the
 * process then decides from them in memory. What it does not use in time, it gives back. Never more than the limit is
 * admitted in any window, but the last units may be refused early: see the guide on limits in Redis.
 */
export interface AheadOptions {
  /** The largest part of a limit that one process has ahead, up to 0.1. Default 0.01. */
  readonly share?: number | undefined;
  /** For how long it may use them, from `'50ms'` to `'10s'`, and never more than 1/32 of a window. Default `'1s'`. */
  readonly maxAge?: Duration | undefined;
}

/** Options of `redisStore`. */
export interface RedisStoreOptions {
  /**
   * The client: `Redis` or `Cluster` of ioredis 5 or 6, what `createClient`, `createCluster` or `createSentinel` of redis 5
   * returns, or `GlideClient` or `GlideClusterClient` of `@valkey/valkey-glide` 2. The store neither connects nor closes it.
   */
  readonly client: RedisClient | OtherRedisClient;
  /**
   * A second client, only for messages: the store then learns at once of a turn in a queue that another process gives,
   * and not at the next interval. The store neither connects nor closes it. Default: none.
   */
  readonly subscriber?: RedisSubscriber | OtherSubscriber | undefined;
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
   * could pass, but units that another process or the end of a lease gives back may be missed for that long. `false`:
   * never. Default `'1s'`.
   */
  readonly refusalCache?: Duration | false | undefined;
  /**
   * Takes units of busy counters ahead, and decides from them in this process. Default: not done.
   */
  readonly ahead?: AheadOptions | undefined;
  /**
   * How often a process asks Redis for the turns of its requests that wait in a queue, from `'10ms'` to `'10s'`. A process
   * that is silent for three intervals is passed over. Default `'100ms'`.
   */
  readonly queueInterval?: Duration | undefined;
  /** Called at every change of state. */
  readonly onEvent?: ((event: RedisStoreEvent) => void) | undefined;
  /** A clock in epoch milliseconds, for tests. Default: the clock of the Redis server. */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<RedisStoreOptions> = {
  client: true,
  subscriber: true,
  prefix: true,
  timeout: true,
  onStoreFailure: true,
  instances: true,
  refusalCache: true,
  ahead: true,
  queueInterval: true,
  onEvent: true,
  now: true,
};

/** The checked options. All times are milliseconds. */
export interface RedisStoreSettings {
  readonly client: RedisClient;
  readonly subscriber: RedisSubscriber | undefined;
  readonly prefix: string;
  readonly timeout: number;
  readonly mode: OnStoreFailure;
  readonly instances: number;
  /** How long a refusal may be cached; undefined: not at all. */
  readonly maxRefusalAge: number | undefined;
  /** Undefined: nothing is taken ahead. */
  readonly ahead: AheadSettings | undefined;
  /** How often queues are asked for news. */
  readonly interval: number;
  readonly onEvent: ((event: RedisStoreEvent) => void) | undefined;
  readonly now: (() => number) | undefined;
}

/** Checks the options of `redisStore`. @throws OptionError */
export function checkOptions(options: RedisStoreOptions): RedisStoreSettings {
  checkOptionNames('redisStore', options, OPTIONS);
  const { prefix = 'gw:', refusalCache = '1s' } = options;
  const client = portOf(options.client);
  if (typeof client?.on !== 'function' || !hasByteCommands(client)) {
    // Never shown: a value passed here by mistake may be a URL with a password.
    throw badSecret('redisStore', 'client', ACCEPTED_CLIENTS);
  }
  if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
    throw badOption('redisStore', 'prefix', 'must be a string without braces', prefix);
  }
  return {
    client,
    subscriber: checkSubscriber(options),
    prefix,
    timeout: milliseconds('redisStore', 'timeout', options.timeout ?? '250ms', 60_000),
    mode: oneOf('redisStore', 'onStoreFailure', options.onStoreFailure ?? 'refuse', ['refuse', 'admit', 'local']),
    instances: positiveInteger('redisStore', 'instances', options.instances ?? 1, 1_000_000),
    maxRefusalAge:
      refusalCache === false ? undefined : milliseconds('redisStore', 'refusalCache', refusalCache, 60_000),
    ahead: options.ahead === undefined ? undefined : checkAhead(options.ahead),
    interval: milliseconds('redisStore', 'queueInterval', options.queueInterval ?? '100ms', 10_000, 10),
    onEvent: callback('redisStore', 'onEvent', options.onEvent),
    now: callback('redisStore', 'now', options.now),
  };
}

/** A client in subscriber mode runs no other commands, so it must not be the store's client. */
function checkSubscriber({ client, subscriber }: RedisStoreOptions): RedisSubscriber | undefined {
  if (subscriber === undefined) return undefined;
  const port = subscriberPortOf(subscriber);
  if (isSubscriber(port) && (subscriber as object) !== client) return port;
  throw badSecret('redisStore', 'subscriber', ACCEPTED_SUBSCRIBERS);
}

const AHEAD = 'redisStore "ahead"';
const AHEAD_OPTIONS: OptionNames<AheadOptions> = { share: true, maxAge: true };
const MAX_SHARE = 0.1;
const LEAST_AGE = 50;

function checkAhead(options: AheadOptions): AheadSettings {
  checkOptionNames(AHEAD, options, AHEAD_OPTIONS);
  const { share = 0.01, maxAge: age = '1s' } = options;
  if (typeof share !== 'number' || !(share > 0 && share <= MAX_SHARE)) {
    throw badOption(AHEAD, 'share', `must be a number above 0, at most ${MAX_SHARE}`, share);
  }
  const maxAge = milliseconds(AHEAD, 'maxAge', age, 10_000);
  if (maxAge < LEAST_AGE) throw badOption(AHEAD, 'maxAge', `must be at least '${LEAST_AGE}ms'`, age);
  return { share, maxAge };
}
