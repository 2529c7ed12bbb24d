import type { QuotaState } from './quota-state.js';

/** What an admission holds of one policy while the exchange and its work are under way. */
export interface AdmissionHold {
  /** The policy's name. */
  readonly policy: string;
  readonly kind: 'concurrency' | 'gpu-time';
  /** Whether the policy counts all callers together. */
  readonly isGlobal: boolean;
  /** The smallest whole number from 0 that no other live hold of the counter has. */
  readonly slot: number;
  /** Rises with each hold of the counter, so that a worker can tell a late holder from the present one. */
  readonly token: number;
  /** How long the hold lasts unless it is renewed, in milliseconds. */
  readonly lease: number;
}

/** What one `limit` guard charged and holds for this exchange. */
export interface Admission {
  /** The state of each policy after the charge. Empty if the store admitted without knowing it. */
  readonly quotas: readonly QuotaState[];
  /** What is held now: neither settled nor released nor lost. Empty if no policy holds. */
  readonly holds: readonly AdmissionHold[];
  /** The admission of an earlier `limit` on the same exchange. */
  readonly previous: Admission | undefined;
  /**
   * Aborted when a hold is lost: it was not renewed in time, and another request may have it now. Stop the work that it was
   * held for.
   */
  readonly lost: AbortSignal;
  /**
   * Corrects the charge to what the work really cost: a whole number of units, 0 or more. A number corrects every
   * `slidingWindow` and `dailyQuota`, or the only policy that there is. An object corrects the policies that it names, such
   * as `{ 'gpu-time': 4200 }`; what a policy holds is then given back. Only the first correction of each policy has an
   * effect, and a correction never reaches into a later window.
   * @throws TypeError for a name that no policy has
   */
  settle(units: number | Readonly<Record<string, number>>): void | Promise<void>;
  /** Keeps the charge, however the exchange ends: for work that was done, whatever the answer is. */
  keep(): void;
  /** Gives back what it still holds. Nothing of that is charged. */
  release(): void | Promise<void>;
  /**
   * Holds what is held until `work` has settled, even if the exchange ends before. Whether it fails does not matter, and is
   * not reported.
   */
  holdUntil(work: Promise<unknown>): void;
}
