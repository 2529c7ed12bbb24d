import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { LimitStore, Receipt } from '../store.js';

/** Numbers in `charges` for each policy: the counter's slot, its generation, and the time of the entry or day charged. */
export const CHARGE_LENGTH = 3;

/** An admission of a memory store. It is its own receipt, which saves an object for each request. */
export class MemoryAdmission {
  readonly kind = 'admitted';
  settled = false;

  constructor(
    readonly store: LimitStore,
    readonly policies: readonly QuotaPolicy[],
    readonly units: number,
    readonly at: number,
    readonly states: readonly QuotaState[],
    readonly charges: readonly number[],
  ) {}

  get receipt(): Receipt {
    return this;
  }
}
