import { type Duration, milliseconds } from '../../core/duration.js';
import { checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { type Cost, fixedOrFunction } from '../cost.js';
import { type PartitionBy, type PolicyCore, partitionBy, policyName } from './policy-core.js';

/** Made by `slidingWindow`. */
export interface SlidingWindow extends PolicyCore {
  readonly kind: 'sliding-window';
  /** Units are counted by ticks of this many milliseconds: 1 for limits up to 512 units, which is exact. */
  readonly granule: number;
}

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
  /** What a request costs under this policy, if not the guard's `cost`. */
  readonly cost?: Cost | undefined;
}

const OPTIONS: OptionNames<SlidingWindowOptions> = { limit: true, window: true, name: true, by: true, cost: true };

/** The highest limit of a policy, in quota units. */
export const MAX_LIMIT = 1_000_000_000;
/** The longest window, in milliseconds. */
export const MAX_WINDOW = 400 * 86_400_000;
/** Up to this limit every unit keeps its own time. Above it, 64 granules to a window bound the memory. */
const EXACT_LIMIT = 512;
const GRANULES = 64;

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
  checkOptionNames('slidingWindow', options, OPTIONS);
  const limit = positiveInteger('slidingWindow', 'limit', options.limit, MAX_LIMIT);
  const window = milliseconds('slidingWindow', 'window', options.window, MAX_WINDOW);
  const name = policyName('slidingWindow', options.name, window % 1000 === 0 ? `${window / 1000}s` : `${window}ms`);
  return Object.freeze({
    kind: 'sliding-window',
    name,
    limit,
    window,
    granule: granuleOf(limit, window),
    by: partitionBy('slidingWindow', options.by),
    cost: fixedOrFunction('slidingWindow', options.cost),
    id: `${name}/${window}`,
  });
}

/** The ticks of a window in milliseconds, for a limit. */
export function granuleOf(limit: number, window: number): number {
  return limit <= EXACT_LIMIT ? 1 : Math.max(1, Math.floor(window / GRANULES));
}
