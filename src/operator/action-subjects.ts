import type { QuotaState } from '../core/quota-state.js';

/** Counters of a client, such as a `limit` guard whose `by` is what the controls call a client. */
export interface ClientCounters {
  /** What is left for a client. */
  peek(client: string): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /** Forgets what was charged to a client. */
  reset(client: string): void | Promise<void>;
}

/** Jobs that can be cancelled, such as the store of `jobs`. */
export interface CancellableJobs {
  /** Returns the job after that, or undefined if there is none. */
  cancel(id: string): unknown;
}
