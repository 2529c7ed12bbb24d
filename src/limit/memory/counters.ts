import type { QuotaPolicy } from '../policy.js';
import { DayLog } from './day-log.js';
import type { EntrySlab } from './entry-slab.js';
import { placeOf, SEGMENT, Segments } from './segments.js';
import type { UnitLog } from './unit-log.js';
import { WindowLog } from './window-log.js';

const DAY = 86_400_000;

class CounterColumns {
  /** The limit under which a slot was last charged. Zero for a slot without a counter. */
  readonly limit = new Uint32Array(SEGMENT);
  readonly generation = new Uint32Array(SEGMENT);
}

/** The counters of one policy, by slot: a log of what was charged, and a tally of what was given back of it. */
export class Counters {
  readonly #policy: QuotaPolicy;
  readonly #slab: EntrySlab;
  readonly #charged: UnitLog;
  /** Made with the first unit that is given back. */
  #returned: UnitLog | undefined = undefined;
  /** What counts for longer was charged while the clock was wrong. Less may be a small correction of the clock. */
  readonly #farAhead: number;
  readonly #segments = new Segments(() => new CounterColumns());

  constructor(policy: QuotaPolicy, slab: EntrySlab) {
    this.#policy = policy;
    this.#slab = slab;
    this.#charged = unitLog(policy, slab);
    this.#farAhead = 2 * policy.window + DAY;
  }

  /** Units in use now. */
  used(policy: QuotaPolicy, slot: number, now: number): number {
    return this.#charged.used(policy, slot, now);
  }

  /** Charges units. Returns the time under which they are kept, for `settle`. */
  charge(policy: QuotaPolicy, slot: number, units: number, now: number): number {
    this.#segments.of(slot).limit[placeOf(slot)] = policy.limit;
    return this.#charged.add(policy, slot, units, now);
  }

  /**
   * Adds `delta` units to a charge. What is given back of the charges of one window never exceeds the limit: the rest stays
   * charged.
   */
  settle(policy: QuotaPolicy, slot: number, time: number, delta: number, now: number): void {
    if (delta >= 0) {
      this.#charged.correct(slot, time, delta, now);
      return;
    }
    const left = policy.limit - (this.#returned?.used(policy, slot, now) ?? 0);
    const given = -this.#charged.correct(slot, time, -Math.min(-delta, Math.max(0, left)), now);
    if (given === 0) return;
    this.#returned ??= unitLog(this.#policy, this.#slab);
    this.#returned.addAt(slot, time, given);
  }

  resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    return this.#charged.resetAt(policy, slot, now);
  }

  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    return this.#charged.retryAt(policy, slot, units);
  }

  /** Whether a slot has a counter. */
  isTaken(slot: number): boolean {
    return this.#limit(slot) !== 0;
  }

  /** Whether a counter still holds something: units in use, or the tally of those given back. */
  isLive(slot: number, now: number): boolean {
    const left = this.#charged.liveUntil(slot) - now;
    if (left > 0 && left <= this.#farAhead) return true;
    const leftOfAll = this.liveUntil(slot) - now;
    return leftOfAll <= this.#farAhead ? leftOfAll > 0 : this.#refreshed(slot, now) > 0;
  }

  /** When a counter holds nothing any more. */
  liveUntil(slot: number): number {
    return Math.max(this.#charged.liveUntil(slot), this.#returned?.liveUntil(slot) ?? 0);
  }

  /** How much of its limit a counter holds, units given back included. */
  fraction(slot: number, now: number): number {
    return this.#refreshed(slot, now) / this.#limit(slot);
  }

  /** Changes with each `clear`, so that a receipt of the former counter can be recognized. */
  generation(slot: number): number {
    return this.#segments.get(slot)?.generation[placeOf(slot)] ?? 0;
  }

  clear(slot: number): void {
    this.#charged.clear(slot);
    this.#returned?.clear(slot);
    const { limit, generation } = this.#segments.of(slot);
    const i = placeOf(slot);
    limit[i] = 0;
    generation[i] = (generation[i] as number) + 1;
  }

  #limit(slot: number): number {
    return this.#segments.get(slot)?.limit[placeOf(slot)] ?? 0;
  }

  /** What a counter holds after forgetting what no longer counts. */
  #refreshed(slot: number, now: number): number {
    return this.#charged.used(this.#policy, slot, now) + (this.#returned?.used(this.#policy, slot, now) ?? 0);
  }
}

function unitLog(policy: QuotaPolicy, slab: EntrySlab): UnitLog {
  return policy.kind === 'daily-quota' ? new DayLog() : new WindowLog(policy.window, slab);
}
