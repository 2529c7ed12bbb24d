import { badOption, checkOptionNames, positiveInteger } from '../../core/option.js';
import { ExpiryQueue } from './expiry-queue.js';
import type { Remembered, ReplayStore } from './replay-store.js';

/** What `memoryReplayStore` takes. */
export interface MemoryReplayStoreOptions {
  /**
   * Keys held at a time, some 200 bytes each. Requests signed with a right clock take up room for one `window`. Default
   * 100,000, at most 10,000,000.
   */
  readonly maxEntries?: number;
  /** Epoch milliseconds. It may jump backwards: nothing is then taken for new that may have been here. Default `Date.now`. */
  readonly now?: () => number;
}

/** A memory store answers at once. */
export interface MemoryReplayStore extends ReplayStore {
  readonly since: number;
  has(key: string): boolean;
  remember(key: string, until: number): Remembered;
  /** Keys held now, for gauges. */
  readonly size: number;
}

/** Expired keys freed with each call: more than it can add, so that they leave, and never a long stop. */
const SWEEP = 2;

/**
 * Remembers in this process' memory. Bounded, with no timer; a live key is never given up: while all room is taken by
 * them, new ones are told `full`. For one process only: another one would not know what this one has seen. After a restart,
 * what was signed before it is refused with 503, so that nothing passes twice; clients whose clocks are late wait for as long.
 *
 * ```ts
 * signedRequest({ keys, replayStore: memoryReplayStore() })
 * ```
 * @throws OptionError
 */
export function memoryReplayStore(options: MemoryReplayStoreOptions = {}): MemoryReplayStore {
  checkOptionNames('memoryReplayStore', options, ['maxEntries', 'now']);
  const maxEntries = positiveInteger('memoryReplayStore', 'maxEntries', options.maxEntries ?? 100_000, 10_000_000);
  const { now = Date.now } = options;
  if (typeof now !== 'function') throw badOption('memoryReplayStore', 'now', 'must be a function', now);

  const ends = new Map<string, number>();
  const queue = new ExpiryQueue();
  /** The latest end of a key that was freed. Were the clock set back, that key would look new. */
  let forgotten = Number.NEGATIVE_INFINITY;

  function free(time: number): void {
    for (let freed = 0; freed < SWEEP; ) {
      const first = queue.first;
      if (first === undefined || !(first.until <= time)) return;
      queue.shift();
      // Remembered anew, it has a later end and another place in the queue.
      if (ends.get(first.key) !== first.until) continue;
      ends.delete(first.key);
      forgotten = Math.max(forgotten, first.until);
      freed++;
    }
  }

  return {
    since: now(),
    get size() {
      return ends.size;
    },
    has(key) {
      const end = ends.get(key);
      return end !== undefined && !(end <= now());
    },
    remember(key, until) {
      const time = now();
      free(time);
      // Asked this way round, a clock or an end that is NaN lets nothing pass as new.
      if (!(until > time && until > forgotten)) return 'seen';
      const end = ends.get(key);
      if (end !== undefined && !(end <= time)) return 'seen';
      if (end === undefined && ends.size >= maxEntries) return 'full';
      ends.set(key, until);
      queue.add({ key, until });
      return 'new';
    },
  };
}
