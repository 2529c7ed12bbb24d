import type { QuotaPolicy } from '../policy.js';
import { placeOf, SEGMENT, Segments } from './segments.js';
import type { StoreClock } from './store-clock.js';
import type { LogCharge, UnitLog } from './unit-log.js';

// A log is two numbers:
const NUMBERS = 2;
/** The end of the day that is counted. Zero before the first charge. */
const END = 0;
/** The units of that day. */
const TOTAL = 1;

/** The logs of a daily quota: for each slot one day. */
export class DayLog implements UnitLog {
  readonly #segments = new Segments(() => new Float64Array(SEGMENT * NUMBERS));

  used(policy: QuotaPolicy, slot: number, now: number): number {
    const days = this.#segments.get(slot);
    if (days === undefined) return 0;
    const d = placeOf(slot) * NUMBERS;
    const end = days[d + END] as number;
    if (end === 0) return 0;
    const today = endOfDay(policy, now);
    if (end !== today) {
      // A day that ends later than today was begun while the clock was wrong: its units count today.
      if (end < today) days[d + TOTAL] = 0;
      days[d + END] = today;
    }
    return days[d + TOTAL] as number;
  }

  add(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    return this.addAt(
      slot,
      (this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + END] as number) || endOfDay(policy, now),
      units,
    );
  }

  charge(charge: LogCharge): void {
    charge.ahead = this.add(charge.policy, charge.slot, charge.units, charge.now) - charge.now;
    charge.wait = charge.ahead;
  }

  addAt(slot: number, end: number, units: number): number {
    const days = this.#segments.of(slot);
    const d = placeOf(slot) * NUMBERS;
    if ((days[d + END] as number) < end) {
      days[d + END] = end;
      days[d + TOTAL] = 0;
    }
    days[d + TOTAL] = (days[d + TOTAL] as number) + units;
    return days[d + END] as number;
  }

  correct(slot: number, end: number, delta: number, now: number): number {
    const days = this.#segments.get(slot);
    const d = placeOf(slot) * NUMBERS;
    if (days === undefined || days[d + END] !== end || end <= now) return 0;
    const before = days[d + TOTAL] as number;
    const after = Math.max(0, before + delta);
    days[d + TOTAL] = after;
    return after - before;
  }

  resetAt(policy: QuotaPolicy, _limit: number, slot: number, now: number): number {
    return (this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + END] as number) || endOfDay(policy, now);
  }

  freeAt(limit: number, slot: number, units: number): number | null {
    return units > limit ? null : (this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + END] as number) || null;
  }

  /** The units of the day that is counted, whether it has ended or not. */
  totalOf(slot: number): number {
    return this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + TOTAL] ?? 0;
  }

  liveUntil(slot: number): number {
    const days = this.#segments.get(slot);
    const d = placeOf(slot) * NUMBERS;
    return days === undefined || days[d + TOTAL] === 0 ? 0 : (days[d + END] as number);
  }

  clear(slot: number): void {
    const days = this.#segments.get(slot);
    if (days === undefined) return;
    days[placeOf(slot) * NUMBERS + END] = 0;
    days[placeOf(slot) * NUMBERS + TOTAL] = 0;
  }
}

/** The end of the calendar day of a moment. */
export function endOfDay(policy: QuotaPolicy, now: number): number {
  if (!('dayOf' in policy) || policy.dayOf === undefined) {
    throw new TypeError(`gatewarden: policy "${policy.name}" counts no days`);
  }
  return policy.dayOf(now).end;
}

/** `resetAt` of a counter that does not exist. */
export function unusedResetAt(policy: QuotaPolicy, { wall }: StoreClock): number {
  return 'dayOf' in policy && policy.dayOf !== undefined ? endOfDay(policy, wall) : wall;
}
