import type { QuotaPolicy } from '../policy.js';
import type { MemoryHold } from './holds.js';

/** What `charge` charges, and what it finds out. */
export interface LogCharge {
  readonly policy: QuotaPolicy;
  readonly slot: number;
  readonly units: number;
  /** When it is made. */
  readonly now: number;
  /** From then to the time under which the log keeps the units, for `correct`. */
  ahead: number;
  /** From then to when more units become available. */
  wait: number;
}

/** What an admission charges in a counter, and what it finds out. */
export interface CounterCharge extends LogCharge {
  readonly offset: number;
  generation: number;
  hold: MemoryHold | undefined;
}

/**
 * The logs of the counters of one policy: when how many units were charged. Log `i` belongs to slot `i`. Units do not leave
 * by themselves: call `used` before reading a log.
 */
export interface UnitLog {
  /** Forgets the units that no longer count, and returns those that do. */
  used(policy: QuotaPolicy, slot: number, now: number): number;
  /** Adds the units of a charge, after `used`. */
  charge(charge: LogCharge): void;
  /** Adds units, after `used`. Returns the time under which they are kept, for `correct`. */
  add(policy: QuotaPolicy, slot: number, units: number, now: number): number;
  /**
   * Adds units under the time of another log's entry, or the newest time of this one if that is later. Returns the time under
   * which they are kept.
   */
  addAt(slot: number, time: number, units: number): number;
  /** Adds `delta` units, which may be negative, under exactly this time. Returns what it added: nothing if that has left. */
  correct(slot: number, time: number, delta: number, now: number): number;
  /** When more of `limit` units become available, after `used`. */
  resetAt(policy: QuotaPolicy, limit: number, slot: number, now: number): number;
  /** The earliest time at which `units` more fit into `limit`; null if they never do. */
  freeAt(limit: number, slot: number, units: number): number | null;
  /** When nothing in the log counts any more. */
  liveUntil(slot: number): number;
  /** Empties a log. */
  clear(slot: number): void;
}
