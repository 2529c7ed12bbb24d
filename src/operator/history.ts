/** What happened in one interval. */
export interface Bucket {
  /** When it began, in epoch milliseconds. */
  readonly at: number;
  requests: number;
  errors: number;
  /** Milliseconds. */
  gpuTime: number;
  /** The most at once. */
  waiting: number;
  /** By problem code. */
  readonly refusals: Record<string, number>;
}

/** The length of an interval, in milliseconds. */
export const INTERVAL = 10_000;
/** One hour. */
const BUCKETS = 360;
/** A service's own codes could be any number. */
const MAX_CODES = 40;
const OTHER = 'other';

/** What happened in the last hour, by intervals. Its size is bounded. */
export class History {
  readonly #now: () => number;
  readonly #codes = new Set<string>();
  #buckets: Bucket[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The interval of this moment. A clock that was set back goes on in the newest one. */
  get current(): Bucket {
    const at = Math.floor(this.#now() / INTERVAL) * INTERVAL;
    const newest = this.#buckets.at(-1);
    if (newest !== undefined && newest.at >= at) return newest;
    const bucket: Bucket = { at, requests: 0, errors: 0, gpuTime: 0, waiting: 0, refusals: Object.create(null) };
    this.#buckets.push(bucket);
    if (this.#buckets.length > BUCKETS) this.#buckets.shift();
    return bucket;
  }

  refused(code: string): void {
    const { refusals } = this.current;
    if (!this.#codes.has(code) && this.#codes.size < MAX_CODES) this.#codes.add(code);
    const name = this.#codes.has(code) ? code : OTHER;
    refusals[name] = (refusals[name] ?? 0) + 1;
  }

  /** The intervals of the last hour that began at `from` or later. */
  since(from: number): readonly Bucket[] {
    const oldest = Math.max(from, this.#now() - BUCKETS * INTERVAL);
    return this.#buckets.filter(({ at }) => at >= oldest);
  }
}
