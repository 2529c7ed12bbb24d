import { MemoryLimitStore, type MemoryStore } from './memory-limit-store.js';
import { GivenClock, SystemClock } from './store-clock.js';

/** The most counters of a policy, unless an option says otherwise. */
export const DEFAULT_MAX_ENTRIES = 1_000_000;

/**
 * A memory store with default options, for what is not given a store. A bundle without `memoryStore` has no code that writes a
 * journal.
 */
export function plainMemoryStore(now?: () => number): MemoryStore {
  return new MemoryLimitStore(DEFAULT_MAX_ENTRIES, now === undefined ? new SystemClock() : new GivenClock(now));
}
