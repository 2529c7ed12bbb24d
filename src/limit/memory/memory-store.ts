import { callback, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { MemoryLimitStore, type MemoryStore } from './memory-limit-store.js';
import { GivenClock, SystemClock } from './store-clock.js';

export type { MemoryStore } from './memory-limit-store.js';

/** Options of `memoryStore`. */
export interface MemoryStoreOptions {
  /**
   * The most counters that the store holds for each policy, one for each key. Default 1,000,000, at most 10,000,000. Memory
   * is only used for the counters that there are. When a policy has more live keys, those that have used least of their
   * limit are forgotten first, and never one that has used half of it.
   */
  readonly maxEntries?: number | undefined;
  /**
   * Returns the time in epoch milliseconds. It may jump in both directions. Default: the system's monotonic clock for
   * windows, and its time of day for days.
   */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<MemoryStoreOptions> = { maxEntries: true, now: true };

/**
 * Makes a limit store that counts in this process' memory, exactly and without waiting. Its memory is bounded, and it
 * starts no timer. Requests with many other keys cannot free a key that is at its limit, and cannot use up the limit of
 * others. Services that run in more than one process need a store that they share, such as `redisStore`.
 *
 * ```ts
 * const store = memoryStore({ maxEntries: 100_000 })
 * ```
 * @throws OptionError
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  checkOptionNames('memoryStore', options, OPTIONS);
  const maxEntries = positiveInteger('memoryStore', 'maxEntries', options.maxEntries ?? 1_000_000, 10_000_000);
  const now = callback('memoryStore', 'now', options.now);
  return new MemoryLimitStore(maxEntries, now === undefined ? new SystemClock() : new GivenClock(now));
}
