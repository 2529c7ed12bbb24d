import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';

/** Names one admission to the store that made it. */
export type Receipt = object;

/** A policy that stood in the way. */
export interface Violation {
  readonly state: QuotaState;
  /** The earliest time at which this policy would let the request pass, in epoch milliseconds; null where it never can. */
  readonly retryAt: number | null;
}

/** What a store decided about one admission. */
export type Decision =
  | {
      readonly kind: 'admitted';
      /** The store's time of the decision, in epoch milliseconds. */
      readonly at: number;
      /** For each policy, after the charge. */
      readonly states: readonly QuotaState[];
      readonly receipt: Receipt;
    }
  | {
      readonly kind: 'refused';
      readonly at: number;
      /** For each policy, unchanged. */
      readonly states: readonly QuotaState[];
      /** At least one, in the order of the policies. */
      readonly violations: readonly Violation[];
    };

/**
 * Where quotas are counted. Policy `i` is counted under `keys[i]`; the pair of `policy.id` and key names a counter, which
 * no call may name twice; the policy's `limit` may differ from call to call. A store that cannot decide throws or
 * rejects; it never admits.
 */
export interface LimitStore {
  /** Charges `units` to every policy, or to none where one of them stands in the way, in one atomic step. */
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision | Promise<Decision>;
  /**
   * Corrects an admission's charge to `units`: exactly once, never below zero, and only in the window it was made in.
   */
  settle(receipt: Receipt, units: number): void | Promise<void>;
  /** How much is left, without charging. */
  peek(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /** Forgets what was charged. */
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void | Promise<void>;
}

/**
 * A store that cannot decide. `GATEWARDEN_STORE_UNAVAILABLE`: it does not answer, and has told so itself, once.
 * `GATEWARDEN_STORE_DATA`: what it holds cannot be used; the message names the key.
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

export function unavailable(message: string, cause?: unknown): StoreError {
  return new StoreError('GATEWARDEN_STORE_UNAVAILABLE', message, cause);
}
