import { shareOf } from './job-owner.js';
import type { JobRecord } from './job-store.js';

/** A job that has ended. */
export interface Ended {
  readonly record: JobRecord;
}

/** Jobs that have ended, in the order in which they did, and those of each owner. */
export class EndedJobs<Entry extends Ended> {
  readonly #all = new Set<Entry>();
  readonly #byOwner = new Map<string, Set<Entry>>();

  add(entry: Entry): void {
    const owner = shareOf(entry.record.owner);
    this.#all.add(entry);
    const own = this.#byOwner.get(owner);
    if (own === undefined) this.#byOwner.set(owner, new Set([entry]));
    else own.add(entry);
  }

  delete(entry: Entry): void {
    const owner = shareOf(entry.record.owner);
    this.#all.delete(entry);
    const own = this.#byOwner.get(owner);
    own?.delete(entry);
    if (own?.size === 0) this.#byOwner.delete(owner);
  }

  get size(): number {
    return this.#all.size;
  }

  /** The first of all. */
  first(): Entry | undefined {
    return first(this.#all);
  }

  /** The first of the owner with the most, so that no client pushes out the results of others. */
  firstOfMost(): Entry | undefined {
    let most: Set<Entry> | undefined;
    for (const own of this.#byOwner.values()) if (own.size > (most?.size ?? 1)) most = own;
    return most === undefined ? this.first() : first(most);
  }
}

function first<T>(items: ReadonlySet<T>): T | undefined {
  const [item] = items;
  return item;
}
