import { holds, type QuotaPolicy } from '../policy.js';
import { Counters } from './counters.js';
import type { EntrySlab } from './entry-slab.js';
import type { KeyHash } from './key-hash.js';
import { KeyIndex } from './key-index.js';
import { SharedCounters } from './shared-counters.js';
import { KeyCopier, SlotKeys } from './slot-keys.js';
import { SlotStack } from './slot-stack.js';
import type { StoreClock } from './store-clock.js';

export const NONE = -1;
/** Slots that each admission checks for an expired counter: more than it can add, so that all are freed, without a pause. */
const SWEEP = 2;
/** Slots that a new key checks for an expired counter if the table is full. */
const FULL_SWEEP = 16;
/** Slots among which a new key looks for the counter that is least used. */
const SAMPLE = 16;
/** Slots that it looks at then, if all of those are at half their limit or more. */
const LOOK_ON = 64;

/** A counter that an admission uses, and the next one that it uses. */
interface CounterInUse {
  readonly counters: Counters;
  readonly slot: number;
  readonly next: CounterInUse | undefined;
}

/** The counters of one policy, each with its key. It holds a bounded number. When it is full, the least used are forgotten first. */
export class CounterTable {
  readonly counters: Counters;
  /** Whether admissions hold units of the policy, under a lease. */
  readonly holds: boolean;
  /** Exist only while the table is full of counters that must not be forgotten, and a window longer. */
  shared: SharedCounters | undefined = undefined;
  readonly policy: QuotaPolicy;
  readonly #slab: EntrySlab;
  readonly #clock: StoreClock;
  readonly #maxEntries: number;
  readonly #hash: KeyHash;
  readonly #keys = new SlotKeys();
  readonly #copier = new KeyCopier();
  readonly #index: KeyIndex;
  /** Slots below `#started` that are free. */
  readonly #free = new SlotStack();
  #started = 0;
  /** The next slot to be checked for an expired counter. */
  #hand = 0;
  /** Whether the hand has found no expired counter since it was at the first slot, and when the first of them expires. */
  #allLive = true;
  #firstExpiry = Number.POSITIVE_INFINITY;
  #startedAgainAt = 0;
  /** Nothing can have expired between these times. */
  #restsSince = 0;
  #restsUntil = 0;

  constructor(policy: QuotaPolicy, slab: EntrySlab, clock: StoreClock, hash: KeyHash, maxEntries: number) {
    this.policy = policy;
    this.holds = holds(policy);
    this.#slab = slab;
    this.#clock = clock;
    this.#hash = hash;
    this.#maxEntries = maxEntries;
    this.#index = new KeyIndex(this.#keys, maxEntries);
    this.counters = new Counters(policy, slab, clock, undefined);
  }

  /** Every slot below was given to a key at some time. */
  get started(): number {
    return this.#started;
  }

  /** Counters in use. */
  get size(): number {
    return this.#started - this.#free.size;
  }

  /** The slot of a key's counter, or NONE. `guess` is where it may be. */
  find(hash: number, key: string, guess: number): number {
    // A free slot has an empty key.
    if (guess !== NONE && key !== '' && this.#keys.get(guess) === key) return guess;
    return this.#index.find(hash, key);
  }

  /**
   * A slot for a new counter, or NONE if the table is full of counters that must not be forgotten. The slot may hold another
   * key's counter until `take`. Never one of `others`, which the same admission uses.
   */
  claim(others: CounterInUse): number {
    if (this.#started < this.#maxEntries) return this.#free.size > 0 ? this.#free.pop() : this.#started++;
    for (let i = 0; i < FULL_SWEEP && this.#free.size === 0; i++) this.#checkNext(others);
    return this.#free.size > 0 ? this.#free.pop() : this.#leastUsed(others);
  }

  /** Returns a claimed slot that is not needed. */
  release(slot: number): void {
    if (!this.counters.isTaken(slot)) this.#free.push(slot);
  }

  /** The key of a counter, in memory of its own. */
  keyOf(slot: number): string {
    return this.#keys.get(slot);
  }

  /** Gives a claimed slot to a key. What the slot held is forgotten. `copy` is the key in memory of its own, if there is one. */
  take(slot: number, hash: number, key: string, copy: string | undefined): void {
    if (this.counters.isTaken(slot)) this.#empty(slot);
    this.#keys.set(slot, copy ?? this.#copier.copy(key));
    this.#index.add(hash, slot);
  }

  /** Forgets a counter. */
  forget(slot: number): void {
    this.#empty(slot);
    this.#keys.set(slot, '');
    this.#free.push(slot);
  }

  /** Forgets a few expired counters. */
  sweep(): void {
    const { now } = this.counters;
    if ((now < this.#restsSince || now >= this.#restsUntil) && this.#started > 0) {
      for (let i = 0; i < SWEEP; i++) this.#checkNext(undefined);
    }
    if (this.shared !== undefined && !this.shared.isLive()) this.shared = undefined;
  }

  /** The shared counters. Made at their first use. */
  sharedCounters(): SharedCounters {
    this.shared ??= new SharedCounters(this.policy, this.#slab, this.#clock, this.#maxEntries, undefined);
    return this.shared;
  }

  /** Makes the shared counters that a journal has. */
  restoreShared(secret: string, count: number): SharedCounters {
    this.shared = new SharedCounters(this.policy, this.#slab, this.#clock, this.#maxEntries, { secret, count });
    return this.shared;
  }

  /** Gives a slot to a key, as a journal has it, with an empty counter. Call `restored` when all is done. */
  restore(slot: number, key: string): void {
    const hash = this.#hash.of(key);
    const former = this.#index.find(hash, key);
    if (former !== NONE) this.#empty(former);
    if (former !== NONE && former !== slot) this.#keys.set(former, '');
    if (this.counters.isTaken(slot)) this.#empty(slot);
    this.#keys.set(slot, key);
    this.#index.add(hash, slot);
    this.#started = Math.max(this.#started, slot + 1);
  }

  /** Finds the slots that are free after all others were restored. */
  restored(): void {
    for (let slot = this.#started - 1; slot >= 0; slot--) if (!this.counters.isTaken(slot)) this.#free.push(slot);
  }

  #checkNext(others: CounterInUse | undefined): void {
    const slot = this.#hand < this.#started ? this.#hand : this.#startAgain();
    this.#hand = slot + 1;
    // Most are live.
    if (this.counters.isLive(slot)) {
      this.#firstExpiry = Math.min(this.#firstExpiry, this.counters.liveUntil(slot));
    } else if (this.counters.isTaken(slot) && !this.#isOneOf(others, slot)) {
      this.#allLive = false;
      this.forget(slot);
    }
  }

  /**
   * The hand is back at the first slot. If every counter was live, it rests until the first of them expires: those that were
   * charged since then live longer. Holds may end at any time.
   */
  #startAgain(): number {
    const { now } = this.counters;
    if (this.#allLive && !this.holds && this.#hand > 0) {
      this.#restsSince = now;
      this.#restsUntil = Math.min(this.#firstExpiry, this.#startedAgainAt + this.policy.window);
    }
    this.#startedAgainAt = now;
    this.#allLive = true;
    this.#firstExpiry = Number.POSITIVE_INFINITY;
    return 0;
  }

  /** Of a few random slots, the one that holds the least of its limit. Never one at half its limit or more. */
  #leastUsed(others: CounterInUse): number {
    let least = 0.5;
    let oldest = Number.POSITIVE_INFINITY;
    let found = NONE;
    const consider = (slot: number): void => {
      const fraction = this.counters.fraction(slot);
      if (!(fraction <= least) || fraction >= 0.5 || this.#isOneOf(others, slot)) return;
      const liveUntil = this.counters.liveUntil(slot);
      if (fraction === least && liveUntil >= oldest) return;
      least = fraction;
      oldest = liveUntil;
      found = slot;
    };
    for (let i = 0; i < SAMPLE; i++) consider(Math.floor(Math.random() * this.#maxEntries));
    const start = Math.floor(Math.random() * this.#maxEntries);
    for (let i = 0; i < LOOK_ON && found === NONE; i++) consider((start + i) % this.#maxEntries);
    return found;
  }

  #isOneOf(first: CounterInUse | undefined, slot: number): boolean {
    for (let other = first; other !== undefined; other = other.next) {
      if (other.slot === slot && other.counters === this.counters) return true;
    }
    return false;
  }

  #empty(slot: number): void {
    this.#index.delete(this.#hash.of(this.#keys.get(slot)), slot);
    this.counters.clear(slot);
  }
}
