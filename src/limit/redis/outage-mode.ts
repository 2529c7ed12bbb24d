import type { QuotaState } from '../../core/quota-state.js';
import { holds, type QuotaPolicy } from '../policy.js';
import type { Decision, Receipt } from '../store.js';
import { LocalShare } from './local-share.js';
import { isOutage } from './outage.js';
import { NO_HOLDS, RedisReceipt } from './receipt.js';
import type { RedisCounters } from './redis-counters.js';

/** What a store decides while Redis does not answer. */
export type OnStoreFailure = 'refuse' | 'admit' | 'local';

/** Decides in place of Redis during an outage, and charges in Redis afterwards what it admitted locally. */
export class OutageMode {
  readonly #mode: OnStoreFailure;
  readonly #now: () => number;
  readonly #localShare: LocalShare | undefined;
  /** By the local share's own receipt. */
  readonly #receipts = new WeakMap<Receipt, RedisReceipt>();

  /** `now` is the server's time as far as it is known, in epoch milliseconds. */
  constructor(mode: OnStoreFailure, instances: number, now: () => number) {
    this.#mode = mode;
    this.#now = now;
    this.#localShare = mode === 'local' ? new LocalShare(instances, now) : undefined;
  }

  /** Remembers the states that Redis has just reported. */
  learn(policies: readonly QuotaPolicy[], keys: readonly string[], states: readonly QuotaState[], at: number): void {
    this.#localShare?.learn(policies, keys, states, at);
  }

  /**
   * Decides for `store`, after an error.
   * @throws the error, if it is no outage, the mode is `refuse`, or a policy has leases: a hold that others cannot see is none
   */
  admit(
    store: object,
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    error: unknown,
  ): Decision {
    if (!isOutage(error) || policies.some(holds)) throw error;
    if (this.#localShare !== undefined) {
      const decision = this.#localShare.admit(policies, keys, units);
      if (decision.kind === 'refused') return decision;
      const receipt = new RedisReceipt(store, units, [], decision.receipt);
      this.#receipts.set(decision.receipt, receipt);
      return { kind: 'admitted', at: decision.at, states: decision.states, holds: NO_HOLDS, receipt };
    }
    if (this.#mode === 'refuse') throw error;
    const receipt = new RedisReceipt(store, units, [], undefined);
    return { kind: 'admitted', at: this.#now(), states: [], holds: NO_HOLDS, receipt };
  }

  /** @throws the error, if it is no outage, or the mode is `refuse` */
  peek(policies: readonly QuotaPolicy[], keys: readonly string[], error: unknown): readonly QuotaState[] {
    if (!isOutage(error)) throw error;
    if (this.#localShare !== undefined) return this.#localShare.peek(policies, keys);
    if (this.#mode === 'refuse') throw error;
    const resetAt = this.#now();
    return policies.map(({ name, limit }) => ({ name, limit, remaining: limit, resetAt }));
  }

  settle({ localReceipt }: RedisReceipt, units: readonly (number | undefined)[]): void {
    if (localReceipt !== undefined) this.#localShare?.settle(localReceipt, units);
  }

  /** Whether `report` has something to do. */
  get hasUnreported(): boolean {
    return this.#localShare?.hasUnreported === true;
  }

  /** How many admissions cannot be charged in Redis any more, since too many waited or the store is closed. */
  takeLost(isClosed: boolean): number {
    const forgotten = this.#localShare?.takeForgotten() ?? 0;
    return isClosed ? forgotten + (this.#localShare?.takeUnreported().length ?? 0) : forgotten;
  }

  /** Charges in Redis what was admitted locally. What was settled before the answer comes is corrected then. */
  report(counters: RedisCounters): void {
    for (const { receipt: localReceipt, policies, keys, units, places } of this.#localShare?.takeUnreported() ?? []) {
      const receipt = this.#receipts.get(localReceipt);
      counters.charge(policies, keys, units, (charges) => {
        if (receipt === undefined) return;
        const deltas: (number | undefined)[] = [];
        for (const place of charges.places) {
          const inAdmission = places[place] as number;
          const settled = receipt.settledUnits[inAdmission];
          if (settled !== undefined) deltas[inAdmission] = settled - (units[place] as number);
        }
        const charged = { ...charges, places: charges.places.map((place) => places[place] as number) };
        // What is settled from now on is corrected in these charges.
        receipt.charges.push(charged);
        void counters.settle([charged], deltas);
      });
    }
  }
}
