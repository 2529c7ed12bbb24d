import type { QuotaPolicy } from '../policy.js';
import type { StoredLog } from './stored-log.js';
import type { NumberReader, NumberWriter } from './varints.js';

/** The most units of one entry. A correction may charge any number. */
const MOST_UNITS = 0xffffffff;

/** The log of a window: times that rise, each with the units that were charged then. */
export class StoredWindow implements StoredLog {
  isRepaired = false;
  readonly #window: number;
  readonly #times: number[] = [];
  readonly #units: number[] = [];
  /** The place of the oldest entry. Those before it have left. */
  #first = 0;
  #total = 0;

  constructor(window: number, row: NumberReader | undefined) {
    this.#window = window;
    const count = row?.read() ?? 0;
    let time = 0;
    for (let i = 0; row !== undefined && i < count; i++) {
      time += row.read();
      this.#push(time, row.read());
    }
  }

  get total(): number {
    return this.#total;
  }

  get liveUntil(): number {
    return this.#total === 0 ? 0 : (this.#times.at(-1) as number) + this.#window;
  }

  used(_policy: QuotaPolicy, now: number): number {
    if (this.#first < this.#times.length) {
      if ((this.#times.at(-1) as number) > now + this.#window) this.#bringBack(now);
      this.#drop(now - this.#window);
    }
    return this.#total;
  }

  add(policy: QuotaPolicy, units: number, now: number): number {
    const granule = 'granule' in policy ? policy.granule : 1;
    // Rounded up: a unit is forgotten late and never early.
    return this.#append(Math.ceil(now / granule) * granule, units);
  }

  addAt(time: number, units: number): void {
    this.#append(time, units);
  }

  correct(time: number, delta: number, now: number): number {
    if (time + this.#window <= now) return 0;
    const place = this.#times.lastIndexOf(time);
    if (place < this.#first) return 0;
    const before = this.#units[place] as number;
    const after = Math.min(MOST_UNITS, Math.max(0, before + delta));
    this.#units[place] = after;
    this.#total += after - before;
    // The oldest says when units become available, so it holds some.
    if (after === 0 && place === this.#first) this.#drop(Number.NEGATIVE_INFINITY);
    return after - before;
  }

  resetAt(_policy: QuotaPolicy, limit: number, now: number): number {
    if (this.#total === 0) return now;
    // What counts beyond the limit must leave first. Then several units must leave before one is available.
    const over = this.#total - limit;
    const time = this.#timeOfUnits(over < 1 ? 1 : Math.min(over + 1, this.#total));
    return time === undefined ? now : time + this.#window;
  }

  freeAt(limit: number, units: number): number | null {
    const time = units > limit ? undefined : this.#timeOfUnits(this.#total + units - limit);
    return time === undefined ? null : time + this.#window;
  }

  write(out: NumberWriter): void {
    const last = this.#times.length - 1;
    // The newest entry stays even if it is empty: no later charge may get an earlier time.
    const isKept = (i: number) => i === last || this.#units[i] !== 0;
    let count = 0;
    for (let i = this.#first; i <= last; i++) if (isKept(i)) count++;
    out.write(count);
    let before = 0;
    for (let i = this.#first; i <= last; i++) {
      if (!isKept(i)) continue;
      const time = this.#times[i] as number;
      out.write(time - before);
      out.write(this.#units[i] as number);
      before = time;
    }
  }

  /** The time of the entry whose departure completes the departure of `units` units, counted from the oldest. */
  #timeOfUnits(units: number): number | undefined {
    let sum = 0;
    for (let i = this.#first; i < this.#times.length; i++) {
      sum += this.#units[i] as number;
      if (sum >= units) return this.#times[i];
    }
    return undefined;
  }

  #append(time: number, units: number): number {
    const last = this.#times.length - 1;
    const newest = last >= this.#first ? (this.#times[last] as number) : Number.NEGATIVE_INFINITY;
    // If the clock went backwards, the units count with the newest entry.
    if (newest < time) {
      this.#push(time, Math.min(MOST_UNITS, units));
      return time;
    }
    const before = this.#units[last] as number;
    this.#units[last] = Math.min(MOST_UNITS, before + units);
    this.#total += (this.#units[last] as number) - before;
    return newest;
  }

  #push(time: number, units: number): void {
    this.#times.push(time);
    this.#units.push(units);
    this.#total += units;
  }

  /** Drops the oldest entries up to a time, and those that refunds have emptied. */
  #drop(until: number): void {
    const { length } = this.#times;
    while (this.#first < length) {
      if ((this.#times[this.#first] as number) > until && this.#units[this.#first] !== 0) return;
      this.#total -= this.#units[this.#first++] as number;
    }
  }

  /**
   * Entries further ahead than the window were made while the clock was wrong. They count as made now: they would otherwise
   * stay until the clock is where it was.
   */
  #bringBack(now: number): void {
    let units = 0;
    while (this.#times.length > this.#first && (this.#times.at(-1) as number) > now + this.#window) {
      this.#times.pop();
      units += this.#units.pop() as number;
    }
    this.#total -= units;
    this.isRepaired = true;
    if (units > 0) this.#append(now, units);
  }
}
