import type { QuotaPolicy } from '../policy.js';

/**
 * The logs of the counters of one policy: when how many units were charged. Log `i` belongs to slot `i`. Units do not leave
 * by themselves: call `used` before reading a log.
 */
export interface UnitLog {
  /** Forgets the units that no longer count, and returns those that do. */
  used(policy: QuotaPolicy, slot: number, now: number): number;
  /** Adds units, after `used`. Returns the time under which they are kept, for `correct`. */
  add(policy: QuotaPolicy, slot: number, units: number, now: number): number;
  /** Adds units under the time of another log's entry, or the newest time of this one if that is later. */
  addAt(slot: number, time: number, units: number): void;
  /** Adds `delta` units, which may be negative, under exactly this time. Returns what it added: nothing if that has left. */
  correct(slot: number, time: number, delta: number, now: number): number;
  /** When more units become available, after `used`. */
  resetAt(policy: QuotaPolicy, slot: number, now: number): number;
  /** The earliest time at which `units` more fit; null if they never do. */
  retryAt(policy: QuotaPolicy, slot: number, units: number): number | null;
  /** When nothing in the log counts any more. */
  liveUntil(slot: number): number;
  /** Empties a log. */
  clear(slot: number): void;
}
