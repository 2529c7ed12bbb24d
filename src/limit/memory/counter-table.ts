import type { QuotaPolicy } from '../policy.js';
import { EntrySlab, MAX_SIZE_CLASS } from './entry-slab.js';
import { KeyIndex } from './key-index.js';

const NONE = -1;
const KEY_BITS = 12;
/** Policies of one store. They come from the service's own settings, so a store that meets more is misused. */
const MAX_POLICIES = 1024;
const MAX_UNITS = 0xffffffff;

/**
 * Counters in columns: slot `i` of each typed array belongs to counter `i`. A counter is one policy's count for one key;
 * the counters of a key are chained, so that a request with several policies on one key looks it up once. Each policy's
 * counters also stand in a list in the order of their last charge, which is the order in which they expire.
 */
export class CounterTable {
  readonly #capacity: number;
  readonly #index: KeyIndex;
  readonly #slab = new EntrySlab();
  readonly #policyIds = new Map<string, number>();
  readonly #windows: number[] = [];
  readonly #oldest: number[] = [];
  readonly #newest: number[] = [];
  readonly #overflow: number[] = [];
  /** In pieces: an array of a million would stop the process each time that it grows. */
  readonly #keys: string[][] = [];
  /** First free slot; `#after` leads to the others. */
  #free = NONE;
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
  /** Sliding window: time of the oldest entry, kept here so that most admissions read no entry. */
  readonly #oldestTime: Float64Array;
  readonly #block: Int32Array;
  readonly #sizeClass: Int8Array;
  readonly #head: Uint16Array;
  readonly #count: Uint16Array;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#index = new KeyIndex(capacity);
    // Overflow counters have their own room. The system gives memory to these arrays only as they are written to.
    const slots = capacity + MAX_POLICIES;
    this.#policy = new Uint16Array(slots);
    this.#sibling = new Int32Array(slots);
    this.#before = new Int32Array(slots);
    this.#after = new Int32Array(slots);
    this.#generation = new Uint32Array(slots);
    this.#total = new Float64Array(slots);
    this.#time = new Float64Array(slots);
    this.#oldestTime = new Float64Array(slots);
    this.#block = new Int32Array(slots);
    this.#sizeClass = new Int8Array(slots);
    this.#head = new Uint16Array(slots);
    this.#count = new Uint16Array(slots);
  }

  /** Counters in use. */
  get size(): number {
    return this.#used - this.#freeCount;
  }

  policyNumber(policy: QuotaPolicy): number {
    const known = this.#policyIds.get(policy.id);
    if (known !== undefined) return known;
    const number = this.#windows.length;
    if (number === MAX_POLICIES) throw new RangeError(`gatewarden: memoryStore holds at most ${MAX_POLICIES} policies`);
    this.#policyIds.set(policy.id, number);
    this.#windows.push(policy.kind === 'sliding-window' ? policy.window : 0);
    this.#oldest.push(NONE);
    this.#newest.push(NONE);
    this.#overflow.push(NONE);
    return number;
  }

  find(policy: number, key: string): number {
    let slot = this.#index.get(key) ?? NONE;
    while (slot !== NONE && this.#policy[slot] !== policy) slot = this.#sibling[slot] as number;
    return slot;
  }

  /** A new counter, or NONE where the table is full of live ones. Counters in `pinned` are not taken from their keys. */
  create(policy: number, key: string, now: number, pinned: readonly number[]): number {
    const slot = this.#room(now, pinned);
    if (slot === NONE) return NONE;
    this.#clear(slot, policy);
    const sibling = this.#index.get(key);
    // A copy, where it is new here: a piece cut from a long header would keep the whole header alive.
    const own = sibling === undefined ? copyOf(key) : this.#keyOf(sibling);
    this.#setKey(slot, own);
    this.#sibling[slot] = sibling ?? NONE;
    this.#index.set(own, slot);
    this.#link(slot, policy);
    return slot;
  }

  /** The counter that all keys without one share while the table is full; made when first asked for. */
  overflow(policy: number): number {
    const slot = this.#overflow[policy] as number;
    if (slot !== NONE) return slot;
    const made = this.#capacity + policy;
    this.#clear(made, policy);
    this.#overflow[policy] = made;
    return made;
  }

  hasOverflow(policy: number): boolean {
    return this.#overflow[policy] !== NONE;
  }

  /** Frees a counter, unless it is an overflow counter. */
  free(slot: number): void {
    if (slot >= this.#capacity) return;
    this.#unlink(slot);
    this.#unchain(slot);
    this.#releaseBlock(slot);
    this.#generation[slot] = (this.#generation[slot] as number) + 1;
    this.#setKey(slot, '');
    this.#after[slot] = this.#free;
    this.#free = slot;
    this.#freeCount++;
  }

  /** Frees up to `most` counters of a policy that no longer count anything, stopping at one that is `pinned`. */
  sweep(policy: number, now: number, most: number, pinned: readonly number[]): void {
    for (let i = 0; i < most; i++) {
      const slot = this.#oldest[policy] as number;
      if (slot === NONE || !this.#expired(slot, now) || pinned.includes(slot)) return;
      this.free(slot);
    }
  }

  generation(slot: number): number {
    return this.#generation[slot] as number;
  }

  total(slot: number): number {
    return this.#total[slot] as number;
  }

  /** See `#time`. */
  time(slot: number): number {
    return this.#time[slot] as number;
  }

  // Daily quotas: a total and the end of its day.

  startDay(slot: number, end: number): void {
    this.#total[slot] = 0;
    this.#time[slot] = end;
  }

  addToDay(slot: number, units: number): void {
    this.#total[slot] = Math.max(0, (this.#total[slot] as number) + units);
  }

  /** Puts a counter last in the order of expiry. */
  touch(slot: number): void {
    const policy = this.#policy[slot] as number;
    if (slot >= this.#capacity || this.#newest[policy] === slot) return;
    this.#unlink(slot);
    this.#link(slot, policy);
  }

  // Sliding windows: a ring of entries, times rising.

  /** Forgets entries of `deadline` and before. */
  evict(slot: number, deadline: number): void {
    if (this.#count[slot] === 0 || (this.#oldestTime[slot] as number) > deadline) return;
    do this.#dropOldest(slot);
    while ((this.#count[slot] as number) > 0 && (this.#oldestTime[slot] as number) <= deadline);
    this.#dropEmpty(slot);
  }

  /** Time of the oldest entry; undefined when there is none. Evict first. */
  oldestTime(slot: number): number | undefined {
    return this.#count[slot] === 0 ? undefined : this.#oldestTime[slot];
  }

  /** Time of the entry with which `units` units, counted from the oldest, will have left. */
  timeOfUnits(slot: number, units: number): number | undefined {
    let sum = 0;
    for (let i = 0; i < (this.#count[slot] as number); i++) {
      const entry = this.#entry(slot, i);
      sum += this.#slab.units(entry);
      if (sum >= units) return this.#slab.time(entry);
    }
    return undefined;
  }

  /** Adds units at `time`, or at the newest entry's time where the clock has run backwards; returns the time taken. */
  push(slot: number, time: number, units: number): number {
    const count = this.#count[slot] as number;
    this.#total[slot] = (this.#total[slot] as number) + units;
    if (count === 0) {
      if (this.#sizeClass[slot] === NONE) {
        this.#sizeClass[slot] = 0;
        this.#block[slot] = this.#slab.take(0);
      }
      this.#oldestTime[slot] = time;
    } else {
      const newestTime = this.#time[slot] as number;
      if (newestTime >= time) {
        const newest = this.#entry(slot, count - 1);
        this.#slab.write(newest, newestTime, Math.min(MAX_UNITS, this.#slab.units(newest) + units));
        return newestTime;
      }
      if (count === 1 << (this.#sizeClass[slot] as number)) this.#makeRoom(slot);
    }
    const at = this.#count[slot] as number;
    this.#slab.write(this.#entry(slot, at), time, units);
    this.#count[slot] = at + 1;
    this.#time[slot] = time;
    return time;
  }

  /** Adds `delta` units, or takes them away, in the entry of exactly this time; nothing where it has left the window. */
  correct(slot: number, time: number, delta: number): void {
    let low = 0;
    let high = (this.#count[slot] as number) - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#slab.time(this.#entry(slot, middle)) < time) low = middle + 1;
      else high = middle;
    }
    if (high < 0) return;
    const entry = this.#entry(slot, low);
    if (this.#slab.time(entry) !== time) return;
    const before = this.#slab.units(entry);
    const after = Math.min(MAX_UNITS, Math.max(0, before + delta));
    this.#slab.write(entry, time, after);
    this.#total[slot] = (this.#total[slot] as number) + after - before;
    this.#dropEmpty(slot);
  }

  /** Gives `slot` the same entries as `from`. */
  copyEntries(slot: number, from: number): void {
    for (let i = 0; i < (this.#count[from] as number); i++) {
      const entry = this.#entry(from, i);
      if (this.#slab.units(entry) > 0) this.push(slot, this.#slab.time(entry), this.#slab.units(entry));
    }
  }

  #dropOldest(slot: number): void {
    const count = (this.#count[slot] as number) - 1;
    this.#total[slot] = (this.#total[slot] as number) - this.#slab.units(this.#entry(slot, 0));
    this.#head[slot] = (this.#head[slot] as number) + 1;
    this.#count[slot] = count;
    if (count > 0) this.#oldestTime[slot] = this.#slab.time(this.#entry(slot, 0));
  }

  /** Drops oldest entries that refunds have emptied: the oldest one tells when further units come free. */
  #dropEmpty(slot: number): void {
    while ((this.#count[slot] as number) > 0 && this.#slab.units(this.#entry(slot, 0)) === 0) this.#dropOldest(slot);
  }

  #entry(slot: number, i: number): number {
    const mask = (1 << (this.#sizeClass[slot] as number)) - 1;
    return (this.#block[slot] as number) + (((this.#head[slot] as number) + i) & mask);
  }

  /** A full ring drops entries that refunds have emptied, or else moves to a block of twice the size. */
  #makeRoom(slot: number): void {
    const count = this.#count[slot] as number;
    const sizeClass = this.#sizeClass[slot] as number;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const entry = this.#entry(slot, i);
      const units = this.#slab.units(entry);
      if (units === 0) continue;
      if (kept !== i) this.#slab.write(this.#entry(slot, kept), this.#slab.time(entry), units);
      kept++;
    }
    this.#count[slot] = kept;
    if (kept < count) return;
    if (sizeClass === MAX_SIZE_CLASS)
      throw new RangeError('gatewarden: a window holds more entries than its limit allows');
    const block = this.#slab.take(sizeClass + 1);
    for (let i = 0; i < count; i++) {
      const entry = this.#entry(slot, i);
      this.#slab.write(block + i, this.#slab.time(entry), this.#slab.units(entry));
    }
    this.#releaseBlock(slot);
    this.#block[slot] = block;
    this.#sizeClass[slot] = sizeClass + 1;
    this.#head[slot] = 0;
  }

  #room(now: number, pinned: readonly number[]): number {
    if (this.#free !== NONE) return this.#takeFree();
    if (this.#used < this.#capacity) return this.#used++;
    for (let policy = 0; policy < this.#oldest.length; policy++) {
      const slot = this.#oldest[policy] as number;
      if (slot === NONE || !this.#expired(slot, now) || pinned.includes(slot)) continue;
      this.free(slot);
      return this.#takeFree();
    }
    return NONE;
  }

  #takeFree(): number {
    const slot = this.#free;
    this.#free = this.#after[slot] as number;
    this.#freeCount--;
    return slot;
  }

  #setKey(slot: number, key: string): void {
    const piece = this.#keys[slot >> KEY_BITS];
    if (piece === undefined) this.#keys[slot >> KEY_BITS] = [key];
    else piece[slot & ((1 << KEY_BITS) - 1)] = key;
  }

  #keyOf(slot: number): string {
    return this.#keys[slot >> KEY_BITS]?.[slot & ((1 << KEY_BITS) - 1)] as string;
  }

  #expired(slot: number, now: number): boolean {
    return (this.#time[slot] as number) + (this.#windows[this.#policy[slot] as number] as number) <= now;
  }

  #clear(slot: number, policy: number): void {
    this.#policy[slot] = policy;
    this.#total[slot] = 0;
    this.#time[slot] = 0;
    this.#block[slot] = NONE;
    this.#sizeClass[slot] = NONE;
    this.#head[slot] = 0;
    this.#count[slot] = 0;
  }

  #releaseBlock(slot: number): void {
    const sizeClass = this.#sizeClass[slot] as number;
    if (sizeClass !== NONE) this.#slab.give(this.#block[slot] as number, sizeClass);
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
    const key = this.#keyOf(slot);
    const rest = this.#sibling[slot] as number;
    let at = this.#index.get(key) as number;
    if (at === slot) {
      if (rest === NONE) this.#index.delete(key);
      else this.#index.set(key, rest);
      return;
    }
    while (this.#sibling[at] !== slot) at = this.#sibling[at] as number;
    this.#sibling[at] = rest;
  }
}

/** V8 cuts no shorter piece out of another string without copying it. */
const SHORTEST_PIECE = 13;

/** The same text in memory of its own, whatever it was cut from. */
function copyOf(key: string): string {
  if (key.length < SHORTEST_PIECE) return key;
  const narrow = Buffer.from(key, 'latin1').toString('latin1');
  return narrow === key ? narrow : Buffer.from(key, 'utf16le').toString('utf16le');
}
