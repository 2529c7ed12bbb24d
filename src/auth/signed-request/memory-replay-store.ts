import { checkOptionNames, clock, type OptionNames, positiveInteger } from '../../core/option.js';
import { ExpiryQueue } from './expiry-queue.js';
import type { Remembered, ReplayStore } from './replay-store.js';

/** Options of `memoryReplayStore`. */
export interface MemoryReplayStoreOptions {
  /**
   * The largest number of keys held at a time, about 200 bytes each. A request with an exact timestamp uses one entry
   * for the length of `tolerance`. Default 100,000, at most 10,000,000.
   */
  readonly maxEntries?: number | undefined;
  /**
   * The clock, in epoch milliseconds. If it jumps backwards, a key that may have been used before is never reported as
   * new. Default `Date.now`.
   */
  readonly now?: (() => number) | undefined;
}

/** A replay store in memory. It answers without a promise. */
export interface MemoryReplayStore extends ReplayStore {
  readonly since: number;
  has(key: string): boolean;
  remember(key: string, until: number): Remembered;
  /** The number of keys held now, for gauges. */
  readonly size: number;
}

const FACTORY = 'memoryReplayStore';
const OPTIONS: OptionNames<MemoryReplayStoreOptions> = { maxEntries: true, now: true };

/** Expired keys removed in each call: more than a call can add, and few enough never to block. */
const REMOVED_PER_CALL = 2;

/**
 * Remembers used nonces in this process. It is bounded and needs no timer. A key is never dropped before it expires:
 * while the store is full, new keys are answered with `full`. Use it for one process only, because processes do not
 * share it. After a restart, requests that were signed before the start are refused with 503, so that none passes
 * twice. Clients whose clock is slow are refused for as long as it is behind.
 *
 * ```ts
 * signedRequest({ keys, replayStore: memoryReplayStore() })
 * ```
 * @throws OptionError
 */
export function memoryReplayStore(options: MemoryReplayStoreOptions = {}): MemoryReplayStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const maxEntries = positiveInteger(FACTORY, 'maxEntries', options.maxEntries ?? 100_000, 10_000_000);
  const now = clock(FACTORY, options.now);
  // Workers have no time while a module loads: it is then 0, and the store begins at its first use.
  let since = now();

  const expiryOf = new Map<string, number>();
  const queue = new ExpiryQueue();
  /** The latest expiry of a removed key. If the clock is set back, that key would look new. */
  let latestRemoved = Number.NEGATIVE_INFINITY;

  function removeExpired(time: number): void {
    for (let removed = 0; removed < REMOVED_PER_CALL; ) {
      const first = queue.first;
      if (first === undefined || !(first.until <= time)) return;
      queue.shift();
      // The key was remembered again since: it has a later expiry, and another place in the queue.
      if (expiryOf.get(first.key) !== first.until) continue;
      expiryOf.delete(first.key);
      latestRemoved = Math.max(latestRemoved, first.until);
      removed++;
    }
  }

  return {
    get since() {
      if (since === 0) since = now();
      return since;
    },
    get size() {
      return expiryOf.size;
    },
    has(key) {
      const expiry = expiryOf.get(key);
      return expiry !== undefined && !(expiry <= now());
    },
    remember(key, until) {
      const time = now();
      removeExpired(time);
      // Written so that NaN, from the clock or the caller, is never `new`.
      if (!(until > time && until > latestRemoved)) return 'seen';
      const expiry = expiryOf.get(key);
      if (expiry !== undefined && !(expiry <= time)) return 'seen';
      if (expiry === undefined && expiryOf.size >= maxEntries) return 'full';
      expiryOf.set(key, until);
      queue.add({ key, until });
      return 'new';
    },
  };
}
