import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';

/** Identifies one admission to the store that made it. */
export type Receipt = object;

/** A policy that had no room for a request. */
export interface Violation {
  readonly state: QuotaState;
  /** The earliest time at which the policy could admit the request, in epoch milliseconds; null if it never can. */
  readonly retryAt: number | null;
}

/** A store's decision about one admission. */
export type Decision =
  | {
      readonly kind: 'admitted';
      /** When the store decided, by its own clock, in epoch milliseconds. */
      readonly at: number;
      /** The state of each policy after the charge. Empty if the store admitted without knowing it. */
      readonly states: readonly QuotaState[];
      /** For `settle`. */
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
 */
export interface LimitStore {
  /** Charges `units` to every policy, or to none if one of them has no room, in one atomic step. */
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision | Promise<Decision>;
  /**
   * Corrects the charge of an admission to `units`. Only the first call for a receipt counts. The result is never below
   * zero, and only the window or day of the admission changes.
   */
  settle(receipt: Receipt, units: number): void | Promise<void>;
  /** Returns the state of each policy, without charging it. */
  peek(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /** Forgets what was charged. */
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void | Promise<void>;
}

/**
 * Thrown by a store that cannot decide. `GATEWARDEN_STORE_UNAVAILABLE`: the store does not answer, and has already reported
 * that. `GATEWARDEN_STORE_DATA`: the stored data cannot be used; the message names the key.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';

  constructor(
    readonly code: 'GATEWARDEN_STORE_UNAVAILABLE' | 'GATEWARDEN_STORE_DATA',
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
