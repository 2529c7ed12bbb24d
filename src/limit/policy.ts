import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import { badOption, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { type Day, dayCalendar } from './day.js';

/**
 * What a quota is counted by.
 * - `client-ip`: the key that `clientIp` found, or without a `clientIp` guard that of the socket's address.
 * - `principal`: the id of the principal. Needs an `authenticate` before.
 * - `global`: all clients together.
 * - a function that returns a partition key: a non-empty string.
 */
export type PartitionBy = 'client-ip' | 'principal' | 'global' | ((exchange: Exchange) => string);

interface PolicyCore {
  /** Appears in the `RateLimit` headers and in refusals. */
  readonly name: string;
  /** Quota units. */
  readonly limit: number;
  /** Overrides the guard's `by` for this policy. */
  readonly by: PartitionBy | undefined;
  /** Policies with the same id and partition key share their count. */
  readonly id: string;
  /** Milliseconds. */
  readonly window: number;
}

/** Made by `slidingWindow`. */
export interface SlidingWindow extends PolicyCore {
  readonly kind: 'sliding-window';
  /** Units are counted by ticks of this many milliseconds: 1 for limits up to 512 units, which is exact. */
  readonly granule: number;
}

/** Made by `dailyQuota`. */
export interface DailyQuota extends PolicyCore {
  readonly kind: 'daily-quota';
  /** IANA time zone. */
  readonly timeZone: string;
  /** The calendar day of a moment in epoch milliseconds. */
  readonly dayOf: (now: number) => Day;
}

/** How many quota units are admitted, and in what time. Made by `slidingWindow` or `dailyQuota`. */
export type QuotaPolicy = SlidingWindow | DailyQuota;

/** Options of `slidingWindow`. */
export interface SlidingWindowOptions {
  /** Quota units admitted in every interval of the window's length: 1 to 1,000,000,000. */
  readonly limit: number;
  /** The length of the window, such as `'1m'`. At most `'400d'`. */
  readonly window: Duration;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default the window's length, such as `60s`. */
  readonly name?: string | undefined;
  /** What this policy is counted by, if not by the guard's `by`. */
  readonly by?: PartitionBy | undefined;
}

/** Options of `dailyQuota`. */
export interface DailyQuotaOptions {
  /** Quota units admitted in each calendar day: 1 to 1,000,000,000. */
  readonly limit: number;
  /** IANA time zone whose midnight starts the day. Default `UTC`. */
  readonly timeZone?: string | undefined;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default `daily`. */
  readonly name?: string | undefined;
  /** What this policy is counted by, if not by the guard's `by`. */
  readonly by?: PartitionBy | undefined;
}

const WINDOW_OPTIONS: OptionNames<SlidingWindowOptions> = { limit: true, window: true, name: true, by: true };
const DAILY_OPTIONS: OptionNames<DailyQuotaOptions> = { limit: true, timeZone: true, name: true, by: true };

const MAX_LIMIT = 1_000_000_000;
const DAY = 86_400_000;
const MAX_WINDOW = 400 * DAY;
/** Up to this limit every unit keeps its own time. Above it, 64 granules to a window bound the memory. */
const EXACT_LIMIT = 512;
const GRANULES = 64;
/** Needs no escaping in a structured-field string (RFC 9651 section 3.3.3) or in a store key. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * Admits at most `limit` units in every interval of the length `window`. A fixed window would admit twice that around a
 * boundary. Up to 512 units it is exact to the clock's millisecond. Above that, a unit is forgotten at most window/64 late
 * and never early. Policies of one name and window share their count if their store and partition key are the same.
 *
 * ```ts
 * slidingWindow({ limit: 60, window: '1m' })
 * ```
 * @throws OptionError
 */
export function slidingWindow(options: SlidingWindowOptions): SlidingWindow {
  checkOptionNames('slidingWindow', options, WINDOW_OPTIONS);
  const limit = positiveInteger('slidingWindow', 'limit', options.limit, MAX_LIMIT);
  const window = milliseconds('slidingWindow', 'window', options.window, MAX_WINDOW);
  const name = policyName('slidingWindow', options.name, window % 1000 === 0 ? `${window / 1000}s` : `${window}ms`);
  return Object.freeze({
    kind: 'sliding-window',
    name,
    limit,
    window,
    granule: limit <= EXACT_LIMIT ? 1 : Math.max(1, Math.floor(window / GRANULES)),
    by: partitionBy('slidingWindow', options.by),
    id: `${name}/${window}`,
  });
}

/**
 * Admits at most `limit` units in each calendar day, from midnight to midnight in `timeZone`. Days of 23 and 25 hours are
 * counted correctly. Policies of one name and time zone share their count if their store and partition key are the same.
 *
 * ```ts
 * dailyQuota({ limit: 5, timeZone: 'Europe/Berlin' })
 * ```
 * @throws OptionError
 */
export function dailyQuota(options: DailyQuotaOptions): DailyQuota {
  checkOptionNames('dailyQuota', options, DAILY_OPTIONS);
  const { timeZone = 'UTC' } = options;
  const limit = positiveInteger('dailyQuota', 'limit', options.limit, MAX_LIMIT);
  const name = policyName('dailyQuota', options.name, 'daily');
  const dayOf = dayCalendar(timeZone);
  if (dayOf === undefined) {
    throw badOption('dailyQuota', 'timeZone', "must be an IANA time zone such as 'Europe/Berlin'", timeZone);
  }
  return Object.freeze({
    kind: 'daily-quota',
    timeZone,
    name,
    limit,
    window: DAY,
    dayOf,
    by: partitionBy('dailyQuota', options.by),
    id: `${name}/${timeZone}`,
  });
}

function policyName(factory: string, name: string | undefined, defaultName: string): string {
  if (name === undefined) return defaultName;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw badOption(factory, 'name', 'must be 1 to 64 letters, digits, dots, dashes or underscores', name);
  }
  return name;
}

const BY_RULE = "must be 'client-ip', 'principal', 'global' or a function that returns a key";

/** Checks an optional `by`. @throws OptionError */
export function partitionBy(factory: string, by: PartitionBy | undefined): PartitionBy | undefined {
  if (by === undefined || typeof by === 'function' || by === 'client-ip' || by === 'principal' || by === 'global') {
    return by;
  }
  throw badOption(factory, 'by', BY_RULE, by);
}
