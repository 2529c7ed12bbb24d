import { LRUCache } from 'lru-cache';
import type { QuotaState } from '../../core/quota-state.js';
import { memoryStore } from '../memory/memory-store.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, Receipt } from '../store.js';

interface Seen {
  readonly used: number;
  /** From here on none of it is in use any more, by the server's clock. */
  readonly until: number;
}

/** An admission that Redis has not been told of yet. */
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
 * What this process may admit by itself while Redis is away: of each limit, its share among the declared instances, and
 * never less than one unit. What Redis last said of a counter is taken off first, and what was admitted meanwhile is
 * charged in Redis when it is back.
 */
export class LocalShare {
  readonly #instances: number;
  readonly #now: () => number;
  readonly #store;
  readonly #seen = new LRUCache<string, Seen>({ max: MAX_SEEN });
  readonly #unreported = new Map<Receipt, Unreported>();

  constructor(instances: number, now: () => number) {
    this.#instances = instances;
    this.#now = now;
    this.#store = memoryStore({ now });
  }

  /** Takes note of how Redis says that counters stand. */
  learn(policies: readonly QuotaPolicy[], keys: readonly string[], states: readonly QuotaState[], at: number): void {
    policies.forEach((policy, i) => {
      const state = states[i];
      if (state === undefined) return;
      const until = policy.kind === 'daily-quota' ? state.resetAt : at + policy.window;
      this.#seen.set(`${policy.id} ${keys[i]}`, { used: policy.limit - state.remaining, until });
    });
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision {
    const decision = this.#store.admit(this.#shares(policies, keys), keys, units);
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

  /** What is left of this process' share. */
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    return this.#store.peek(this.#shares(policies, keys), keys);
  }

  settle(receipt: Receipt, units: number): void {
    const unreported = this.#unreported.get(receipt);
    if (unreported !== undefined) unreported.units = units;
    this.#store.settle(receipt, units);
  }

  /** Hands over, once, what Redis has to be told. */
  report(): readonly Unreported[] {
    const unreported = [...this.#unreported.values()].filter(({ units }) => units > 0);
    this.#unreported.clear();
    return unreported.map((entry) => {
      // What has left its window, or its day, counts no more.
      const counts = entry.policies.map((policy) => this.#now() < endOf(policy, entry.at));
      const still = <T>(list: readonly T[]) => list.filter((_, i) => counts[i]);
      return { ...entry, policies: still(entry.policies), keys: still(entry.keys) };
    });
  }

  #shares(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaPolicy[] {
    return policies.map((policy, i) => ({ ...policy, limit: this.#share(policy, keys[i] as string) }));
  }

  #share(policy: QuotaPolicy, key: string): number {
    const seen = this.#seen.get(`${policy.id} ${key}`);
    if (seen === undefined || this.#now() >= seen.until) return Math.max(1, Math.floor(policy.limit / this.#instances));
    return Math.floor(Math.max(0, policy.limit - seen.used) / this.#instances);
  }
}

/** When what was charged at this time has left the policy's window or day. */
function endOf(policy: QuotaPolicy, at: number): number {
  return policy.kind === 'daily-quota' ? policy.dayOf(at).end : at + policy.window;
}
