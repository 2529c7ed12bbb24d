import type { Guard } from '../core/guard.js';
import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';

/** A `limit` guard with access to its counters. */
export interface LimitGuard extends Guard {
  /**
   * Returns what is left for a partition key, without charging it. Covers the policies that are counted by the guard's
   * own `by`. Pass `policies` if the guard's are a function. `addressKey` returns the key of an address.
   * @throws TypeError for an empty key, or if the policies are not known
   */
  peek(
    key: string,
    policies?: QuotaPolicy | readonly QuotaPolicy[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /**
   * Forgets what was charged to a partition key. What is held stays held. Covers the same policies as `peek`.
   * @throws TypeError for an empty key, or if the policies are not known
   */
  reset(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]): void | Promise<void>;
}
