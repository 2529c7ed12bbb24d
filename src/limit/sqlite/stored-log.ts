import type { QuotaPolicy } from '../policy.js';
import type { NumberWriter } from './varints.js';

/**
 * The log of one counter while it is decided about: when how many units were charged. Units do not leave by themselves: call
 * `used` before anything else.
 */
export interface StoredLog {
  /** Units in use after the last `used`. */
  readonly total: number;
  /** Whether `used` has found what a wrong clock has left, so that the row has to be written. */
  readonly isRepaired: boolean;
  /** When nothing in the log counts any more. */
  readonly liveUntil: number;
  /** Forgets the units that no longer count, and returns those that do. */
  used(policy: QuotaPolicy, now: number): number;
  /** Adds units. Returns the time under which they are kept, for `correct`. */
  add(policy: QuotaPolicy, units: number, now: number): number;
  /** Adds units under the time of another log's entry, or the newest time of this one if that is later. */
  addAt(time: number, units: number): void;
  /** Adds `delta` units, which may be negative, under exactly this time. Returns what it added: nothing if that has left. */
  correct(time: number, delta: number, now: number): number;
  /** When more of `limit` units become available. */
  resetAt(policy: QuotaPolicy, limit: number, now: number): number;
  /** The earliest time at which `units` more fit into `limit`; null if they never do. */
  freeAt(limit: number, units: number): number | null;
  write(out: NumberWriter): void;
}
