import { LRUCache } from 'lru-cache';
import type { QuotaState } from '../../core/quota-state.js';
import { memoryStore } from '../memory/memory-store.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, Receipt } from '../store.js';

/** What Redis last reported of a counter. */
interface LastSeen {
  readonly used: number;
  /** When none of it is in use any more, by the server's clock. */
  readonly until: number;
}

/** An admission that has not been charged in Redis yet. */
export interface Unreported {
  readonly receipt: Receipt;
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly at: number;
  units: number;
}

const MAX_SEEN = 100_000;
const MAX_UNREPORTED = 10_000;

/**
 * Counts in this process while Redis is away. From each limit, the units that Redis last reported as used are
 * subtracted, and the rest is divided by the number of instances. If Redis has reported nothing, the share is at least
 * one unit. What was admitted is charged in Redis when it is back.
 */
export class LocalShare {
  readonly #instances: number;
  readonly #now: () => number;
  readonly #store;
  readonly #lastSeen = new LRUCache<string, LastSeen>({ max: MAX_SEEN });
  readonly #unreported = new Map<Receipt, Unreported>();

  constructor(instances: number, now: () => number) {
    this.#instances = instances;
    this.#now = now;
    this.#store = memoryStore({ now });
  }

  /** Remembers the states that Redis has just reported. */
  learn(policies: readonly QuotaPolicy[], keys: readonly string[], states: readonly QuotaState[], at: number): void {
    policies.forEach((policy, i) => {
      const state = states[i];
      if (state === undefined) return;
      const until = policy.kind === 'daily-quota' ? state.resetAt : at + policy.window;
      this.#lastSeen.set(`${policy.id} ${keys[i]}`, { used: policy.limit - state.remaining, until });
    });
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision {
    const decision = this.#store.admit(this.#sharesOf(policies, keys), keys, units);
    if (decision.kind === 'admitted') {
      const { receipt, at } = decision;
      this.#unreported.set(receipt, { receipt, policies, keys, at, units });
      if (this.#unreported.size > MAX_UNREPORTED) {
        const [oldest] = this.#unreported.keys();
        if (oldest !== undefined) this.#unreported.delete(oldest);
      }
    }
    return decision;
  }

  /** What remains of this process' share. */
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    return this.#store.peek(this.#sharesOf(policies, keys), keys);
  }

  settle(receipt: Receipt, units: number): void {
    const unreported = this.#unreported.get(receipt);
    if (unreported !== undefined) unreported.units = units;
    this.#store.settle(receipt, units);
  }

  /** Returns each admission that Redis has to charge, once. */
  takeUnreported(): readonly Unreported[] {
    const unreported = [...this.#unreported.values()].filter(({ units }) => units > 0);
    this.#unreported.clear();
    return unreported.map((admission) => {
      // A charge that has left its window or day no longer counts.
      const counts = admission.policies.map((policy) => this.#now() < endOf(policy, admission.at));
      const counting = <T>(list: readonly T[]) => list.filter((_, i) => counts[i]);
      return { ...admission, policies: counting(admission.policies), keys: counting(admission.keys) };
    });
  }

  #sharesOf(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaPolicy[] {
    return policies.map((policy, i) => ({ ...policy, limit: this.#shareOf(policy, keys[i] as string) }));
  }

  #shareOf(policy: QuotaPolicy, key: string): number {
    const seen = this.#lastSeen.get(`${policy.id} ${key}`);
    if (seen === undefined || this.#now() >= seen.until) return Math.max(1, Math.floor(policy.limit / this.#instances));
    return Math.floor(Math.max(0, policy.limit - seen.used) / this.#instances);
  }
}

/** When a charge of this time leaves the policy's window or day. */
function endOf(policy: QuotaPolicy, at: number): number {
  return policy.kind === 'daily-quota' ? policy.dayOf(at).end : at + policy.window;
}
