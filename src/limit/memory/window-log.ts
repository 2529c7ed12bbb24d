import type { QuotaPolicy } from '../policy.js';
import { type EntrySlab, MAX_SIZE_CLASS } from './entry-slab.js';
import { placeOf, SEGMENT, Segments } from './segments.js';
import type { UnitLog } from './unit-log.js';

const MAX_UNITS = 0xffffffff;

class WindowColumns {
  /** The units of all entries. */
  readonly total = new Float64Array(SEGMENT);
  /** The times of the newest and the oldest entry, held here so that most admissions read no entry. */
  readonly newest = new Float64Array(SEGMENT);
  readonly oldest = new Float64Array(SEGMENT);
  readonly block = new Int32Array(SEGMENT);
  /** Entries that the block holds, a power of two. Zero without a block. */
  readonly capacity = new Uint16Array(SEGMENT);
  readonly head = new Uint16Array(SEGMENT);
  readonly count = new Uint16Array(SEGMENT);

  /** Where in the slab entry `n` of log `i` is. */
  entry(i: number, n: number): number {
    const mask = (this.capacity[i] as number) - 1;
    return (this.block[i] as number) + (((this.head[i] as number) + n) & mask);
  }
}

/**
 * The logs of a sliding window: for each slot a ring of entries, each with a time and the units charged then. Times rise from
 * the oldest entry to the newest.
 */
export class WindowLog implements UnitLog {
  readonly #window: number;
  readonly #slab: EntrySlab;
  readonly #segments = new Segments(() => new WindowColumns());

  constructor(window: number, slab: EntrySlab) {
    this.#window = window;
    this.#slab = slab;
  }

  used(_policy: QuotaPolicy, slot: number, now: number): number {
    const logs = this.#segments.get(slot);
    const i = placeOf(slot);
    if (logs === undefined || logs.count[i] === 0) return 0;
    if ((logs.newest[i] as number) > now + this.#window) this.#bringBack(logs, i, now);
    const cutoff = now - this.#window;
    if ((logs.oldest[i] as number) <= cutoff) {
      do this.#dropOldest(logs, i);
      while ((logs.count[i] as number) > 0 && (logs.oldest[i] as number) <= cutoff);
      this.#dropEmpty(logs, i);
    }
    return logs.total[i] as number;
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    if (policy.kind !== 'sliding-window') throw new TypeError(`gatewarden: policy "${policy.name}" has no window`);
    // Rounded up, so that a unit is forgotten late and never early.
    const time = Math.ceil(now / policy.granule) * policy.granule;
    return this.#push(this.#segments.of(slot), placeOf(slot), time, units);
  }

  addAt(slot: number, time: number, units: number): void {
    this.#push(this.#segments.of(slot), placeOf(slot), time, units);
  }

  correct(slot: number, time: number, delta: number, now: number): number {
    const logs = this.#segments.get(slot);
    const i = placeOf(slot);
    if (logs === undefined || logs.count[i] === 0 || time + this.#window <= now) return 0;
    let low = 0;
    let high = (logs.count[i] as number) - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#slab.time(logs.entry(i, middle)) < time) low = middle + 1;
      else high = middle;
    }
    const entry = logs.entry(i, low);
    if (this.#slab.time(entry) !== time) return 0;
    const before = this.#slab.units(entry);
    const after = Math.min(MAX_UNITS, Math.max(0, before + delta));
    this.#slab.write(entry, time, after);
    logs.total[i] = (logs.total[i] as number) + after - before;
    this.#dropEmpty(logs, i);
    return after - before;
  }

  resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    const logs = this.#segments.get(slot);
    const i = placeOf(slot);
    if (logs === undefined || logs.count[i] === 0) return now;
    // A correction may have raised the use above the limit. Then several units must leave before one is available.
    const over = (logs.total[i] as number) - policy.limit;
    const time = over < 1 ? (logs.oldest[i] as number) : this.#timeOfUnits(logs, i, over + 1);
    return time === undefined ? now : time + this.#window;
  }

  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    const logs = this.#segments.get(slot);
    if (logs === undefined || units > policy.limit) return null;
    const i = placeOf(slot);
    const time = this.#timeOfUnits(logs, i, (logs.total[i] as number) + units - policy.limit);
    return time === undefined ? null : time + this.#window;
  }

  liveUntil(slot: number): number {
    const logs = this.#segments.get(slot);
    const i = placeOf(slot);
    return logs === undefined || logs.count[i] === 0 ? 0 : (logs.newest[i] as number) + this.#window;
  }

  clear(slot: number): void {
    const logs = this.#segments.get(slot);
    const i = placeOf(slot);
    if (logs === undefined || logs.capacity[i] === 0) return;
    this.#freeBlock(logs, i);
    logs.capacity[i] = 0;
    logs.count[i] = 0;
    logs.head[i] = 0;
    logs.total[i] = 0;
  }

  /** The time of the entry whose departure completes the departure of `units` units, counted from the oldest. */
  #timeOfUnits(logs: WindowColumns, i: number, units: number): number | undefined {
    let sum = 0;
    for (let n = 0; n < (logs.count[i] as number); n++) {
      const entry = logs.entry(i, n);
      sum += this.#slab.units(entry);
      if (sum >= units) return this.#slab.time(entry);
    }
    return undefined;
  }

  /** Adds units at `time`, or at the newest entry's time if the clock ran backwards. Returns the time that was used. */
  #push(logs: WindowColumns, i: number, time: number, units: number): number {
    const count = logs.count[i] as number;
    logs.total[i] = (logs.total[i] as number) + units;
    if (count === 0) {
      if (logs.capacity[i] === 0) {
        logs.capacity[i] = 1;
        logs.block[i] = this.#slab.allocate(0);
      }
      logs.oldest[i] = time;
    } else {
      const newestTime = logs.newest[i] as number;
      if (newestTime >= time) {
        const newest = logs.entry(i, count - 1);
        this.#slab.write(newest, newestTime, Math.min(MAX_UNITS, this.#slab.units(newest) + units));
        return newestTime;
      }
      if (count === logs.capacity[i]) this.#makeRoom(logs, i);
    }
    const end = logs.count[i] as number;
    this.#slab.write(logs.entry(i, end), time, units);
    logs.count[i] = end + 1;
    logs.newest[i] = time;
    return time;
  }

  /**
   * Entries further ahead than the window were made while the clock was wrong. They count as made now: they would otherwise
   * stay until the clock is where it was.
   */
  #bringBack(logs: WindowColumns, i: number, now: number): void {
    const latest = now + this.#window;
    let count = logs.count[i] as number;
    let units = 0;
    for (; count > 0 && this.#slab.time(logs.entry(i, count - 1)) > latest; count--) {
      units += this.#slab.units(logs.entry(i, count - 1));
    }
    logs.count[i] = count;
    logs.total[i] = (logs.total[i] as number) - units;
    if (count > 0) logs.newest[i] = this.#slab.time(logs.entry(i, count - 1));
    if (units > 0) this.#push(logs, i, now, units);
  }

  #dropOldest(logs: WindowColumns, i: number): void {
    const count = (logs.count[i] as number) - 1;
    logs.total[i] = (logs.total[i] as number) - this.#slab.units(logs.entry(i, 0));
    logs.head[i] = (logs.head[i] as number) + 1;
    logs.count[i] = count;
    if (count > 0) logs.oldest[i] = this.#slab.time(logs.entry(i, 0));
  }

  /** Drops the oldest entries that refunds have emptied: the oldest entry must say when units become available. */
  #dropEmpty(logs: WindowColumns, i: number): void {
    while ((logs.count[i] as number) > 0 && this.#slab.units(logs.entry(i, 0)) === 0) this.#dropOldest(logs, i);
  }

  #freeBlock(logs: WindowColumns, i: number): void {
    this.#slab.release(logs.block[i] as number, sizeClass(logs.capacity[i] as number));
  }

  /** Makes room in a full ring: drops the entries that refunds have emptied, or else moves to a block of twice the size. */
  #makeRoom(logs: WindowColumns, i: number): void {
    const count = logs.count[i] as number;
    const capacity = logs.capacity[i] as number;
    let remaining = 0;
    for (let n = 0; n < count; n++) {
      const entry = logs.entry(i, n);
      const units = this.#slab.units(entry);
      if (units === 0) continue;
      if (remaining !== n) this.#slab.write(logs.entry(i, remaining), this.#slab.time(entry), units);
      remaining++;
    }
    logs.count[i] = remaining;
    if (remaining < count) return;
    if (sizeClass(capacity) === MAX_SIZE_CLASS)
      throw new RangeError('gatewarden: a window holds more entries than its limit allows');
    const block = this.#slab.allocate(sizeClass(capacity) + 1);
    for (let n = 0; n < count; n++) {
      const entry = logs.entry(i, n);
      this.#slab.write(block + n, this.#slab.time(entry), this.#slab.units(entry));
    }
    this.#freeBlock(logs, i);
    logs.block[i] = block;
    logs.capacity[i] = capacity * 2;
    logs.head[i] = 0;
  }
}

function sizeClass(capacity: number): number {
  return 31 - Math.clz32(capacity);
}
