import { LRUCache } from 'lru-cache';
import type { QuotaPolicy } from '../policy.js';

const MAX_WATCHED = 10_000;

interface Use {
  readonly since: number;
  units: number;
}

/** Finds the counters that are charged often. */
export class UseWatch {
  readonly #busyUnits: number;
  readonly #period: number;
  readonly #uses = new LRUCache<string, Use>({ max: MAX_WATCHED });

  /** A counter is busy if it is charged `busyUnits` within `period` milliseconds. */
  constructor(busyUnits: number, period: number) {
    this.#busyUnits = busyUnits;
    this.#period = period;
  }

  /** Notes a charge. If the counter is busy, returns since when, once, and forgets it. */
  busySince({ id, limit }: QuotaPolicy, key: string, units: number, now: number): number | undefined {
    const name = `${id} ${limit} ${key}`;
    const use = this.#uses.get(name);
    if (use === undefined || now - use.since > this.#period) {
      this.#uses.set(name, { since: now, units });
      return undefined;
    }
    use.units += units;
    if (use.units < this.#busyUnits) return undefined;
    this.#uses.delete(name);
    return use.since;
  }
}
