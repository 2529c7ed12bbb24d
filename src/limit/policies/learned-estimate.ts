import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, callback, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';

/** Options of `learnedEstimate`. */
export interface LearnedEstimateOptions {
  /** The estimate while too few jobs have ended. Default a tenth of the policy's limit. */
  readonly initial?: Duration | undefined;
  /** The part of the jobs that take no longer than the estimate: 0.5 to 1. Default 0.9. */
  readonly quantile?: number | undefined;
  /** What jobs are alike, such as a model and a size. Default all jobs of one partition key of the policy. */
  readonly by?: ((exchange: Exchange) => string) | undefined;
  /** Keys whose jobs are remembered, the latest. Default 10,000. */
  readonly maxEntries?: number | undefined;
}

const OPTIONS: OptionNames<LearnedEstimateOptions> = { initial: true, quantile: true, by: true, maxEntries: true };

/** The latest jobs of a key that count. */
const MEMORY = 32;
/** Jobs of a key from which on only its own count. */
const ENOUGH = 8;

/** Jobs of one key that count at most among the latest of all. */
const MOST_OF_ALL = MEMORY / 4;

/** The duration that this part of some jobs takes at most. Few jobs count with the longest of them. */
function quantileOf(sorted: ArrayLike<number>, part: number): number {
  const place = Math.min(sorted.length, Math.ceil(part * (sorted.length + 1)));
  return Math.max(1, Math.ceil(sorted[place - 1] as number));
}

/** The durations of the latest jobs of one key, in milliseconds, and their quantile. */
class LatestJobs {
  readonly #durations = new Float64Array(MEMORY);
  #count = 0;
  #next = 0;
  #quantile = 0;

  get count(): number {
    return this.#count;
  }

  get quantile(): number {
    return this.#quantile;
  }

  add(ms: number, quantile: number): void {
    this.#durations[this.#next] = ms;
    this.#next = (this.#next + 1) % MEMORY;
    this.#count = Math.min(MEMORY, this.#count + 1);
    this.#quantile = quantileOf(this.#durations.slice(0, this.#count).sort(), quantile);
  }
}

/** The latest jobs of all keys. No key can teach the others alone. */
class JobsOfAll {
  /** The oldest first. */
  readonly #jobs: { readonly key: string; readonly ms: number }[] = [];
  #quantile: number | undefined = undefined;

  /** Undefined until enough of the jobs are not of the key with the most. */
  get quantile(): number | undefined {
    return this.#quantile;
  }

  add(key: string, ms: number, quantile: number): void {
    const jobs = this.#jobs;
    const own = jobs.filter((job) => job.key === key).length;
    if (own >= MOST_OF_ALL) {
      jobs.splice(
        jobs.findIndex((job) => job.key === key),
        1,
      );
    } else if (jobs.length === MEMORY) jobs.shift();
    jobs.push({ key, ms });
    const counts = new Map<string, number>();
    for (const job of jobs) counts.set(job.key, (counts.get(job.key) ?? 0) + 1);
    const isEnough = jobs.length - Math.max(...counts.values()) >= ENOUGH;
    this.#quantile = isEnough ? quantileOf(Float64Array.from(jobs, (job) => job.ms).sort(), quantile) : undefined;
  }
}

/** Made by `learnedEstimate`. */
export class LearnedEstimate {
  readonly #initial: number | undefined;
  readonly #quantile: number;
  readonly #by: ((exchange: Exchange) => string) | undefined;
  readonly #maxEntries: number;
  /** By key. The key that has learned last is at the end. */
  readonly #jobs = new Map<string, LatestJobs>();
  readonly #all = new JobsOfAll();

  /** @internal */
  constructor(options: LearnedEstimateOptions) {
    const { quantile = 0.9 } = options;
    if (typeof quantile !== 'number' || !(quantile >= 0.5 && quantile <= 1)) {
      throw badOption('learnedEstimate', 'quantile', 'must be a number from 0.5 to 1', quantile);
    }
    this.#initial =
      options.initial === undefined ? undefined : milliseconds('learnedEstimate', 'initial', options.initial);
    this.#quantile = quantile;
    this.#by = callback('learnedEstimate', 'by', options.by);
    this.#maxEntries = positiveInteger('learnedEstimate', 'maxEntries', options.maxEntries ?? 10_000, 1_000_000);
  }

  /** What jobs are alike: a text of `by`, or the partition key. */
  keyOf(exchange: Exchange, partitionKey: string): string {
    return this.#by === undefined ? partitionKey : this.#by(exchange);
  }

  /**
   * The estimate for a job in milliseconds, at most the policy's limit. A key with few jobs of its own counts with the
   * longer of what all jobs took and what its own took.
   */
  of(key: string, limit: number): number {
    const own = this.#jobs.get(key);
    if (own !== undefined && own.count >= ENOUGH) return Math.min(limit, own.quantile);
    const all = this.#all.quantile ?? this.#initial ?? Math.ceil(limit / 10);
    return Math.min(limit, Math.max(all, own?.quantile ?? 0));
  }

  /** A job has ended that took `ms` milliseconds. */
  learn(key: string, ms: number): void {
    const own = this.#jobs.get(key) ?? new LatestJobs();
    this.#jobs.delete(key);
    this.#jobs.set(key, own);
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size > this.#maxEntries && oldest !== undefined) this.#jobs.delete(oldest);
    own.add(ms, this.#quantile);
    this.#all.add(key, ms, this.#quantile);
  }
}

/**
 * An estimate for `gpuTime`: what nine of ten of the latest jobs of a key took at most. Until a key has eight jobs, what the
 * jobs of all keys took counts as well. No key is more than a quarter of the latest jobs of all, and until eight jobs are of
 * other keys than the one with the most, `initial` counts instead. The estimate is never above the policy's limit, so that a
 * client whose whole quota is left can run a job. Each process learns for itself. Jobs that were aborted or given back teach
 * nothing, and neither do requests that end with a status of 400 or above, unless the service settles them.
 *
 * ```ts
 * gpuTime({ limit: '10m', window: '1h', estimate: learnedEstimate({ initial: '1m' }) })
 * ```
 * @throws OptionError
 */
export function learnedEstimate(options: LearnedEstimateOptions = {}): LearnedEstimate {
  checkOptionNames('learnedEstimate', options, OPTIONS);
  return new LearnedEstimate(options);
}
