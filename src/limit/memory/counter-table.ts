import type { QuotaPolicy } from '../policy.js';
import { KeyIndex } from './key-index.js';
import { detachedKey, SlotKeys } from './slot-keys.js';
import { WindowRings } from './window-rings.js';

const NONE = -1;
/** Policies of one store. They come from the service's own settings: a store that sees more is misused. */
const MAX_POLICIES = 1024;

/**
 * Counters in columns: slot `i` of each typed array belongs to counter `i`. A counter is one policy's count for one key.
 * The counters of a key are chained, so that a request with several policies for one key looks the key up once. The
 * counters of a policy are linked in the order of their last charge, which is the order in which they expire.
 */
export class CounterTable {
  /** The logs of sliding windows. */
  readonly rings: WindowRings;
  readonly #maxEntries: number;
  readonly #index: KeyIndex;
  readonly #keys = new SlotKeys();
  readonly #policyNumbers = new Map<string, number>();
  // By policy number.
  readonly #windows: number[] = [];
  readonly #oldest: number[] = [];
  readonly #newest: number[] = [];
  readonly #overflow: number[] = [];
  /** The first free slot; `#after` links the others. */
  #firstFree = NONE;
  #freeCount = 0;
  #used = 0;

  readonly #policy: Uint16Array;
  readonly #sibling: Int32Array;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #generation: Uint32Array;
  /** Quota units in use. */
  readonly #total: Float64Array;
  /** Sliding window: time of the newest entry. Daily quota: end of the day that is counted. */
  readonly #time: Float64Array;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
    this.#index = new KeyIndex(maxEntries);
    // Overflow counters have slots of their own. The system commits the memory of these arrays only as they are written.
    const slots = maxEntries + MAX_POLICIES;
    this.#policy = new Uint16Array(slots);
    this.#sibling = new Int32Array(slots);
    this.#before = new Int32Array(slots);
    this.#after = new Int32Array(slots);
    this.#generation = new Uint32Array(slots);
    this.#total = new Float64Array(slots);
    this.#time = new Float64Array(slots);
    this.rings = new WindowRings(slots, this.#total, this.#time);
  }

  /** Counters in use. */
  get size(): number {
    return this.#used - this.#freeCount;
  }

  /** The number of a policy in this table. @throws RangeError for one policy more than a table holds */
  policyNumber(policy: QuotaPolicy): number {
    const existing = this.#policyNumbers.get(policy.id);
    if (existing !== undefined) return existing;
    const number = this.#windows.length;
    if (number === MAX_POLICIES) throw new RangeError(`gatewarden: memoryStore holds at most ${MAX_POLICIES} policies`);
    this.#policyNumbers.set(policy.id, number);
    this.#windows.push(policy.kind === 'sliding-window' ? policy.window : 0);
    this.#oldest.push(NONE);
    this.#newest.push(NONE);
    this.#overflow.push(NONE);
    return number;
  }

  /** The counter of a key, or NONE. */
  find(policy: number, key: string): number {
    let slot = this.#index.get(key) ?? NONE;
    while (slot !== NONE && this.#policy[slot] !== policy) slot = this.#sibling[slot] as number;
    return slot;
  }

  /** A new counter, or NONE if the table is full of live ones. Never reuses a counter in `pinned`. */
  create(policy: number, key: string, now: number, pinned: readonly number[]): number {
    const slot = this.#claimSlot(now, pinned);
    if (slot === NONE) return NONE;
    this.#clear(slot, policy);
    const sibling = this.#index.get(key);
    const heldKey = sibling === undefined ? detachedKey(key) : this.#keys.get(sibling);
    this.#keys.set(slot, heldKey);
    this.#sibling[slot] = sibling ?? NONE;
    this.#index.set(heldKey, slot);
    this.#link(slot, policy);
    return slot;
  }

  /** The counter that all keys without one share while the table is full. Made at its first use. */
  overflow(policy: number): number {
    const existing = this.#overflow[policy] as number;
    if (existing !== NONE) return existing;
    const slot = this.#maxEntries + policy;
    this.#clear(slot, policy);
    this.#overflow[policy] = slot;
    return slot;
  }

  hasOverflow(policy: number): boolean {
    return this.#overflow[policy] !== NONE;
  }

  /** Frees a counter. Does nothing for an overflow counter. */
  free(slot: number): void {
    if (slot >= this.#maxEntries) return;
    this.#unlink(slot);
    this.#unchain(slot);
    this.rings.release(slot);
    this.#generation[slot] = (this.#generation[slot] as number) + 1;
    this.#keys.set(slot, '');
    this.#after[slot] = this.#firstFree;
    this.#firstFree = slot;
    this.#freeCount++;
  }

  /** Frees up to `most` expired counters of a policy. Stops at one in `pinned`. */
  sweep(policy: number, now: number, most: number, pinned: readonly number[]): void {
    for (let i = 0; i < most; i++) {
      const slot = this.#oldest[policy] as number;
      if (slot === NONE || !this.#expired(slot, now) || pinned.includes(slot)) return;
      this.free(slot);
    }
  }

  /** Changes each time a slot is freed, so that a receipt of its former counter can be recognized. */
  generation(slot: number): number {
    return this.#generation[slot] as number;
  }

  /** Quota units in use. */
  total(slot: number): number {
    return this.#total[slot] as number;
  }

  /** Sliding window: time of the newest entry. Daily quota: end of the day that is counted. */
  time(slot: number): number {
    return this.#time[slot] as number;
  }

  /** Starts counting the day that ends at `end`. */
  startDay(slot: number, end: number): void {
    this.#total[slot] = 0;
    this.#time[slot] = end;
  }

  /** Adds units, which may be negative, to the day that is counted. */
  addToDay(slot: number, units: number): void {
    this.#total[slot] = Math.max(0, (this.#total[slot] as number) + units);
  }

  /** Makes a counter the last of its policy to expire. */
  touch(slot: number): void {
    const policy = this.#policy[slot] as number;
    if (slot >= this.#maxEntries || this.#newest[policy] === slot) return;
    this.#unlink(slot);
    this.#link(slot, policy);
  }

  #claimSlot(now: number, pinned: readonly number[]): number {
    if (this.#firstFree !== NONE) return this.#claimFree();
    if (this.#used < this.#maxEntries) return this.#used++;
    for (let policy = 0; policy < this.#oldest.length; policy++) {
      const slot = this.#oldest[policy] as number;
      if (slot === NONE || !this.#expired(slot, now) || pinned.includes(slot)) continue;
      this.free(slot);
      return this.#claimFree();
    }
    return NONE;
  }

  #claimFree(): number {
    const slot = this.#firstFree;
    this.#firstFree = this.#after[slot] as number;
    this.#freeCount--;
    return slot;
  }

  #expired(slot: number, now: number): boolean {
    return (this.#time[slot] as number) + (this.#windows[this.#policy[slot] as number] as number) <= now;
  }

  #clear(slot: number, policy: number): void {
    this.#policy[slot] = policy;
    this.#total[slot] = 0;
    this.#time[slot] = 0;
    this.rings.start(slot);
  }

  #link(slot: number, policy: number): void {
    const last = this.#newest[policy] as number;
    this.#before[slot] = last;
    this.#after[slot] = NONE;
    if (last === NONE) this.#oldest[policy] = slot;
    else this.#after[last] = slot;
    this.#newest[policy] = slot;
  }

  #unlink(slot: number): void {
    const policy = this.#policy[slot] as number;
    const before = this.#before[slot] as number;
    const after = this.#after[slot] as number;
    if (before === NONE) this.#oldest[policy] = after;
    else this.#after[before] = after;
    if (after === NONE) this.#newest[policy] = before;
    else this.#before[after] = before;
  }

  #unchain(slot: number): void {
    const key = this.#keys.get(slot);
    const rest = this.#sibling[slot] as number;
    let current = this.#index.get(key) as number;
    if (current === slot) {
      if (rest === NONE) this.#index.delete(key);
      else this.#index.set(key, rest);
      return;
    }
    while (this.#sibling[current] !== slot) current = this.#sibling[current] as number;
    this.#sibling[current] = rest;
  }
}
