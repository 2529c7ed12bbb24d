import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import { badOption, checkOptionNames, positiveInteger } from '../core/option.js';
import { type Day, dayCalendar } from './day.js';

/**
 * What a quota is counted by: `client-ip` (the key that `clientIp` found), `principal` (its id), `global` (all callers
 * together), or a function that gives the partition key.
 */
export type PartitionBy = 'client-ip' | 'principal' | 'global' | ((exchange: Exchange) => string);

interface PolicyCore {
  /** Stands in the `RateLimit` headers and in refusals. */
  readonly name: string;
  /** Quota units. */
  readonly limit: number;
  /** Overrides the guard's `by` for this policy. */
  readonly by: PartitionBy | undefined;
  /** Tells counters of one partition key apart: policies with the same id share their count. */
  readonly id: string;
  /** Milliseconds. */
  readonly window: number;
}

/** Made by `slidingWindow`. */
export interface SlidingWindow extends PolicyCore {
  readonly kind: 'sliding-window';
  /** Units are counted by ticks of this many milliseconds. 1 up to 512 units: exact. */
  readonly granule: number;
}

/** Made by `dailyQuota`. */
export interface DailyQuota extends PolicyCore {
  readonly kind: 'daily-quota';
  readonly timeZone: string;
  /** The calendar day that holds this moment. */
  readonly dayOf: (now: number) => Day;
}

/** A promise about how many quota units are admitted; made by `slidingWindow` or `dailyQuota`. */
export type QuotaPolicy = SlidingWindow | DailyQuota;

/** What `slidingWindow` takes. */
export interface SlidingWindowOptions {
  /** Quota units admitted in every interval of the window's length, at most 1,000,000,000. */
  readonly limit: number;
  readonly window: Duration;
  /** Default the window's length, such as `60s`. */
  readonly name?: string;
  readonly by?: PartitionBy;
}

/** What `dailyQuota` takes. */
export interface DailyQuotaOptions {
  /** Quota units admitted in each calendar day, at most 1,000,000,000. */
  readonly limit: number;
  /** IANA time zone whose midnight starts the day. Default `UTC`. */
  readonly timeZone?: string;
  /** Default `daily`. */
  readonly name?: string;
  readonly by?: PartitionBy;
}

const MAX_LIMIT = 1_000_000_000;
const MAX_WINDOW = 400 * 86_400_000;
/** Up to here every unit keeps its own time; above, 64 granules to a window bound the memory. */
const EXACT_LIMIT = 512;
const GRANULES = 64;
/** Goes into a structured-field string (RFC 9651 section 3.3.3) and into store keys as it is. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * In every interval of `window`, never more than `limit` units are admitted: not twice that at a boundary, as with fixed
 * windows. Exact to the clock's millisecond up to 512 units; above, units are forgotten at most window/64 late, never
 * early. Policies of one name and window share their count where the store and the partition key are the same.
 *
 * ```ts
 * slidingWindow({ limit: 60, window: '1m' })
 * ```
 * @throws OptionError
 */
export function slidingWindow(options: SlidingWindowOptions): SlidingWindow {
  checkOptionNames('slidingWindow', options, ['limit', 'window', 'name', 'by']);
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
 * At most `limit` units in each calendar day, from midnight to midnight in `timeZone`, days of 23 and 25 hours included.
 *
 * ```ts
 * dailyQuota({ limit: 5, timeZone: 'Europe/Berlin' })
 * ```
 * @throws OptionError
 */
export function dailyQuota(options: DailyQuotaOptions): DailyQuota {
  checkOptionNames('dailyQuota', options, ['limit', 'timeZone', 'name', 'by']);
  const { timeZone = 'UTC' } = options;
  const limit = positiveInteger('dailyQuota', 'limit', options.limit, MAX_LIMIT);
  const name = policyName('dailyQuota', options.name, 'daily');
  const dayOf = dayCalendar(timeZone);
  if (dayOf === undefined) throw badOption('dailyQuota', 'timeZone', 'must be an IANA time zone', timeZone);
  return Object.freeze({
    kind: 'daily-quota',
    timeZone,
    name,
    limit,
    window: 86_400_000,
    dayOf,
    by: partitionBy('dailyQuota', options.by),
    id: `${name}/${timeZone}`,
  });
}

function policyName(factory: string, name: string | undefined, ordinary: string): string {
  if (name === undefined) return ordinary;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw badOption(factory, 'name', 'must be 1 to 64 letters, digits, dots, dashes or underscores', name);
  }
  return name;
}

/** @throws OptionError for what is neither one of the names nor a function */
export function partitionBy(factory: string, by: PartitionBy | undefined): PartitionBy | undefined {
  if (by === undefined || typeof by === 'function' || by === 'client-ip' || by === 'principal' || by === 'global') {
    return by;
  }
  throw badOption(factory, 'by', 'must be client-ip, principal, global or a function', by);
}
