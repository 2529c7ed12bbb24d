import type { Admission } from '../core/admission.js';
import type { QuotaState } from '../core/quota-state.js';
import type { BoundPolicy } from './bound-policies.js';
import type { LimitStore, Receipt } from './store.js';

/** What a `limit` guard charged, and where. */
export interface Charged {
  /** Identifies the guard. */
  readonly guard: object;
  readonly store: LimitStore;
  readonly policies: readonly BoundPolicy[];
  readonly keys: readonly string[];
}

/** An admission that a store made for one `limit` guard. */
export class StoreAdmission implements Admission {
  readonly #charged: Charged;
  readonly #receipt: Receipt;
  readonly #previous: unknown;
  readonly quotas: readonly QuotaState[];

  constructor(charged: Charged, receipt: Receipt, quotas: readonly QuotaState[], previous: unknown) {
    this.#charged = charged;
    this.#receipt = receipt;
    this.#previous = previous;
    this.quotas = quotas;
  }

  settle(units: number): void | Promise<void> {
    return this.#charged.store.settle(this.#receipt, units);
  }

  /** The policy that was charged in this counter, if one was. */
  chargeOf(store: LimitStore, id: string, key: string): BoundPolicy | undefined {
    const charged = this.#charged;
    if (charged.store !== store) return undefined;
    return charged.policies.find((policy, i) => policy.id === id && charged.keys[i] === key);
  }

  /** `last` and the admissions before it on the same exchange. */
  static *chainOf(last: unknown): Generator<StoreAdmission> {
    for (let admission = last; admission instanceof StoreAdmission; admission = admission.#previous) yield admission;
  }

  /** Whether `guard` made `last` or one of the admissions before it on the same exchange. */
  static wasMadeBy(guard: object, last: unknown): boolean {
    for (const admission of StoreAdmission.chainOf(last)) if (admission.#charged.guard === guard) return true;
    return false;
  }
}
