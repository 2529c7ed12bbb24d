import { LRUCache } from 'lru-cache';
import type { QuotaState } from '../../core/quota-state.js';
import { plainMemoryStore } from '../memory/plain-memory-store.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, Receipt } from '../store.js';

/** What Redis last reported of a counter. */
interface LastSeen {
  readonly used: number;
  /** When none of it is in use any more, by the server's clock. */
  readonly until: number;
}

/** An admission that has not been charged in Redis yet. */
interface Pending {
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly at: number;
  readonly units: readonly number[];
}

/** What Redis has to charge of an admission. */
export interface Unreported {
  readonly receipt: Receipt;
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly units: readonly number[];
  /** The places of these policies among all of the admission. */
  readonly places: readonly number[];
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
  readonly #unreported = new Map<Receipt, Pending>();
  #forgotten = 0;

  constructor(instances: number, now: () => number) {
    this.#instances = instances;
    this.#now = now;
    this.#store = plainMemoryStore(now);
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

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision {
    const decision = this.#store.admit(this.#sharesOf(policies, keys), keys, units);
    if (decision.kind === 'admitted') {
      const { receipt, at } = decision;
      this.#unreported.set(receipt, { policies, keys, at, units });
      if (this.#unreported.size > MAX_UNREPORTED) {
        const [oldest] = this.#unreported.keys();
        if (oldest !== undefined) this.#unreported.delete(oldest);
        this.#forgotten++;
      }
    }
    return decision;
  }

  /** What remains of this process' share. */
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    return this.#store.peek(this.#sharesOf(policies, keys), keys);
  }

  /**
   * Each policy is settled once: `units` names those that were not settled before. Redis gets the whole charge, and corrects it then:
   * it also bounds what is given back.
   */
  settle(receipt: Receipt, units: readonly (number | undefined)[]): void {
    this.#store.settle(receipt, units);
  }

  get hasUnreported(): boolean {
    return this.#unreported.size > 0;
  }

  /** How many admissions were forgotten since the last call, because too many waited for Redis. */
  takeForgotten(): number {
    const forgotten = this.#forgotten;
    this.#forgotten = 0;
    return forgotten;
  }

  /** Returns each admission that Redis has to charge, once. */
  takeUnreported(): readonly Unreported[] {
    const unreported: Unreported[] = [];
    for (const [receipt, { policies, keys, units, at }] of this.#unreported) {
      // A charge that has left its window or day no longer counts.
      const counts = policies.map((policy) => this.#now() < endOf(policy, at));
      if (!counts.includes(true)) continue;
      const counting = <T>(list: readonly T[]) => list.filter((_, i) => counts[i]);
      unreported.push({
        receipt,
        policies: counting(policies),
        keys: counting(keys),
        units: counting(units),
        places: counting([...policies.keys()]),
      });
    }
    this.#unreported.clear();
    return unreported;
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
