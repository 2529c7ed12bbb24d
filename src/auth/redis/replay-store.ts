import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, checkOptionNames, OptionError } from '../../core/option.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { warnOfEviction } from '../../redis/eviction-policy.js';
import type { Remembered, ReplayStore } from '../signed-request/replay-store.js';

/** What is used of an ioredis client, 5 or 6: a `Redis` or a `Cluster` that the service made, connects and closes. */
export interface ReplayRedisClient {
  set(key: string, value: string, unit: 'PX', milliseconds: number, condition: 'NX'): Promise<'OK' | null>;
  exists(key: string): Promise<number>;
  info(section: string): Promise<string>;
}

/** What `redisReplayStore` takes. */
export interface RedisReplayStoreOptions {
  /** An ioredis client, version 5 or 6, that the service made. It is neither connected nor closed. */
  readonly client: ReplayRedisClient;
  /** Stands before every key. Default `gw:replay:`. */
  readonly prefix?: string;
  /** How long an answer may take. Default 250 ms. */
  readonly timeout?: Duration;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** A Redis store always gives a promise. */
export interface RedisReplayStore extends ReplayStore {
  has(key: string): Promise<boolean>;
  remember(key: string, until: number): Promise<Remembered>;
}

/** How much longer than they have to be keys are kept, in milliseconds: so far may the clocks of processes be apart. */
const CLOCK_SLACK = 60_000;

/**
 * Remembers in Redis, for several processes: one `SET ... NX` for each key, which leaves by itself. Where Redis refuses
 * it for want of memory, the answer is `full`. A server whose `maxmemory-policy` evicts keys may forget what still
 * counts; a warning says so, once. So may one that fails over before its replica has heard.
 *
 * ```ts
 * signedRequest({ keys, replayStore: redisReplayStore({ client: new Redis(process.env.REDIS_URL) }) })
 * ```
 * @throws OptionError
 */
export function redisReplayStore(options: RedisReplayStoreOptions): RedisReplayStore {
  checkOptionNames('redisReplayStore', options, ['client', 'prefix', 'timeout', 'now']);
  const { client, prefix = 'gw:replay:', now = Date.now } = options;
  if (typeof client?.set !== 'function' || typeof client.exists !== 'function' || typeof client.info !== 'function') {
    // Not shown: what stands here by mistake may be a URL with a password.
    throw new OptionError('gatewarden: redisReplayStore "client" must be an ioredis client');
  }
  if (typeof prefix !== 'string') throw badOption('redisReplayStore', 'prefix', 'must be a string', prefix);
  if (typeof now !== 'function') throw badOption('redisReplayStore', 'now', 'must be a function', now);
  const timeout = milliseconds('redisReplayStore', 'timeout', options.timeout ?? '250ms', 60_000);
  const late = () => noAnswer('Redis', timeout);
  let checked = false;

  return {
    async has(key) {
      return (await withTimeout(client.exists(prefix + key), timeout, late)) === 1;
    },
    async remember(key, until) {
      const left = until - now();
      // Asked this way round, NaN is no time that is left.
      if (!(left > 0)) return 'seen';
      if (!checked) {
        checked = true;
        void warnOfEviction(client, 'redisReplayStore', 'used nonces');
      }
      try {
        const answer = client.set(prefix + key, '', 'PX', Math.ceil(left) + CLOCK_SLACK, 'NX');
        return (await withTimeout(answer, timeout, late)) === 'OK' ? 'new' : 'seen';
      } catch (error) {
        if (error instanceof Error && error.message.startsWith('OOM ')) return 'full';
        throw error;
      }
    },
  };
}
