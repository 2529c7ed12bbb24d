import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, checkOptionNames, type OptionNames } from '../../core/option.js';
import type { Day } from '../day.js';
import { leaseOf } from './concurrency.js';
import { calendarOf, DAY } from './daily-quota.js';
import { LearnedEstimate } from './learned-estimate.js';
import { type PartitionBy, type PolicyCore, partitionBy, policyName } from './policy-core.js';
import { granuleOf, MAX_LIMIT, MAX_WINDOW } from './sliding-window.js';

/** How long a job will take: milliseconds, a function of the exchange that returns them at once, or what earlier jobs took. */
export type Estimate = number | ((exchange: Exchange) => number) | LearnedEstimate;

/** Made by `gpuTime`. Its quota units are milliseconds. */
export interface GpuTime extends PolicyCore {
  readonly kind: 'gpu-time';
  /** The ticks of the log in milliseconds, as those of a sliding window. 1 for a calendar day. */
  readonly granule: number;
  /** How long a hold lasts unless it is renewed, in milliseconds. */
  readonly lease: number;
  /** What a job is expected to take. It is held while the job runs. */
  readonly estimate: Estimate;
  /** IANA time zone of the day; undefined for a window. */
  readonly timeZone: string | undefined;
  /** The calendar day of a moment in epoch milliseconds; undefined for a window. */
  readonly dayOf: ((now: number) => Day) | undefined;
}

/** Options of `gpuTime`. */
export interface GpuTimeOptions {
  /** The GPU time in each window or day, such as `'10m'`. At most `'1000000s'`. */
  readonly limit: Duration;
  /** The length of the window, such as `'1h'`, at most `'400d'`; or `'day'` for calendar days. */
  readonly window: Duration | 'day';
  /**
   * What a job will take: a length of time, a function of the exchange that returns milliseconds at once, or
   * `learnedEstimate()`. A job is refused if less than this is left. One whose estimate is above the limit is always refused:
   * what a function returns is not capped, what `learnedEstimate` has learned is.
   */
  readonly estimate: Duration | ((exchange: Exchange) => number) | LearnedEstimate;
  /** How long the estimate stays held after its process has died: `'100ms'` to `'24h'`. Default `'30s'`. */
  readonly lease?: Duration | undefined;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default `gpu-time`. */
  readonly name?: string | undefined;
  /** What this policy is counted by, if not by the guard's `by`. */
  readonly by?: PartitionBy | undefined;
  /** IANA time zone whose midnight starts the day. Only for `window: 'day'`. Default `UTC`. */
  readonly timeZone?: string | undefined;
}

const OPTIONS: OptionNames<GpuTimeOptions> = {
  limit: true,
  window: true,
  estimate: true,
  lease: true,
  name: true,
  by: true,
  timeZone: true,
};

/**
 * Admits jobs while GPU time is left. A job that runs counts with its estimate. A job that has ended counts with what it
 * used, from its end on, even beyond the limit. So used and held time passes the limit by no more than what the jobs in
 * flight take beyond their estimates. Policies of one name and window (or time zone) share their count if their store and
 * partition key are the same.
 *
 * ```ts
 * gpuTime({ limit: '10m', window: 'day', estimate: '30s', by: 'principal' })
 * ```
 * @throws OptionError
 */
export function gpuTime(options: GpuTimeOptions): GpuTime {
  checkOptionNames('gpuTime', options, OPTIONS);
  const limit = milliseconds('gpuTime', 'limit', options.limit, MAX_LIMIT);
  const estimate = estimateOf(options.estimate);
  const lease = leaseOf('gpuTime', options.lease);
  const name = policyName('gpuTime', options.name, 'gpu-time');
  const by = partitionBy('gpuTime', options.by);
  const common = { kind: 'gpu-time', name, limit, lease, estimate, by, cost: undefined } as const;
  if (options.window === 'day') {
    const { timeZone = 'UTC' } = options;
    const dayOf = calendarOf('gpuTime', timeZone);
    return Object.freeze({ ...common, window: DAY, granule: 1, timeZone, dayOf, id: `${name}/gpu-time/${timeZone}` });
  }
  if (options.timeZone !== undefined) {
    throw badOption('gpuTime', 'timeZone', 'applies to calendar days', options.timeZone, "set window: 'day'");
  }
  const window = milliseconds('gpuTime', 'window', options.window, MAX_WINDOW);
  return Object.freeze({
    ...common,
    window,
    granule: granuleOf(limit, window),
    timeZone: undefined,
    dayOf: undefined,
    id: `${name}/gpu-time/${window}`,
  });
}

function estimateOf(estimate: GpuTimeOptions['estimate']): Estimate {
  if (typeof estimate === 'function' || estimate instanceof LearnedEstimate) return estimate;
  if (estimate === undefined) throw badOption('gpuTime', 'estimate', ESTIMATE_RULE, estimate);
  return milliseconds('gpuTime', 'estimate', estimate, MAX_LIMIT);
}

const ESTIMATE_RULE =
  "must be what a job takes, such as '30s', a function that returns milliseconds, or learnedEstimate(), which learns it";
