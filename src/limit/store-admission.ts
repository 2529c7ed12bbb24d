import type { Admission } from '../core/admission.js';
import type { QuotaState } from '../core/quota-state.js';
import type { LimitStore, Receipt } from './store.js';

/** An admission that a store made for one `limit` guard. */
export class StoreAdmission implements Admission {
  readonly #store: LimitStore;
  readonly #receipt: Receipt;
  readonly #guard: object;
  readonly #previous: Admission | undefined;
  readonly quotas: readonly QuotaState[];

  constructor(
    store: LimitStore,
    receipt: Receipt,
    quotas: readonly QuotaState[],
    guard: object,
    previous: Admission | undefined,
  ) {
    this.#store = store;
    this.#receipt = receipt;
    this.#guard = guard;
    this.#previous = previous;
    this.quotas = quotas;
  }

  settle(units: number): void | Promise<void> {
    return this.#store.settle(this.#receipt, units);
  }

  /** Whether `guard` made `last` or one of the admissions before it on the same exchange. */
  static wasMadeBy(guard: object, last: Admission): boolean {
    let admission: Admission | undefined = last;
    while (admission instanceof StoreAdmission) {
      if (admission.#guard === guard) return true;
      admission = admission.#previous;
    }
    return false;
  }
}
