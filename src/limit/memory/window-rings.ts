import { EntrySlab, MAX_SIZE_CLASS } from './entry-slab.js';

const NO_BLOCK = -1;
const MAX_UNITS = 0xffffffff;

/**
 * The logs of sliding windows: for each slot a ring of entries, each with a time and the quota units charged then. Times
 * rise from the oldest entry to the newest. Call `evict` before reading a ring: entries do not leave by themselves.
 */
export class WindowRings {
  readonly #slab = new EntrySlab();
  /** The units of all entries of a slot. Shared with the counter table, which also counts days in it. */
  readonly #total: Float64Array;
  /** The time of the newest entry of a slot. Shared with the counter table. */
  readonly #newestTime: Float64Array;
  /** The time of the oldest entry, held here so that most admissions read no entry. */
  readonly #oldestTime: Float64Array;
  readonly #block: Int32Array;
  readonly #sizeClass: Int8Array;
  readonly #head: Uint16Array;
  readonly #count: Uint16Array;

  constructor(slots: number, total: Float64Array, newestTime: Float64Array) {
    this.#total = total;
    this.#newestTime = newestTime;
    this.#oldestTime = new Float64Array(slots);
    this.#block = new Int32Array(slots);
    this.#sizeClass = new Int8Array(slots);
    this.#head = new Uint16Array(slots);
    this.#count = new Uint16Array(slots);
  }

  /** Starts an empty ring. It holds no block until its first entry. */
  start(slot: number): void {
    this.#block[slot] = NO_BLOCK;
    this.#sizeClass[slot] = NO_BLOCK;
    this.#head[slot] = 0;
    this.#count[slot] = 0;
  }

  /** Frees the ring's block. */
  release(slot: number): void {
    const sizeClass = this.#sizeClass[slot] as number;
    if (sizeClass !== NO_BLOCK) this.#slab.release(this.#block[slot] as number, sizeClass);
  }

  /** Removes the entries whose time is `time` or earlier. */
  evict(slot: number, time: number): void {
    if (this.#count[slot] === 0 || (this.#oldestTime[slot] as number) > time) return;
    do this.#dropOldest(slot);
    while ((this.#count[slot] as number) > 0 && (this.#oldestTime[slot] as number) <= time);
    this.#dropEmpty(slot);
  }

  /** The time of the oldest entry; undefined if there is none. */
  oldestTime(slot: number): number | undefined {
    return this.#count[slot] === 0 ? undefined : this.#oldestTime[slot];
  }

  /** The time of the entry whose departure completes the departure of `units` units, counted from the oldest. */
  timeOfUnits(slot: number, units: number): number | undefined {
    let sum = 0;
    for (let i = 0; i < (this.#count[slot] as number); i++) {
      const entry = this.#entry(slot, i);
      sum += this.#slab.units(entry);
      if (sum >= units) return this.#slab.time(entry);
    }
    return undefined;
  }

  /** Adds units at `time`, or at the newest entry's time if the clock ran backwards. Returns the time that was used. */
  push(slot: number, time: number, units: number): number {
    const count = this.#count[slot] as number;
    this.#total[slot] = (this.#total[slot] as number) + units;
    if (count === 0) {
      if (this.#sizeClass[slot] === NO_BLOCK) {
        this.#sizeClass[slot] = 0;
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
      if (count === 1 << (this.#sizeClass[slot] as number)) this.#makeRoom(slot);
    }
    const end = this.#count[slot] as number;
    this.#slab.write(this.#entry(slot, end), time, units);
    this.#count[slot] = end + 1;
    this.#newestTime[slot] = time;
    return time;
  }

  /** Adds `delta` units, which may be negative, to the entry of exactly this time. Does nothing if it has left the window. */
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

  /** Adds the entries of ring `from` to ring `to`. */
  copy(to: number, from: number): void {
    for (let i = 0; i < (this.#count[from] as number); i++) {
      const entry = this.#entry(from, i);
      if (this.#slab.units(entry) > 0) this.push(to, this.#slab.time(entry), this.#slab.units(entry));
    }
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
    const mask = (1 << (this.#sizeClass[slot] as number)) - 1;
    return (this.#block[slot] as number) + (((this.#head[slot] as number) + i) & mask);
  }

  /** Makes room in a full ring: drops the entries that refunds have emptied, or else moves to a block of twice the size. */
  #makeRoom(slot: number): void {
    const count = this.#count[slot] as number;
    const sizeClass = this.#sizeClass[slot] as number;
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
    if (sizeClass === MAX_SIZE_CLASS)
      throw new RangeError('gatewarden: a window holds more entries than its limit allows');
    const block = this.#slab.allocate(sizeClass + 1);
    for (let i = 0; i < count; i++) {
      const entry = this.#entry(slot, i);
      this.#slab.write(block + i, this.#slab.time(entry), this.#slab.units(entry));
    }
    this.release(slot);
    this.#block[slot] = block;
    this.#sizeClass[slot] = sizeClass + 1;
    this.#head[slot] = 0;
  }
}
