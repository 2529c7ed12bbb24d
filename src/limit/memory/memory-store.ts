import { checkLastingFiles } from '../../core/lasting-files.js';
import { callback, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { checkJournal, type JournalOptions } from './journal/journal-options.js';
import { JournaledStore } from './journal/journaled-store.js';
import type { MemoryStore } from './memory-limit-store.js';
import { MemoryLimitStore } from './memory-limit-store.js';
import { DEFAULT_MAX_ENTRIES } from './plain-memory-store.js';
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
   * Writes down what is counted, so that a restart, a crash or a deployment forgets nothing: the counters are there again
   * when a store with the same directory is made. For one process of one machine, on Node, Bun and Deno. Default: nothing is
   * written. See the guide on the journal.
   */
  readonly journal?: JournalOptions | undefined;
  /**
   * Returns the time in epoch milliseconds. It may jump in both directions. Default: the system's monotonic clock for
   * windows, and its time of day for days.
   */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<MemoryStoreOptions> = { maxEntries: true, journal: true, now: true };

/**
 * Makes a limit store that counts in this process' memory, exactly and without waiting. Its memory is bounded, and without a
 * journal it starts no timer. Requests with many other keys cannot free a key that is at its limit, and cannot use up the
 * limit of others. Services that run in more than one process need a store that they share, such as `redisStore`.
 *
 * ```ts
 * const store = memoryStore({ maxEntries: 100_000 })
 * const lasting = memoryStore({ journal: { directory: '/var/lib/service/limits' } })
 * ```
 * @throws OptionError
 * @throws StoreError if another process has the journal, or its files are damaged; the message names the file
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  checkOptionNames('memoryStore', options, OPTIONS);
  const maxEntries = positiveInteger(
    'memoryStore',
    'maxEntries',
    options.maxEntries ?? DEFAULT_MAX_ENTRIES,
    10_000_000,
  );
  const now = callback('memoryStore', 'now', options.now);
  const clock = now === undefined ? new SystemClock() : new GivenClock(now);
  if (options.journal === undefined) return new MemoryLimitStore(maxEntries, clock);
  checkLastingFiles('memoryStore', 'journal');
  return new JournaledStore(maxEntries, clock, now !== undefined, checkJournal(options.journal));
}
