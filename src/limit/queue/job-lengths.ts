import type { ClientSnapshot } from './expected-wait.js';
import type { QueueClient } from './queue-client.js';

/** Means forget what is older than about this many values: their values are as old on average as those of the last 64. */
const MEMORY = 32;
/** How many values the mean of all clients counts as, beside those of one client. */
const PRIOR = 2;
/** Clients whose lengths are known. Those whose last job ended longest ago are forgotten first. */
const MAX_CLIENTS = 256;
/** Recent jobs of which it is known how much longer they took than expected. */
const MAX_SURPRISES = 64;
/** A longer job counts in the mean of all clients as so many times that mean, once it has a few values. */
const MAX_OUTLIER = 8;
const FEW = 8;

/** A mean of recent values, in two numbers. */
export interface RecentMean {
  count: number;
  mean: number;
}

/** What is known of the jobs of one client, or of all. */
interface Known {
  /** How long jobs took, in milliseconds. */
  readonly length: RecentMean;
  /** How long they took, divided by the service's estimate. Only of jobs that had one. */
  readonly ratio: RecentMean;
}

/** Learns how long jobs take: how long each client's do, and how much longer than expected. */
export class JobLengths {
  readonly #all: Known = unknown();
  /** In the order of their last jobs. */
  readonly #clients = new Map<string, Known>();
  /** The lengths of recent jobs, each divided by what was expected of it. The oldest is overwritten first. */
  readonly #surprises: number[] = [];
  #next = 0;

  /** Whether a job has ended. */
  get areKnown(): boolean {
    return this.#all.length.count > 0;
  }

  /** How long a job will take, in milliseconds. Undefined before the first job has ended. */
  expected(client: string, estimate: number | undefined): number | undefined {
    const all = this.#all;
    if (all.length.count === 0) return undefined;
    const own = this.#clients.get(client);
    if (estimate !== undefined && all.ratio.count > 0) return estimate * blended(own?.ratio, all.ratio);
    return blended(own?.length, all.length);
  }

  /** A client with what its jobs will take, in the terms of a replay. Zero before the first job has ended. */
  snapshot(client: QueueClient, now: number): ClientSnapshot {
    const { id, weight, waiting, taken } = client;
    return {
      service: client.service(now),
      weight,
      running: Array.from(taken, ({ state, startedAt, estimate }) => {
        return this.left(id, estimate, state === 'running' ? now - startedAt : 0) ?? 0;
      }),
      waiting: waiting.map(({ order, estimate }) => ({ order, length: this.expected(id, estimate) ?? 0 })),
    };
  }

  /**
   * How much longer a job will take that has run for `age` milliseconds: the median of what remained of recent jobs when
   * they were as old, each scaled to the length that is expected of this one. A job that is older than any of them is
   * expected to take one ordinary length more.
   */
  left(client: string, estimate: number | undefined, age: number): number | undefined {
    const expected = this.expected(client, estimate);
    if (expected === undefined) return undefined;
    const left: number[] = [];
    for (const surprise of this.#surprises) if (surprise * expected > age) left.push(surprise * expected - age);
    if (left.length === 0) return expected;
    left.sort((a, b) => a - b);
    return left[left.length >> 1] as number;
  }

  /** A job took this long, in milliseconds. */
  learn(client: string, estimate: number | undefined, length: number): void {
    // A job of no length would say that the next takes none, and would be divided by.
    const took = Math.max(1, length);
    const own = this.#clients.get(client) ?? unknown();
    this.#clients.delete(client);
    this.#clients.set(client, own);
    const { length: lengths, ratio: ratios } = this.#all;
    add(own.length, took);
    add(lengths, bounded(lengths, took));
    if (estimate !== undefined) {
      add(own.ratio, took / estimate);
      add(ratios, bounded(ratios, took / estimate));
    }
    // Of what is expected now: before, a few tiny jobs would make an ordinary one a thousand times as long as expected.
    this.#surprises[this.#next] = took / (this.expected(client, estimate) ?? took);
    this.#next = (this.#next + 1) % MAX_SURPRISES;
    if (this.#clients.size > MAX_CLIENTS) {
      for (const oldest of this.#clients.keys()) {
        this.#clients.delete(oldest);
        break;
      }
    }
  }
}

function unknown(): Known {
  return { length: { count: 0, mean: 0 }, ratio: { count: 0, mean: 0 } };
}

function add(recent: RecentMean, value: number): void {
  recent.count = Math.min(recent.count + 1, MEMORY);
  recent.mean += (value - recent.mean) / recent.count;
}

/** One client's endless job must not make the jobs of all others look long. */
function bounded({ count, mean }: RecentMean, value: number): number {
  return count < FEW ? value : Math.min(value, MAX_OUTLIER * mean);
}

/** A client's own mean counts for more with each of its jobs. */
function blended(own: RecentMean | undefined, all: RecentMean): number {
  if (own === undefined) return all.mean;
  return (own.count * own.mean + PRIOR * all.mean) / (own.count + PRIOR);
}
