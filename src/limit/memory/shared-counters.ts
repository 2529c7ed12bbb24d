import { hash, randomBytes } from 'node:crypto';
import { holds, type QuotaPolicy } from '../policy.js';
import { Counters } from './counters.js';
import type { EntrySlab } from './entry-slab.js';
import type { StoreClock } from './store-clock.js';

/** No lease is longer. */
const DAY = 86_400_000;
const FEWEST = 4096;
const MOST = 65_536;

/**
 * The last resort of a full table: counters that several keys share, assigned by a secret hash. A client cannot choose which
 * keys it shares with, so it can only spend the quota of the few that share its counter.
 */
export class SharedCounters {
  readonly counters: Counters;
  readonly secret: string;
  /** A power of two. */
  readonly count: number;
  readonly #mask: number;
  /** The longest that a charge or a lease lasts. */
  readonly #longest: number;
  #liveUntil = 0;

  /** `restored` are the secret and the number of counters that a journal has. */
  constructor(
    policy: QuotaPolicy,
    slab: EntrySlab,
    clock: StoreClock,
    maxEntries: number,
    restored: { readonly secret: string; readonly count: number } | undefined,
  ) {
    this.count = restored?.count ?? Math.min(MOST, Math.max(FEWEST, 2 ** Math.ceil(Math.log2(maxEntries / 16))));
    this.secret = restored?.secret ?? randomBytes(16).toString('hex');
    this.#mask = this.count - 1;
    this.#longest = 2 * policy.window + (holds(policy) ? DAY : 0);
    this.counters = new Counters(policy, slab, clock, this);
  }

  slotOf(key: string): number {
    return hash('sha256', this.secret + key, 'buffer').readUInt32LE(0) & this.#mask;
  }

  /** To be called after a charge, and when a lease was extended. */
  keepUntil(time: number): void {
    this.#liveUntil = Math.max(this.#liveUntil, time);
  }

  /** To be called when they hold what a journal has. */
  keepLongest(): void {
    this.#liveUntil = this.counters.now + this.#longest;
  }

  /** Whether any of them may still hold something. */
  isLive(): boolean {
    const { now } = this.counters;
    // Charges that are further ahead were made while the clock was wrong.
    this.#liveUntil = Math.min(this.#liveUntil, now + this.#longest);
    return this.#liveUntil > now;
  }
}
