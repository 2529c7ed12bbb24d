import type { Admission, AdmissionHold } from '../core/admission.js';
import type { Exchange } from '../core/exchange.js';
import { shown } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import type { QuotaState } from '../core/quota-state.js';
import { isThenable } from '../core/thenable.js';
import { AdmissionHolds } from './admission-holds.js';
import type { BoundPolicies, BoundPolicy } from './bound-policies.js';
import { observedStore, type StoreCalls } from './observed-store.js';
import { holds } from './policy.js';
import type { QueuedSlot } from './queue/limit-queue.js';
import { type RefundCause, refundCause } from './refund.js';
import type { Decision, LimitStore, Receipt } from './store.js';
import { checkSettledUnits } from './units.js';

/** What all admissions of one `limit` guard have in common. */
export interface AdmittingGuard {
  readonly store: LimitStore;
  readonly refundOn: readonly RefundCause[];
}

const NO_HOLDS: readonly AdmissionHold[] = Object.freeze([]);

/** An admission that a store made for one `limit` guard. */
export class StoreAdmission implements Admission {
  readonly quotas: readonly QuotaState[];
  readonly previous: Admission | undefined;
  readonly #guard: AdmittingGuard;
  readonly #exchange: Exchange;
  readonly #bound: BoundPolicies;
  readonly #keys: readonly string[];
  readonly #receipt: Receipt;
  readonly #held: AdmissionHolds | undefined;
  /** Where in the ledger of the exchange the store can book together with a settlement. */
  readonly #bookingPlace: string | undefined;
  #isKept = false;

  constructor(
    guard: AdmittingGuard,
    exchange: Exchange,
    bound: BoundPolicies,
    keys: readonly string[],
    { states, receipt, holds: granted }: Extract<Decision, { kind: 'admitted' }>,
    slot?: QueuedSlot,
  ) {
    this.quotas = states;
    this.previous = exchange.admission;
    this.#guard = guard;
    this.#exchange = exchange;
    this.#bound = bound;
    this.#keys = keys;
    this.#receipt = receipt;
    if (bound.mayHold) {
      const account = exchange.usageAccount;
      if (account !== undefined) {
        this.#bookingPlace = guard.store.bookingPlace?.(receipt, account.ledger);
        account.place ??= this.#bookingPlace;
      }
      this.#held = new AdmissionHolds({ exchange, store: guard.store, bound, keys, receipt }, granted, slot);
    }
  }

  get holds(): readonly AdmissionHold[] {
    return this.#held?.list ?? NO_HOLDS;
  }

  get lost(): AbortSignal {
    return this.#held?.lost ?? new AbortController().signal;
  }

  settle(units: number | Readonly<Record<string, number>>): void | Promise<void> {
    return this.#settle(typeof units === 'number' ? this.#ofLogs(units) : this.#byName(units), true);
  }

  keep(): void {
    this.#isKept = true;
  }

  release(): void | Promise<void> {
    return this.#held?.release();
  }

  holdUntil(work: Promise<unknown>): void {
    if (!isThenable(work)) {
      throw new TypeError(
        `gatewarden: holdUntil must be given a promise, got ${shown(work)}; does the function return it?`,
      );
    }
    this.#held?.holdUntil(work);
  }

  /** Refunds the charge or keeps it, and gives back what is held once all work has ended. For `onEnd`. */
  end(outcome: Outcome): void | Promise<void> {
    const { refundOn, store } = this.#guard;
    const cause = refundCause(outcome, this.#exchange);
    const isRefunded = cause !== undefined && refundOn.includes(cause);
    if (this.#held === undefined) {
      return isRefunded && !this.#isKept
        ? observedStore(this.#exchange, store).settle(this.#receipt, this.#bound.noUnits)
        : undefined;
    }
    // If a guard refused, no handler has used the GPU.
    const usedNothing = outcome.kind === 'refused' || (isRefunded && cause === 'server-error');
    // The time of a request that the handler did not serve is not the time of a job.
    const mayTeach = outcome.kind === 'completed' && outcome.status < 400;
    const held = this.#held;
    held.whenDone(() => this.#finish(held, isRefunded, usedNothing, mayTeach));
  }

  #finish(held: AdmissionHolds, isRefunded: boolean, usedNothing: boolean, mayTeach: boolean): void {
    const units = this.#bound.policies.map((policy, i) => {
      if (!holds(policy)) return isRefunded && !this.#isKept ? 0 : undefined;
      if (!held.isLive(i)) return undefined;
      return policy.kind === 'gpu-time' && !usedNothing ? held.elapsed : 0;
    });
    if (units.every((settled) => settled === undefined)) return;
    try {
      const settled = this.#settle(units, mayTeach);
      if (isThenable(settled)) Promise.resolve(settled).catch((error: unknown) => this.#exchange.fault(error));
    } catch (error) {
      this.#exchange.fault(error);
    }
  }

  #settle(units: readonly (number | undefined)[], mayTeach: boolean): void | Promise<void> {
    const store = observedStore(this.#exchange, this.#guard.store);
    if (this.#held === undefined) return store.settle(this.#receipt, units);
    checkSettledUnits(units);
    this.#held.settled(units, mayTeach);
    try {
      return this.#held.giveBack(() => this.#tell(store, units));
    } finally {
      // A worker's jobs may still be settled by another admission of the exchange.
      if (this.#exchange.usageAccount?.hasJobs === false) this.#exchange.usageAccount.flush();
    }
  }

  /** Books the jobs of the exchange together with the settlement if the store can. */
  #tell(store: StoreCalls, units: readonly (number | undefined)[]): void | Promise<void> {
    const account = this.#exchange.usageAccount;
    const bookings = account?.take(this.#bookingPlace) ?? [];
    if (account === undefined || bookings.length === 0) return store.settle(this.#receipt, units);
    const refuse = () => account.putBack(bookings);
    const failed = (error: unknown): never => {
      refuse();
      throw error;
    };
    try {
      const told = store.settle(this.#receipt, units, { ledger: account.ledger, bookings, refuse });
      return isThenable(told) ? Promise.resolve(told).catch(failed) : told;
    } catch (error) {
      return failed(error);
    }
  }

  #ofLogs(units: number): readonly (number | undefined)[] {
    const { policies, noUnits, mayHold } = this.#bound;
    if (!mayHold && units === 0) return noUnits;
    if (policies.length === 1) return [units];
    return policies.map((policy) => (holds(policy) ? undefined : units));
  }

  #byName(units: Readonly<Record<string, number>>): readonly (number | undefined)[] {
    const { policies } = this.#bound;
    for (const name of Object.keys(units)) {
      if (policies.some((policy) => policy.name === name)) continue;
      const names = policies.map((policy) => policy.name).join(', ');
      throw new TypeError(`gatewarden: settle names the policy "${name}", but this admission has only ${names}`);
    }
    return policies.map(({ name }) => units[name]);
  }

  /** The policy that was charged in this counter, if one was. */
  chargeOf(store: LimitStore, id: string, key: string): BoundPolicy | undefined {
    if (this.#guard.store !== store) return undefined;
    return this.#bound.policies.find((policy, i) => policy.id === id && this.#keys[i] === key);
  }

  /** Whether it was only for a job, which has ended. The exchange may then be admitted again, for another job. */
  get #isOver(): boolean {
    return this.#held?.list.length === 0 && this.#bound.policies.every(holds);
  }

  /** `last` and the admissions before it on the same exchange, except those whose jobs have ended. */
  static *chainOf(last: Admission | undefined): Generator<StoreAdmission> {
    for (let admission = last; admission !== undefined; admission = admission.previous) {
      if (admission instanceof StoreAdmission && !admission.#isOver) yield admission;
    }
  }

  /** Whether `guard` made `last` or one of the admissions before it on the same exchange. */
  static wasMadeBy(guard: AdmittingGuard, last: Admission | undefined): boolean {
    for (const admission of StoreAdmission.chainOf(last)) if (admission.#guard === guard) return true;
    return false;
  }
}
