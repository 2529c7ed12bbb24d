import type { QuotaPolicy } from '../policy.js';
import { type EntrySlab, MAX_SIZE_CLASS } from './entry-slab.js';
import { grown, type UnitLog } from './unit-log.js';

const MAX_UNITS = 0xffffffff;

/**
 * The logs of a sliding window: for each slot a ring of entries, each with a time and the units charged then. Times rise from
 * the oldest entry to the newest.
 */
export class WindowLog implements UnitLog {
  readonly #window: number;
  readonly #slab: EntrySlab;
  /** The units of all entries of a slot. */
  #total = new Float64Array(0);
  /** The times of the newest and the oldest entry, held here so that most admissions read no entry. */
  #newestTime = new Float64Array(0);
  #oldestTime = new Float64Array(0);
  #block = new Int32Array(0);
  /** Entries that the block holds, a power of two. Zero without a block. */
  #capacity = new Uint16Array(0);
  #head = new Uint16Array(0);
  #count = new Uint16Array(0);

  constructor(window: number, slab: EntrySlab) {
    this.#window = window;
    this.#slab = slab;
  }

  grow(slots: number): void {
    this.#total = grown(this.#total, slots);
    this.#newestTime = grown(this.#newestTime, slots);
    this.#oldestTime = grown(this.#oldestTime, slots);
    this.#block = grown(this.#block, slots);
    this.#capacity = grown(this.#capacity, slots);
    this.#head = grown(this.#head, slots);
    this.#count = grown(this.#count, slots);
  }

  used(_policy: QuotaPolicy, slot: number, now: number): number {
    if (this.#count[slot] === 0) return 0;
    if ((this.#newestTime[slot] as number) > now + this.#window) this.#bringBack(slot, now);
    const cutoff = now - this.#window;
    if ((this.#oldestTime[slot] as number) <= cutoff) {
      do this.#dropOldest(slot);
      while ((this.#count[slot] as number) > 0 && (this.#oldestTime[slot] as number) <= cutoff);
      this.#dropEmpty(slot);
    }
    return this.#total[slot] as number;
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    if (policy.kind !== 'sliding-window') throw new TypeError(`gatewarden: policy "${policy.name}" has no window`);
    // Rounded up, so that a unit is forgotten late and never early.
    return this.#push(slot, Math.ceil(now / policy.granule) * policy.granule, units);
  }

  addAt(slot: number, time: number, units: number): void {
    this.#push(slot, time, units);
  }

  correct(slot: number, time: number, delta: number): number {
    let low = 0;
    let high = (this.#count[slot] as number) - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#slab.time(this.#entry(slot, middle)) < time) low = middle + 1;
      else high = middle;
    }
    if (high < 0) return 0;
    const entry = this.#entry(slot, low);
    if (this.#slab.time(entry) !== time) return 0;
    const before = this.#slab.units(entry);
    const after = Math.min(MAX_UNITS, Math.max(0, before + delta));
    this.#slab.write(entry, time, after);
    this.#total[slot] = (this.#total[slot] as number) + after - before;
    this.#dropEmpty(slot);
    return after - before;
  }

  resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    if (this.#count[slot] === 0) return now;
    // A correction may have raised the use above the limit. Then several units must leave before one is available.
    const over = (this.#total[slot] as number) - policy.limit;
    const time = over < 1 ? (this.#oldestTime[slot] as number) : this.#timeOfUnits(slot, over + 1);
    return time === undefined ? now : time + this.#window;
  }

  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    if (units > policy.limit) return null;
    const time = this.#timeOfUnits(slot, (this.#total[slot] as number) + units - policy.limit);
    return time === undefined ? null : time + this.#window;
  }

  liveUntil(slot: number): number {
    return this.#count[slot] === 0 ? 0 : (this.#newestTime[slot] as number) + this.#window;
  }

  clear(slot: number): void {
    this.#freeBlock(slot);
    this.#capacity[slot] = 0;
    this.#count[slot] = 0;
    this.#head[slot] = 0;
    this.#total[slot] = 0;
  }

  /** The time of the entry whose departure completes the departure of `units` units, counted from the oldest. */
  #timeOfUnits(slot: number, units: number): number | undefined {
    let sum = 0;
    for (let i = 0; i < (this.#count[slot] as number); i++) {
      const entry = this.#entry(slot, i);
      sum += this.#slab.units(entry);
      if (sum >= units) return this.#slab.time(entry);
    }
    return undefined;
  }

  /** Adds units at `time`, or at the newest entry's time if the clock ran backwards. Returns the time that was used. */
  #push(slot: number, time: number, units: number): number {
    const count = this.#count[slot] as number;
    this.#total[slot] = (this.#total[slot] as number) + units;
    if (count === 0) {
      if (this.#capacity[slot] === 0) {
        this.#capacity[slot] = 1;
        this.#block[slot] = this.#slab.allocate(0);
      }
      this.#oldestTime[slot] = time;
    } else {
      const newestTime = this.#newestTime[slot] as number;
      if (newestTime >= time) {
        const newest = this.#entry(slot, count - 1);
        this.#slab.write(newest, newestTime, Math.min(MAX_UNITS, this.#slab.units(newest) + units));
        return newestTime;
      }
      if (count === this.#capacity[slot]) this.#makeRoom(slot);
    }
    const end = this.#count[slot] as number;
    this.#slab.write(this.#entry(slot, end), time, units);
    this.#count[slot] = end + 1;
    this.#newestTime[slot] = time;
    return time;
  }

  /**
   * Entries further ahead than the window were made while the clock was wrong. They count as made now: they would otherwise
   * stay until the clock is where it was.
   */
  #bringBack(slot: number, now: number): void {
    const latest = now + this.#window;
    let count = this.#count[slot] as number;
    let units = 0;
    for (; count > 0 && this.#slab.time(this.#entry(slot, count - 1)) > latest; count--) {
      units += this.#slab.units(this.#entry(slot, count - 1));
    }
    this.#count[slot] = count;
    this.#total[slot] = (this.#total[slot] as number) - units;
    if (count > 0) this.#newestTime[slot] = this.#slab.time(this.#entry(slot, count - 1));
    if (units > 0) this.#push(slot, now, units);
  }

  #dropOldest(slot: number): void {
    const count = (this.#count[slot] as number) - 1;
    this.#total[slot] = (this.#total[slot] as number) - this.#slab.units(this.#entry(slot, 0));
    this.#head[slot] = (this.#head[slot] as number) + 1;
    this.#count[slot] = count;
    if (count > 0) this.#oldestTime[slot] = this.#slab.time(this.#entry(slot, 0));
  }

  /** Drops the oldest entries that refunds have emptied: the oldest entry must say when units become available. */
  #dropEmpty(slot: number): void {
    while ((this.#count[slot] as number) > 0 && this.#slab.units(this.#entry(slot, 0)) === 0) this.#dropOldest(slot);
  }

  #entry(slot: number, i: number): number {
    const mask = (this.#capacity[slot] as number) - 1;
    return (this.#block[slot] as number) + (((this.#head[slot] as number) + i) & mask);
  }

  #freeBlock(slot: number): void {
    const capacity = this.#capacity[slot] as number;
    if (capacity > 0) this.#slab.release(this.#block[slot] as number, sizeClass(capacity));
  }

  /** Makes room in a full ring: drops the entries that refunds have emptied, or else moves to a block of twice the size. */
  #makeRoom(slot: number): void {
    const count = this.#count[slot] as number;
    const capacity = this.#capacity[slot] as number;
    let remaining = 0;
    for (let i = 0; i < count; i++) {
      const entry = this.#entry(slot, i);
      const units = this.#slab.units(entry);
      if (units === 0) continue;
      if (remaining !== i) this.#slab.write(this.#entry(slot, remaining), this.#slab.time(entry), units);
      remaining++;
    }
    this.#count[slot] = remaining;
    if (remaining < count) return;
    if (sizeClass(capacity) === MAX_SIZE_CLASS)
      throw new RangeError('gatewarden: a window holds more entries than its limit allows');
    const block = this.#slab.allocate(sizeClass(capacity) + 1);
    for (let i = 0; i < count; i++) {
      const entry = this.#entry(slot, i);
      this.#slab.write(block + i, this.#slab.time(entry), this.#slab.units(entry));
    }
    this.#freeBlock(slot);
    this.#block[slot] = block;
    this.#capacity[slot] = capacity * 2;
    this.#head[slot] = 0;
  }
}

function sizeClass(capacity: number): number {
  return 31 - Math.clz32(capacity);
}
