import type { JobBooking, Ledger } from '../core/ledger.js';
import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';
import type { QueueSettings, WaitingQueue } from './queue/waiting-queue.js';

/** Identifies one admission to the store that made it. */
export type Receipt = object;

/** What an admission holds of one policy, under a lease that ends unless it is renewed. */
export interface Hold {
  /** The smallest whole number from 0 that no other live hold of the counter has. */
  readonly slot: number;
  /** Rises with each hold of the counter: `max(last token + 1, the store's wall clock in ms)`. A safe integer. */
  readonly token: number;
}

/** A policy that had no room for a request. */
export interface Violation {
  readonly state: QuotaState;
  /** The earliest time at which the policy could admit the request, in epoch milliseconds; null if it never can. */
  readonly retryAt: number | null;
}

/** Jobs whose GPU time is booked in a ledger together with the settlement of their charge. */
export interface SettledJobs {
  readonly ledger: Ledger;
  /** All of them name the place that the store has returned from `bookingPlace`. */
  readonly bookings: readonly JobBooking[];
  /** To be called by a store that cannot book them after all. They are then booked by themselves. */
  refuse(): void;
}

/** A store's decision about one admission. */
export type Decision =
  | {
      readonly kind: 'admitted';
      /** When the store decided, by its own clock, in epoch milliseconds. */
      readonly at: number;
      /** The state of each policy after the charge. Empty if the store admitted without knowing it. */
      readonly states: readonly QuotaState[];
      /** What the admission holds of each policy; undefined for one without a lease. Empty if no policy has one. */
      readonly holds: readonly (Hold | undefined)[];
      /** For `settle`, `renew` and `release`. */
      readonly receipt: Receipt;
    }
  | {
      readonly kind: 'refused';
      /** When the store decided, by its own clock, in epoch milliseconds. */
      readonly at: number;
      /** The state of each policy, which the refusal did not change. */
      readonly states: readonly QuotaState[];
      /** At least one, in the order of the policies. */
      readonly violations: readonly Violation[];
    };

/**
 * Counts quotas. Policy `i` is counted under `keys[i]`. A counter is named by `policy.id` and its key, and no call may
 * name one twice. A policy's `limit` may change from call to call. A store that cannot decide throws or rejects, and never
 * admits. Every method may return a promise.
 *
 * A counter is a log of units that were charged, and holds of units that are under way. A sliding window or a daily quota
 * has only the log. `concurrency` has only holds. `gpuTime` has both: an admission holds its estimate, and `settle` ends the
 * hold and logs what was used, at the time of settling. A hold that is not renewed within its lease ends by itself, without
 * a charge. Then, and after `settle` or `release`, a late call for it changes nothing.
 */
export interface LimitStore {
  /** Charges `units[i]` to policy `i`: all policies are charged, or none if one of them has no room, in one atomic step. */
  admit(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): Decision | Promise<Decision>;
  /**
   * Corrects the charge of policy `i` to `units[i]`, and leaves it as it is for `undefined`. Only the first correction of
   * each policy counts. The result is never below zero, and only the window or day of the admission changes. A hold ends,
   * and what was used is logged from now on, even beyond the limit. `jobs` are only given to a store with `bookingPlace`,
   * which books them in the same atomic step, or refuses them.
   */
  settle(receipt: Receipt, units: readonly (number | undefined)[], jobs?: SettledJobs): void | Promise<void>;
  /**
   * In which place of a ledger this store can book in one atomic step with the settlement of an admission. Undefined if it
   * cannot, as if the method is absent: jobs are then booked by themselves.
   */
  bookingPlace?(receipt: Receipt, ledger: Ledger): string | undefined;
  /**
   * Extends every hold of an admission that was neither settled nor released to one lease from now. Returns whether all of
   * them were still held. Rejects if the store does not answer; try again.
   */
  renew(receipt: Receipt): boolean | Promise<boolean>;
  /** Ends every hold of an admission, without a charge. Logs stay as they are. */
  release(receipt: Receipt): void | Promise<void>;
  /** Returns the state of each policy, without charging it. */
  peek(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /** Forgets what was charged. Holds stay: what runs still runs. */
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void | Promise<void>;
  /** Opens the queue of requests that wait for the slots of one policy. Absent if the store has no queues. */
  queue?(settings: QueueSettings): WaitingQueue;
}

/**
 * Thrown by a store that cannot decide. `GATEWARDEN_STORE_UNAVAILABLE`: the store does not answer, and has already reported
 * that. `GATEWARDEN_STORE_DATA`: the stored data cannot be used; the message names the key or the file.
 * `GATEWARDEN_STORE_LOCKED`: another process has the files of the store in use.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';

  constructor(
    readonly code: 'GATEWARDEN_STORE_UNAVAILABLE' | 'GATEWARDEN_STORE_DATA' | 'GATEWARDEN_STORE_LOCKED',
    message: string,
    cause?: unknown,
  ) {
    super(`gatewarden: ${message}`, { cause });
  }
}

/** A `StoreError` for a store that does not answer. */
export function unavailable(message: string, cause?: unknown): StoreError {
  return new StoreError('GATEWARDEN_STORE_UNAVAILABLE', message, cause);
}
