import type { QuotaPolicy } from '../policy.js';
import type { EntrySlab } from './entry-slab.js';
import { Segments } from './segments.js';
import type { LogCharge, UnitLog } from './unit-log.js';
import {
  addToNewest,
  COUNT,
  clear,
  drop,
  entryOf,
  isFull,
  MAX_UNITS,
  makeRoom,
  NEWEST,
  numbersOf,
  OLDEST,
  RING,
  startRing,
  TOTAL,
  WindowRecords,
  wordsOf,
} from './window-records.js';
import { NOT_TAKEN, takeUnits, tickOf } from './window-take.js';

/**
 * The logs of a sliding window: for each slot entries with a time and the units charged then. Times rise from the oldest
 * entry to the newest.
 */
export class WindowLog implements UnitLog {
  readonly #window: number;
  readonly slab: EntrySlab;
  readonly #segments = new Segments(() => new WindowRecords());

  constructor(window: number, slab: EntrySlab) {
    this.#window = window;
    this.slab = slab;
  }

  used(_policy: QuotaPolicy, slot: number, now: number): number {
    const log = this.#segments.get(slot);
    if (log === undefined) return 0;
    const { numbers } = log;
    const d = numbersOf(slot);
    // Zero in an empty log.
    if (numbers[d + TOTAL] === 0) return 0;
    if ((numbers[d + NEWEST] as number) > now + this.#window) this.#bringBack(log, slot, now);
    if ((numbers[d + OLDEST] as number) <= now - this.#window) drop(log, slot, now - this.#window, this.slab);
    return numbers[d + TOTAL] as number;
  }

  charge(charge: LogCharge): void {
    const { slot, now } = charge;
    const log = this.#segments.of(slot);
    charge.ahead = this.#append(log, slot, tickOf(charge.policy, now), charge.units) - now;
    // What is charged fits, so one unit becomes available when the oldest leaves.
    charge.wait = (log.numbers[numbersOf(slot) + OLDEST] as number) + this.#window - now;
  }

  /** Units in use, or more: those that no longer count may be among them. */
  atMost(slot: number): number {
    const log = this.#segments.get(slot);
    return log === undefined ? 0 : (log.numbers[numbersOf(slot) + TOTAL] as number);
  }

  /**
   * `used` and `charge` in one step, for most charges of a busy log. Returns the units that were in use. If the units do not
   * fit, or the log has another shape, it returns NOT_TAKEN and has changed nothing.
   */
  take(charge: LogCharge): number {
    const log = this.#segments.get(charge.slot);
    return log === undefined ? NOT_TAKEN : takeUnits(log, charge, this.#window, this.slab);
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    return this.#append(this.#segments.of(slot), slot, tickOf(policy, now), units);
  }

  addAt(slot: number, time: number, units: number): number {
    return this.#append(this.#segments.of(slot), slot, time, units);
  }

  #append(log: WindowRecords, slot: number, time: number, units: number): number {
    const { numbers, words } = log;
    const d = numbersOf(slot);
    const w = wordsOf(slot);
    const ring = words[w + RING] as number;
    const count = ring & COUNT;
    const newest = numbers[d + NEWEST] as number;
    const total = numbers[d + TOTAL] as number;
    let held = Math.min(MAX_UNITS, units);
    if (count === 0) {
      numbers[d + OLDEST] = time;
      words[w + RING] = (ring & ~COUNT) | 1;
    } else if (newest >= time) {
      held = addToNewest(log, slot, units, this.slab);
      numbers[d + TOTAL] = total + held;
      return newest;
    } else if (count === 1) {
      startRing(log, slot, time, held, this.slab);
    } else {
      if (isFull(ring)) makeRoom(log, slot, this.slab);
      const end = (words[w + RING] as number) & COUNT;
      this.slab.write(entryOf(words, w, end), time, held);
      words[w + RING] = (words[w + RING] as number) + 1;
    }
    numbers[d + NEWEST] = time;
    numbers[d + TOTAL] = total + held;
    return time;
  }

  correct(slot: number, time: number, delta: number, now: number): number {
    const log = this.#segments.get(slot);
    if (log === undefined || time + this.#window <= now) return 0;
    const { numbers, words } = log;
    const d = numbersOf(slot);
    const w = wordsOf(slot);
    const count = (words[w + RING] as number) & COUNT;
    if (count === 0) return 0;
    const total = numbers[d + TOTAL] as number;
    if (count === 1) {
      if (numbers[d + NEWEST] !== time) return 0;
      const after = Math.min(MAX_UNITS, Math.max(0, total + delta));
      numbers[d + TOTAL] = after;
      if (after === 0) words[w + RING] = (words[w + RING] as number) & ~COUNT;
      return after - total;
    }
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.slab.time(entryOf(words, w, middle)) < time) low = middle + 1;
      else high = middle;
    }
    const entry = entryOf(words, w, low);
    if (this.slab.time(entry) !== time) return 0;
    const before = this.slab.units(entry);
    const after = Math.min(MAX_UNITS, Math.max(0, before + delta));
    this.slab.write(entry, time, after);
    numbers[d + TOTAL] = total + after - before;
    if (low === 0 && after === 0) drop(log, slot, Number.NEGATIVE_INFINITY, this.slab);
    return after - before;
  }

  resetAt(_policy: QuotaPolicy, limit: number, slot: number, now: number): number {
    const log = this.#segments.get(slot);
    if (log === undefined) return now;
    const d = numbersOf(slot);
    const total = log.numbers[d + TOTAL] as number;
    if (total === 0) return now;
    // What counts beyond the limit must leave first. Then several units must leave before one is available.
    const over = total - limit;
    const time =
      over < 1 ? (log.numbers[d + OLDEST] as number) : this.#timeOfUnits(log, slot, Math.min(over + 1, total));
    return time === undefined ? now : time + this.#window;
  }

  freeAt(limit: number, slot: number, units: number): number | null {
    const log = this.#segments.get(slot);
    if (log === undefined || units > limit) return null;
    const total = log.numbers[numbersOf(slot) + TOTAL] as number;
    const time = this.#timeOfUnits(log, slot, total + units - limit);
    return time === undefined ? null : time + this.#window;
  }

  liveUntil(slot: number): number {
    const log = this.#segments.get(slot);
    if (log === undefined) return 0;
    const d = numbersOf(slot);
    return log.numbers[d + TOTAL] === 0 ? 0 : (log.numbers[d + NEWEST] as number) + this.#window;
  }

  clear(slot: number): void {
    const log = this.#segments.get(slot);
    if (log !== undefined) clear(log, slot, this.slab);
  }

  /** The records that hold a log, to read; undefined if it never had an entry. */
  recordsOf(slot: number): WindowRecords | undefined {
    return this.#segments.get(slot);
  }

  /** The records that hold a log, to write to. */
  recordsFor(slot: number): WindowRecords {
    return this.#segments.of(slot);
  }

  /** The time of the entry whose departure completes the departure of `units` units, counted from the oldest. */
  #timeOfUnits({ numbers, words }: WindowRecords, slot: number, units: number): number | undefined {
    const d = numbersOf(slot);
    const w = wordsOf(slot);
    const count = (words[w + RING] as number) & COUNT;
    if (units > (numbers[d + TOTAL] as number)) return undefined;
    if (count === 1 || units <= 1) return numbers[d + OLDEST];
    let sum = 0;
    for (let n = 0; n < count; n++) {
      const entry = entryOf(words, w, n);
      sum += this.slab.units(entry);
      if (sum >= units) return this.slab.time(entry);
    }
    return undefined;
  }

  /**
   * Entries further ahead than the window were made while the clock was wrong. They count as made now: they would otherwise
   * stay until the clock is where it was.
   */
  #bringBack({ numbers, words }: WindowRecords, slot: number, now: number): void {
    const d = numbersOf(slot);
    const w = wordsOf(slot);
    const latest = now + this.#window;
    const all = (words[w + RING] as number) & COUNT;
    let count = all;
    let units = 0;
    while (count > 1 && this.slab.time(entryOf(words, w, count - 1)) > latest) {
      count--;
      units += this.slab.units(entryOf(words, w, count));
    }
    const left = (numbers[d + TOTAL] as number) - units;
    // Only the oldest is left.
    if (count === 1 && (numbers[d + OLDEST] as number) > latest) {
      units += left;
      count = 0;
    }
    words[w + RING] = ((words[w + RING] as number) & ~COUNT) | count;
    numbers[d + TOTAL] = count === 0 ? 0 : left;
    if (count === 1) numbers[d + NEWEST] = numbers[d + OLDEST] as number;
    else if (count > 1) numbers[d + NEWEST] = this.slab.time(entryOf(words, w, count - 1));
    if (units > 0) this.addAt(slot, now, units);
  }
}
