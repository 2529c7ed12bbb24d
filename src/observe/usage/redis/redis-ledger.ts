import { type Duration, milliseconds } from '../../../core/duration.js';
import type { JobBooking, Ledger, UsageChange, UsagePage, UsageQuery } from '../../../core/ledger.js';
import { badOption, badSecret, checkOptionNames, type OptionNames, positiveInteger } from '../../../core/option.js';
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../../core/redis/clients/any-client.js';
import { offerTarget } from '../../../core/redis/ledger-target.js';
import { canScript } from '../../../core/redis/script.js';
import { currentDay, type LedgerDayOptions } from '../ledger-days.js';
import { pageOf } from '../usage-row.js';
import type { LedgerRedisClient } from './ledger-client.js';
import { LedgerPlaces } from './ledger-places.js';
import { LedgerWriter } from './ledger-writer.js';

/** Options of `redisLedger`. */
export interface RedisLedgerOptions extends LedgerDayOptions {
  /**
   * A client of ioredis, redis 5 or `@valkey/valkey-glide`. The ledger neither connects nor closes it. If it is also the
   * client of the `redisStore` of the limits, the GPU time of a job is booked in the same step in which its charge is settled.
   */
  readonly client: LedgerRedisClient | OtherRedisClient;
  /** A prefix of every key, without braces. Default `gw-usage:`. */
  readonly prefix?: string | undefined;
  /** How many days are kept. What they add up to stays. Default 400, at most 4000. */
  readonly keepDays?: number | undefined;
  /** How often what was collected is written. Default `'1s'`. */
  readonly interval?: Duration | undefined;
  /** How long `read` and `close` wait for Redis. Default `'2s'`. */
  readonly timeout?: Duration | undefined;
}

/** A ledger in Redis. */
export interface RedisLedger extends Ledger {
  /** Collects, and writes in the background. */
  add(changes: readonly UsageChange[]): void;
  /** Resolves when Redis has booked. While Redis is away, it waits. */
  book(bookings: readonly JobBooking[]): Promise<void>;
  read(query?: UsageQuery): Promise<UsagePage>;
  /** Writes what was collected. Rejects if Redis does not answer in time. The client stays open. */
  close(): Promise<void>;
}

const OPTIONS: OptionNames<RedisLedgerOptions> = {
  client: true,
  prefix: true,
  timeZone: true,
  keepDays: true,
  interval: true,
  timeout: true,
  now: true,
};
const DAY = 86_400_000;

/**
 * Makes a ledger in Redis, for several processes. Each job is booked once, by a mark in Redis. Requests, refusals and bytes
 * are collected, and written in one call each second: a process that is killed loses those of its last second.
 *
 * ```ts
 * const client = new Redis(process.env.REDIS_URL)
 * const store = redisStore({ client })
 * const ledger = redisLedger({ client })
 * ```
 * @throws OptionError
 */
export function redisLedger(options: RedisLedgerOptions): RedisLedger {
  checkOptionNames('redisLedger', options, OPTIONS);
  const { prefix = 'gw-usage:' } = options;
  const client = portOf(options.client);
  // Never shown: a value passed here by mistake may be a URL with a password.
  if (!canScript(client)) throw badSecret('redisLedger', 'client', ACCEPTED_CLIENTS);
  if (typeof prefix !== 'string' || prefix === '' || /[{}]/.test(prefix)) {
    throw badOption('redisLedger', 'prefix', 'must be a non-empty string without braces', prefix);
  }
  const today = currentDay('redisLedger', options);
  const keepDay = (positiveInteger('redisLedger', 'keepDays', options.keepDays ?? 400, 4000) + 1) * DAY;
  const interval = milliseconds('redisLedger', 'interval', options.interval ?? '1s', 60_000);
  const timeout = milliseconds('redisLedger', 'timeout', options.timeout ?? '2s', 60_000);
  const places = new LedgerPlaces(client, prefix);
  const writer = new LedgerWriter({ client, places, today, keepDay, interval });

  const ledger: RedisLedger = {
    add: (changes) => writer.add(changes),
    book: (bookings) => writer.book(bookings),
    async read(query) {
      await writer.written(timeout);
      return pageOf(await places.rows(query?.day, timeout), query);
    },
    today,
    async close() {
      writer.stop();
      await writer.written(timeout);
    },
  };
  offerTarget(ledger, {
    client,
    open: (place) => places.open(place),
    arguments: (booking) => writer.argumentsOf(booking),
  });
  return ledger;
}
