import type { QuotaPolicy } from '../policy.js';
import { grown, type UnitLog } from './unit-log.js';

/** The logs of a daily quota: for each slot the end of the day that is counted, and the units of that day. */
export class DayLog implements UnitLog {
  #end = new Float64Array(0);
  #total = new Float64Array(0);

  grow(slots: number): void {
    this.#end = grown(this.#end, slots);
    this.#total = grown(this.#total, slots);
  }

  used(policy: QuotaPolicy, slot: number, now: number): number {
    const end = this.#end[slot] as number;
    if (end === 0) return 0;
    const today = endOfDay(policy, now);
    if (end !== today) {
      // A day that ends later than today was begun while the clock was wrong: its units count today.
      if (end < today) this.#total[slot] = 0;
      this.#end[slot] = today;
    }
    return this.#total[slot] as number;
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    const end = (this.#end[slot] as number) || endOfDay(policy, now);
    this.#end[slot] = end;
    this.#total[slot] = (this.#total[slot] as number) + units;
    return end;
  }

  addAt(slot: number, end: number, units: number): void {
    if ((this.#end[slot] as number) < end) {
      this.#end[slot] = end;
      this.#total[slot] = 0;
    }
    this.#total[slot] = (this.#total[slot] as number) + units;
  }

  correct(slot: number, end: number, delta: number): number {
    if (this.#end[slot] !== end) return 0;
    const before = this.#total[slot] as number;
    const after = Math.max(0, before + delta);
    this.#total[slot] = after;
    return after - before;
  }

  resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    return (this.#end[slot] as number) || endOfDay(policy, now);
  }

  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    return units > policy.limit ? null : (this.#end[slot] as number);
  }

  liveUntil(slot: number): number {
    return this.#total[slot] === 0 ? 0 : (this.#end[slot] as number);
  }

  clear(slot: number): void {
    this.#end[slot] = 0;
    this.#total[slot] = 0;
  }
}

export function endOfDay(policy: QuotaPolicy, now: number): number {
  if (policy.kind !== 'daily-quota') throw new TypeError(`gatewarden: policy "${policy.name}" counts no days`);
  return policy.dayOf(now).end;
}
