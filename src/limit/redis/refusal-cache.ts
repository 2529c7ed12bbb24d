import { LRUCache } from 'lru-cache';
import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision } from '../store.js';

type Refusal = Extract<Decision, { kind: 'refused' }>;

interface CachedRefusal {
  readonly decision: Refusal;
  /** By the server's clock. */
  readonly validUntil: number;
  /** Its place in the order of all refusals and changes. */
  readonly order: number;
}

const MAX_ENTRIES = 10_000;

/**
 * Refusals that are still valid. Until the earliest time at which the request could pass, Redis need not be asked
 * again. Units that another process gives back, or a lease that ends, are seen after `maxAge` at the latest; what this
 * process gives back at once.
 */
export class RefusalCache {
  readonly #maxAge: number;
  readonly #refusals = new LRUCache<string, CachedRefusal>({ max: MAX_ENTRIES });
  /** When this process last changed the counters of a key, as a place in the order. */
  readonly #changes = new LRUCache<string, number>({
    max: MAX_ENTRIES,
    dispose: (order, _key, reason) => {
      if (reason === 'evict') this.#forgottenUpTo = Math.max(this.#forgottenUpTo, order);
    },
  });
  /** The latest change that there was no room to remember: any key may have been changed until then. */
  #forgottenUpTo = 0;
  #order = 0;

  /** `maxAge` in milliseconds. */
  constructor(maxAge: number) {
    this.#maxAge = maxAge;
  }

  get(request: string, keys: readonly string[], now: number): Refusal | undefined {
    const cached = this.#refusals.get(request);
    if (cached === undefined) return undefined;
    const { decision, validUntil, order } = cached;
    const isUnchanged = keys.every((key) => (this.#changes.get(key) ?? this.#forgottenUpTo) < order);
    if (now < validUntil && now >= decision.at && isUnchanged) {
      return {
        ...decision,
        at: now,
        states: decision.states.map((state) => stateAt(state, now)),
        violations: decision.violations.map(({ state, retryAt }) => ({ state: stateAt(state, now), retryAt })),
      };
    }
    this.#refusals.delete(request);
    return undefined;
  }

  add(request: string, decision: Refusal): void {
    let validUntil = decision.at + this.#maxAge;
    // No longer than until any of its figures changes.
    for (const { resetAt } of decision.states) if (resetAt > decision.at) validUntil = Math.min(validUntil, resetAt);
    for (const { retryAt } of decision.violations) if (retryAt !== null) validUntil = Math.min(validUntil, retryAt);
    this.#refusals.set(request, { decision, validUntil, order: ++this.#order });
  }

  /** Call it after units of these keys were charged or given back. */
  changed(keys: readonly string[]): void {
    this.#order++;
    for (const key of keys) this.#changes.set(key, this.#order);
  }
}

/** The reset time of an unused counter is the present. */
function stateAt(state: QuotaState, now: number): QuotaState {
  return state.resetAt < now ? { ...state, resetAt: now } : state;
}

/** A text that is the same for requests that share their policies, limits, keys and units. */
export function requestText(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
): string {
  let text = '';
  policies.forEach(({ id, limit }, i) => {
    const key = keys[i] as string;
    // With its length, no key can contain what looks like the next policy.
    text += ` ${id} ${limit} ${units[i]} ${key.length} ${key}`;
  });
  return text;
}
