import { badOption, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { type Cost, fixedOrFunction } from '../cost.js';
import { type Day, dayCalendar } from '../day.js';
import { type PartitionBy, type PolicyCore, partitionBy, policyName } from './policy-core.js';
import { MAX_LIMIT } from './sliding-window.js';

/** Made by `dailyQuota`. */
export interface DailyQuota extends PolicyCore {
  readonly kind: 'daily-quota';
  /** IANA time zone. */
  readonly timeZone: string;
  /** The calendar day of a moment in epoch milliseconds. */
  readonly dayOf: (now: number) => Day;
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
  /** What a request costs under this policy, if not the guard's `cost`. */
  readonly cost?: Cost | undefined;
}

const OPTIONS: OptionNames<DailyQuotaOptions> = { limit: true, timeZone: true, name: true, by: true, cost: true };

/** The length of an ordinary day, in milliseconds. */
export const DAY = 86_400_000;

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
  checkOptionNames('dailyQuota', options, OPTIONS);
  const { timeZone = 'UTC' } = options;
  const limit = positiveInteger('dailyQuota', 'limit', options.limit, MAX_LIMIT);
  const name = policyName('dailyQuota', options.name, 'daily');
  return Object.freeze({
    kind: 'daily-quota',
    timeZone,
    name,
    limit,
    window: DAY,
    dayOf: calendarOf('dailyQuota', timeZone),
    by: partitionBy('dailyQuota', options.by),
    cost: fixedOrFunction('dailyQuota', options.cost),
    id: `${name}/${timeZone}`,
  });
}

/** The calendar of a policy's time zone. @throws OptionError */
export function calendarOf(factory: string, timeZone: string): (now: number) => Day {
  const dayOf = dayCalendar(timeZone);
  if (dayOf === undefined) {
    throw badOption(factory, 'timeZone', "must be an IANA time zone such as 'Europe/Berlin'", timeZone);
  }
  return dayOf;
}
