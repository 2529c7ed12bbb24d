import type { QuotaPolicy } from '../../policy.js';
import type { HotCounter } from './hot-counter.js';

/** The counters of which units are taken ahead, by policy and key. */
export class HotTable {
  readonly #counters = new Map<string, Map<string, HotCounter>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find({ id, limit }: QuotaPolicy, key: string): HotCounter | undefined {
    const counter = this.#counters.get(id)?.get(key);
    // Units that were taken within another limit may be too many for this one.
    return counter?.limit === limit ? counter : undefined;
  }

  add(id: string, key: string, counter: HotCounter): void {
    let ofPolicy = this.#counters.get(id);
    if (ofPolicy === undefined) {
      ofPolicy = new Map();
      this.#counters.set(id, ofPolicy);
    }
    ofPolicy.set(key, counter);
    this.#size++;
  }

  /** What the counter has ahead is given back or, after a reset, forgotten. */
  remove(id: string, key: string, isReset: boolean): void {
    const ofPolicy = this.#counters.get(id);
    const counter = ofPolicy?.get(key);
    if (ofPolicy === undefined || counter === undefined) return;
    counter.forget(isReset);
    ofPolicy.delete(key);
    if (ofPolicy.size === 0) this.#counters.delete(id);
    this.#size--;
  }

  /** Calls `each` for all counters, which may remove the one that it was called for. */
  forEach(each: (counter: HotCounter, id: string, key: string) => void): void {
    for (const [id, ofPolicy] of this.#counters) for (const [key, counter] of ofPolicy) each(counter, id, key);
  }
}
