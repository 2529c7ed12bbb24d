import type { QuotaPolicy } from '../policy.js';
import { placeOf, SEGMENT, Segments } from './segments.js';
import type { UnitLog } from './unit-log.js';

class DayColumns {
  /** The end of the day that is counted. Zero before the first charge. */
  readonly end = new Float64Array(SEGMENT);
  /** The units of that day. */
  readonly total = new Float64Array(SEGMENT);
}

/** The logs of a daily quota: for each slot one day. */
export class DayLog implements UnitLog {
  readonly #segments = new Segments(() => new DayColumns());

  used(policy: QuotaPolicy, slot: number, now: number): number {
    const days = this.#segments.get(slot);
    const i = placeOf(slot);
    if (days === undefined || days.end[i] === 0) return 0;
    const end = days.end[i] as number;
    const today = endOfDay(policy, now);
    if (end !== today) {
      // A day that ends later than today was begun while the clock was wrong: its units count today.
      if (end < today) days.total[i] = 0;
      days.end[i] = today;
    }
    return days.total[i] as number;
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    const days = this.#segments.of(slot);
    const i = placeOf(slot);
    const end = (days.end[i] as number) || endOfDay(policy, now);
    days.end[i] = end;
    days.total[i] = (days.total[i] as number) + units;
    return end;
  }

  addAt(slot: number, end: number, units: number): void {
    const days = this.#segments.of(slot);
    const i = placeOf(slot);
    if ((days.end[i] as number) < end) {
      days.end[i] = end;
      days.total[i] = 0;
    }
    days.total[i] = (days.total[i] as number) + units;
  }

  correct(slot: number, end: number, delta: number, now: number): number {
    const days = this.#segments.get(slot);
    const i = placeOf(slot);
    if (days === undefined || days.end[i] !== end || end <= now) return 0;
    const before = days.total[i] as number;
    const after = Math.max(0, before + delta);
    days.total[i] = after;
    return after - before;
  }

  resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    return this.#segments.get(slot)?.end[placeOf(slot)] || endOfDay(policy, now);
  }

  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    return units > policy.limit ? null : (this.#segments.get(slot)?.end[placeOf(slot)] ?? null);
  }

  liveUntil(slot: number): number {
    const days = this.#segments.get(slot);
    const i = placeOf(slot);
    return days === undefined || days.total[i] === 0 ? 0 : (days.end[i] as number);
  }

  clear(slot: number): void {
    const days = this.#segments.get(slot);
    if (days === undefined) return;
    days.end[placeOf(slot)] = 0;
    days.total[placeOf(slot)] = 0;
  }
}

export function endOfDay(policy: QuotaPolicy, now: number): number {
  if (policy.kind !== 'daily-quota') throw new TypeError(`gatewarden: policy "${policy.name}" counts no days`);
  return policy.dayOf(now).end;
}
