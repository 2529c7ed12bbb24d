import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import {
  badOption,
  boolean,
  callback,
  checkOptionNames,
  type OptionNames,
  positiveInteger,
} from '../../core/option.js';
import type { QueuePlace } from '../../core/queue-place.js';
import { type PartitionBy, partitionBy } from '../policy.js';

/** A client's share beside others: a number from 0.001 to 1000, or a function that returns one at once. */
export type QueueWeight = number | ((exchange: Exchange) => number);

/** Options of `limit({ queue })`. */
export interface QueueOptions {
  /** The longest that a request waits. Default `'30s'`, at most `'24h'`. */
  readonly maxWait?: Duration | undefined;
  /** The most requests that wait. Default 100, at most 1000. */
  readonly maxWaiting?: number | undefined;
  /**
   * Which requests are of one client: clients are served in fair order. Default `principal-or-client-ip`.
   */
  readonly by?: PartitionBy | undefined;
  /** A client's share beside others. One of weight 2 is served twice as long as one of weight 1. Default 1. */
  readonly weight?: QueueWeight | undefined;
  /**
   * Sends `Queue-Position` and `Queue-Expected-Wait` (in seconds) with the response to a request that waited: its place and
   * what was expected when it came. Default false.
   */
  readonly headers?: boolean | undefined;
  /** Receives the place of a request when it begins to wait, and each time that it changes. */
  readonly onQueue?: ((place: QueuePlace, exchange: Exchange) => void) | undefined;
}

/** The checked options of a queue. */
export interface CheckedQueueOptions {
  readonly maxWait: number;
  readonly maxWaiting: number;
  readonly by: PartitionBy;
  readonly weight: QueueWeight;
  readonly headers: boolean;
  readonly onQueue: QueueOptions['onQueue'];
}

const FACTORY = 'limit "queue"';
const OPTIONS: OptionNames<QueueOptions> = {
  maxWait: true,
  maxWaiting: true,
  by: true,
  weight: true,
  headers: true,
  onQueue: true,
};

const MAX_WAIT = 86_400_000;
const MAX_WAITING = 1000;
const MAX_WEIGHT = 1000;

/** Checks the options of a queue. @throws OptionError */
export function checkQueueOptions(options: QueueOptions): CheckedQueueOptions {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { weight = 1 } = options;
  return {
    maxWait: milliseconds(FACTORY, 'maxWait', options.maxWait ?? '30s', MAX_WAIT),
    maxWaiting: positiveInteger(FACTORY, 'maxWaiting', options.maxWaiting ?? 100, MAX_WAITING),
    by: partitionBy(FACTORY, options.by) ?? 'principal-or-client-ip',
    weight: typeof weight === 'function' ? weight : checkWeight(weight),
    headers: boolean(FACTORY, 'headers', options.headers ?? false),
    onQueue: callback(FACTORY, 'onQueue', options.onQueue),
  };
}

/** Checks a weight. @throws OptionError */
export function checkWeight(weight: unknown): number {
  if (typeof weight === 'number' && weight >= 1 / MAX_WEIGHT && weight <= MAX_WEIGHT) return weight;
  throw badOption(FACTORY, 'weight', `must be a number from ${1 / MAX_WEIGHT} to ${MAX_WEIGHT}`, weight);
}
