import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, badSecret, checkOptionNames, clock, type OptionNames } from '../../core/option.js';
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../core/redis/clients/any-client.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import type { Remembered, ReplayStore } from '../signed-request/replay-store.js';

/** The commands used of an ioredis client, version 5 or 6: a `Redis` or a `Cluster`. */
export interface ReplayRedisClient {
  set(key: string, value: string, unit: 'PX', milliseconds: number, condition: 'NX'): Promise<'OK' | null>;
  exists(key: string): Promise<number>;
  info(section: string): Promise<string>;
}

/** Options of `redisReplayStore`. */
export interface RedisReplayStoreOptions {
  /** A client of ioredis, redis 5 or `@valkey/valkey-glide`. The service creates, connects and closes it. */
  readonly client: ReplayRedisClient | OtherRedisClient;
  /** The beginning of every key in Redis. Default `gw:replay:`. */
  readonly prefix?: string | undefined;
  /** How long to wait for an answer. Default `'250ms'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A replay store in Redis. It always answers with a promise. */
export interface RedisReplayStore extends ReplayStore {
  has(key: string): Promise<boolean>;
  remember(key: string, until: number): Promise<Remembered>;
}

const FACTORY = 'redisReplayStore';
const OPTIONS: OptionNames<RedisReplayStoreOptions> = { client: true, prefix: true, timeout: true, now: true };
const MAX_TIMEOUT = 60_000;

/** Keys are kept this much longer than asked, in milliseconds: the clocks of processes may differ by it. */
const CLOCK_SLACK = 60_000;

/**
 * Remembers used nonces in Redis, for several processes: one `SET ... NX` for each key, which Redis expires. If Redis
 * has no memory left for a key, the answer is `full`. A server whose `maxmemory-policy` evicts keys can forget a used
 * nonce; the warning `GATEWARDEN_EVICTION_RISK` reports it once. A server that fails over before its replica has the
 * key can, too.
 *
 * ```ts
 * signedRequest({ keys, replayStore: redisReplayStore({ client: new Redis(process.env.REDIS_URL) }) })
 * ```
 * @throws OptionError
 */
export function redisReplayStore(options: RedisReplayStoreOptions): RedisReplayStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { prefix = 'gw:replay:' } = options;
  const client = portOf(options.client);
  if (typeof client?.set !== 'function' || typeof client.exists !== 'function' || typeof client.info !== 'function') {
    // Not shown: it may be a URL with a password.
    throw badSecret(FACTORY, 'client', ACCEPTED_CLIENTS);
  }
  if (typeof prefix !== 'string') throw badOption(FACTORY, 'prefix', 'must be a string', prefix);
  const now = clock(FACTORY, options.now);
  const timeout = milliseconds(FACTORY, 'timeout', options.timeout ?? '250ms', MAX_TIMEOUT);
  const onTimeout = () => noAnswer('Redis', timeout);
  let evictionChecked = false;

  return {
    async has(key) {
      return (await withTimeout(client.exists(prefix + key), timeout, onTimeout)) === 1;
    },
    async remember(key, until) {
      const remaining = until - now();
      // Written so that NaN is never `new`.
      if (!(remaining > 0)) return 'seen';
      if (!evictionChecked) {
        evictionChecked = true;
        void warnOfEviction(client, FACTORY, 'used nonces');
      }
      try {
        const answer = client.set(prefix + key, '', 'PX', Math.ceil(remaining) + CLOCK_SLACK, 'NX');
        return (await withTimeout(answer, timeout, onTimeout)) === 'OK' ? 'new' : 'seen';
      } catch (error) {
        if (error instanceof Error && error.message.startsWith('OOM ')) return 'full';
        throw error;
      }
    },
  };
}
