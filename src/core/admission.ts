import type { QuotaState } from './quota-state.js';

/** Quota units charged for this exchange by one `limit` guard. */
export interface Admission {
  readonly quotas: readonly QuotaState[];
  /**
   * Corrects the charge to what the work really cost, in whole quota units from zero: refunds the difference or adds
   * it. Only the first correction counts, and none reaches into a later window.
   */
  settle(units: number): void | Promise<void>;
}
