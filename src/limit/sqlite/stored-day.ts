import type { QuotaPolicy } from '../policy.js';
import type { StoredLog } from './stored-log.js';
import type { NumberReader, NumberWriter } from './varints.js';

/** The log of a day: its end, and the units that were charged in it. */
export class StoredDay implements StoredLog {
  isRepaired = false;
  total: number;
  /** Zero before the first charge. */
  #end: number;

  constructor(row: NumberReader | undefined) {
    this.#end = row?.read() ?? 0;
    this.total = row?.read() ?? 0;
  }

  get liveUntil(): number {
    return this.total === 0 ? 0 : this.#end;
  }

  used(policy: QuotaPolicy, now: number): number {
    const today = endOfDay(policy, now);
    if (this.#end !== 0 && this.#end !== today) {
      // A day that ends later than today was begun while the clock was wrong: its units count today.
      if (this.#end < today) this.total = 0;
      else this.isRepaired = true;
      this.#end = today;
    }
    return this.total;
  }

  add(policy: QuotaPolicy, units: number, now: number): number {
    this.addAt(this.#end || endOfDay(policy, now), units);
    return this.#end;
  }

  addAt(end: number, units: number): void {
    if (this.#end < end) {
      this.#end = end;
      this.total = 0;
    }
    this.total = Math.min(Number.MAX_SAFE_INTEGER, this.total + units);
  }

  correct(end: number, delta: number, now: number): number {
    if (this.#end !== end || end <= now) return 0;
    const before = this.total;
    this.total = Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, before + delta));
    return this.total - before;
  }

  resetAt(policy: QuotaPolicy, _limit: number, now: number): number {
    return this.#end || endOfDay(policy, now);
  }

  freeAt(limit: number, units: number): number | null {
    return units > limit ? null : this.#end || null;
  }

  write(out: NumberWriter): void {
    out.write(this.#end);
    out.write(this.total);
  }
}

function endOfDay(policy: QuotaPolicy, now: number): number {
  const dayOf = calendarOf(policy);
  if (dayOf === undefined) throw new TypeError(`gatewarden: policy "${policy.name}" counts no days`);
  return dayOf(now).end;
}

/** The calendar of a policy that counts days. */
export function calendarOf(policy: QuotaPolicy): ((now: number) => { readonly end: number }) | undefined {
  return 'dayOf' in policy ? policy.dayOf : undefined;
}
