import type { QuotaState } from './quota-state.js';

/** The quota units that one `limit` guard charged for this exchange. */
export interface Admission {
  readonly quotas: readonly QuotaState[];
  /**
   * Corrects the charge to what the work really cost: a whole number of quota units, 0 or more. The difference is refunded or
   * added. Only the first correction has an effect, and a correction never reaches into a later window.
   */
  settle(units: number): void | Promise<void>;
}
