import { holds, type QuotaPolicy } from '../policy.js';
import { DayLog } from './day-log.js';
import type { EntrySlab } from './entry-slab.js';
import { Holds, type MemoryHold } from './holds.js';
import type { KnownCounters } from './journal/known-counters.js';
import { SlotMarks } from './slot-marks.js';
import type { StoreClock } from './store-clock.js';
import type { CounterCharge, UnitLog } from './unit-log.js';
import { WindowLog } from './window-log.js';
import { NOT_TAKEN } from './window-take.js';

const DAY = 86_400_000;

/**
 * The counters of one policy, by slot: a log of what was charged, a tally of what was given back of it, and what is held.
 * A policy has a log or holds, or both. All times that it returns are times of day.
 */
export class Counters {
  readonly #policy: QuotaPolicy;
  readonly #slab: EntrySlab;
  readonly #clock: StoreClock;
  /** Whether the log counts days, by the time of day. */
  readonly #byDay: boolean;
  /** Undefined if the policy only holds. */
  readonly log: UnitLog | undefined;
  /** Undefined if the policy holds nothing. */
  readonly holds: Holds | undefined;
  /** The log, if there are no holds and it is one of a window. */
  readonly #window: WindowLog | undefined;
  /** The tally of what was given back. Made with the first unit. */
  returned: UnitLog | undefined = undefined;
  /** What a journal has of these counters. */
  known: KnownCounters | undefined = undefined;
  /** What counts for longer was charged while the clock was wrong. Less may be a small correction of the clock. */
  readonly #farAhead: number;
  readonly marks = new SlotMarks();

  /** `keeper` is told how long counters that keys share are needed. */
  constructor(
    policy: QuotaPolicy,
    slab: EntrySlab,
    clock: StoreClock,
    readonly keeper: { keepUntil(time: number): void } | undefined,
  ) {
    this.#policy = policy;
    this.#slab = slab;
    this.#clock = clock;
    this.#byDay = 'dayOf' in policy && policy.dayOf !== undefined;
    this.log = policy.kind === 'concurrency' ? undefined : this.#newLog();
    this.holds = holds(policy) ? new Holds() : undefined;
    this.#window = this.holds === undefined && this.log instanceof WindowLog ? this.log : undefined;
    this.#farAhead = 2 * policy.window + DAY;
  }

  /** The time by the clock of the log. */
  get now(): number {
    return this.#byDay ? this.#clock.wall : this.#clock.steady;
  }

  /** From the time by that clock to the time of day. */
  get offset(): number {
    return this.#byDay ? 0 : this.#clock.wall - this.#clock.steady;
  }

  /** Units in use now, and held. */
  used(policy: QuotaPolicy, slot: number): number {
    const log = this.log;
    const used = log === undefined ? 0 : log.used(policy, slot, this.now);
    return this.holds === undefined ? used : used + this.holds.held(slot, this.#clock.steady);
  }

  /** Whether a counter can take no further hold, however little it would hold. */
  isFull(slot: number): boolean {
    return this.holds?.isFull(slot) ?? false;
  }

  /** Whether units fit in any case: nothing is held, and the window would have room even if nothing had left it. */
  hasRoom(policy: QuotaPolicy, slot: number, units: number): boolean {
    return this.#window !== undefined && this.#window.atMost(slot) + units <= policy.limit;
  }

  /** `used` and `charge` in one step, after `hasRoom`. Returns the units that were in use before. */
  take(charge: CounterCharge): number {
    const taken = this.#window === undefined ? NOT_TAKEN : this.#window.take(charge);
    if (taken !== NOT_TAKEN) {
      charge.generation = this.marks.mark(charge.slot, charge.policy.limit);
      return taken;
    }
    const used = this.used(charge.policy, charge.slot);
    this.charge(charge);
    return used;
  }

  /** Charges or holds the units of an admission, after `used`. */
  charge(charge: CounterCharge): void {
    const { policy, slot } = charge;
    charge.generation = this.marks.mark(slot, policy.limit);
    if (this.holds !== undefined && holds(policy)) {
      charge.hold = this.holds.grant(policy, slot, charge.units, this.#clock.steady, this.#clock.wall);
      charge.wait = this.resetAt(policy, slot) - charge.now - charge.offset;
    } else {
      this.log?.charge(charge);
    }
  }

  /**
   * Corrects a charge to `units`. What is given back of the charges of one window never exceeds the limit: the rest stays
   * charged. A hold ends, and its units are logged as used now. Returns false if it had ended or expired before.
   */
  settle(charge: CounterCharge, units: number): boolean {
    const { policy, slot, hold, now } = charge;
    if (hold === undefined) {
      this.correct(policy, slot, now + charge.ahead, units - charge.units, this.now);
      return true;
    }
    if (!this.release(slot, hold)) return false;
    if (units > 0) this.use(policy, slot, units, this.now);
    return true;
  }

  /** Adds `delta` units to what was charged under `time`. Units given back are tallied, up to the limit of the policy. */
  correct(policy: QuotaPolicy, slot: number, time: number, delta: number, now: number): void {
    const { log } = this;
    if (log === undefined) return;
    if (delta >= 0) {
      log.correct(slot, time, delta, now);
      return;
    }
    const left = policy.limit - (this.returned?.used(policy, slot, now) ?? 0);
    const given = -log.correct(slot, time, -Math.min(-delta, Math.max(0, left)), now);
    if (given > 0) this.tally().addAt(slot, time, given);
  }

  /** Logs units that a hold has used. */
  use(policy: QuotaPolicy, slot: number, units: number, now: number): void {
    this.log?.used(policy, slot, now);
    this.log?.add(policy, slot, units, now);
  }

  /** The tally, to write to. */
  tally(): UnitLog {
    this.returned ??= this.#newLog();
    return this.returned;
  }

  /** Ends a hold. Returns false if it had ended or expired before. */
  release(slot: number, hold: MemoryHold): boolean {
    return this.holds?.end(slot, hold, this.#clock.steady) ?? false;
  }

  /** Extends a hold. Returns false if it had ended or expired before. */
  renew(slot: number, hold: MemoryHold): boolean {
    return this.holds?.renew(slot, hold, this.#clock.steady) ?? false;
  }

  /** When more units become available, after `used`. */
  resetAt(policy: QuotaPolicy, slot: number): number {
    const { wall, steady } = this.#clock;
    if (this.log === undefined) return (this.holds?.firstExpiry(slot, steady) ?? steady) + wall - steady;
    const held = this.holds?.held(slot, steady) ?? 0;
    return this.log.resetAt(policy, policy.limit - held, slot, this.now) + this.offset;
  }

  /**
   * The earliest time at which `units` more fit, after `used`; null if they never do. A hold may end at any time, so holds
   * that have to end first count as ended.
   */
  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    const { limit } = policy;
    if (units > limit) return null;
    const log = this.log;
    if (log === undefined) return this.#clock.wall;
    const held = this.holds?.held(slot, this.#clock.steady) ?? 0;
    const room = held + units <= limit ? limit - held : limit;
    if (held > 0 && log.used(policy, slot, this.now) + units <= room) return this.#clock.wall;
    const freeAt = log.freeAt(room, slot, units);
    return freeAt === null ? null : freeAt + this.offset;
  }

  /** Whether these are counters of the store with this clock. */
  isOf(clock: StoreClock): boolean {
    return this.#clock === clock;
  }

  /** Whether a slot has a counter. */
  isTaken(slot: number): boolean {
    return this.marks.limit(slot) !== 0;
  }

  /** Whether something is held in a counter. */
  isHeld(slot: number): boolean {
    return this.holds !== undefined && this.holds.held(slot, this.#clock.steady) > 0;
  }

  /** Whether a counter still holds something: units in use, the tally of those given back, or a hold. */
  isLive(slot: number): boolean {
    const now = this.now;
    if (this.log !== undefined) {
      const left = this.log.liveUntil(slot) - now;
      if (left > 0 && left <= this.#farAhead) return true;
      const leftOfReturned = (this.returned?.liveUntil(slot) ?? 0) - now;
      if (Math.max(left, leftOfReturned) > this.#farAhead ? this.#refreshed(slot) > 0 : leftOfReturned > 0) return true;
    }
    if (this.holds === undefined) return false;
    // The next token has to be higher than the last.
    return this.holds.lastToken(slot) >= this.#clock.wall || this.isHeld(slot);
  }

  /** When a counter holds nothing any more, by the clock of its log. */
  liveUntil(slot: number): number {
    // No lease is longer than a day.
    if (this.isHeld(slot)) return this.now + this.#farAhead;
    return Math.max(this.log?.liveUntil(slot) ?? 0, this.returned?.liveUntil(slot) ?? 0);
  }

  /** How much of its limit a counter holds, units given back included. What has a live hold counts as all of it. */
  fraction(slot: number): number {
    return this.isHeld(slot) ? 1 : this.#refreshed(slot) / this.marks.limit(slot);
  }

  /** Changes with each `clear`, so that a receipt of the former counter can be recognized. */
  generation(slot: number): number {
    return this.marks.generation(slot);
  }

  /** Forgets what was charged. What is held stays. */
  clearLog(slot: number): void {
    this.log?.clear(slot);
    this.returned?.clear(slot);
  }

  /** Forgets a counter. */
  clear(slot: number): void {
    this.clearLog(slot);
    this.holds?.clear(slot);
    this.marks.clear(slot);
  }

  #newLog(): UnitLog {
    return this.#byDay ? new DayLog() : new WindowLog(this.#policy.window, this.#slab);
  }

  /** What a counter holds after forgetting what no longer counts. */
  #refreshed(slot: number): number {
    const now = this.now;
    return (this.log?.used(this.#policy, slot, now) ?? 0) + (this.returned?.used(this.#policy, slot, now) ?? 0);
  }
}
