import { LRUCache } from 'lru-cache';
import type { Decision } from '../store.js';

type Refused = Extract<Decision, { kind: 'refused' }>;

interface Remembered {
  readonly decision: Refused;
  /** By the server's clock. */
  readonly until: number;
  /** Which of all refusals and changes this was. */
  readonly order: number;
}

const MAX_ENTRIES = 10_000;

/**
 * Refusals that still hold: as long as the earliest time at which the request could pass has not come, it need not be
 * asked about again. What another process gives back is seen after `maxAge` at the latest, what this one does at once.
 */
export class RefusalCache {
  readonly #maxAge: number;
  readonly #refusals = new LRUCache<string, Remembered>({ max: MAX_ENTRIES });
  /** When each key's counters were last changed from here. */
  readonly #changes = new LRUCache<string, number>({ max: MAX_ENTRIES });
  #order = 0;

  /** `maxAge` in milliseconds. */
  constructor(maxAge: number) {
    this.#maxAge = maxAge;
  }

  get(request: string, keys: readonly string[], now: number): Refused | undefined {
    const found = this.#refusals.get(request);
    if (found === undefined) return undefined;
    if (
      now < found.until &&
      now >= found.decision.at &&
      keys.every((key) => (this.#changes.get(key) ?? 0) < found.order)
    ) {
      // Where nothing is in use, the reset time is the present.
      const states = found.decision.states.map((state) => (state.resetAt < now ? { ...state, resetAt: now } : state));
      return { ...found.decision, states, at: now };
    }
    this.#refusals.delete(request);
    return undefined;
  }

  add(request: string, decision: Refused): void {
    let until = decision.at + this.#maxAge;
    // Until any of the figures would be another one.
    for (const { resetAt } of decision.states) if (resetAt > decision.at) until = Math.min(until, resetAt);
    for (const { retryAt } of decision.violations) if (retryAt !== null) until = Math.min(until, retryAt);
    this.#refusals.set(request, { decision, until, order: ++this.#order });
  }

  /** Something was charged or given back to these keys. */
  changed(keys: readonly string[]): void {
    this.#order++;
    for (const key of keys) this.#changes.set(key, this.#order);
  }
}
