import { randomUUID } from 'node:crypto';

/** What a job's request names: see README.md. */
export interface JobName {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
  /** What the gateway keeps with the job, if it sent something. */
  readonly account?: string | undefined;
}

/** A job that has ended, as `GET /jobs/ended` lists it. */
export interface EndedJob extends JobName {
  /** Rises by one with each job that has ended. */
  readonly number: number;
  readonly gpu_ms: number;
  readonly end: 'done' | 'failed' | 'stopped';
  readonly endedAt: number;
}

/** How many ended jobs are listed in all, and how many one response lists. */
const MAX_ENDED = 10_000;
const ENDED_AT_ONCE = 100;

/** A job that runs. `stop` is aborted when it must end. It runs until `JobTable.end`. */
export interface RunningJob extends JobName {
  readonly stop: AbortController;
  readonly startedAt: number;
}

/** Why a job cannot start. */
export type JobRefusal =
  | { readonly reason: 'instance' }
  | { readonly reason: 'slot'; readonly slots: number }
  | { readonly reason: 'token'; readonly newest: number }
  | { readonly reason: 'busy' };

/** A job as `GET /jobs` lists it. */
export interface ListedJob extends JobName {
  readonly age_ms: number;
}

/**
 * The jobs of one worker, and the rules that keep two of them out of one slot. A gateway that was stopped for a while, or a
 * message that was delayed, can then start no job in a slot that belongs to another job.
 */
export class JobTable {
  /** Another one after every start of the worker, which has forgotten the tokens. */
  readonly instance: string = randomUUID();
  readonly slots: number;
  readonly #now: () => number;
  /** By slot: a job starts only with a token above this one. */
  readonly #newest: number[];
  readonly #running: (RunningJob | undefined)[];
  /** The newest jobs that have ended, oldest first. */
  #ended: EndedJob[] = [];
  #count = 0;
  #gpuMs = 0;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(slots: number, now: () => number) {
    this.slots = slots;
    this.#now = now;
    this.#newest = Array.from({ length: slots }, () => 0);
    this.#running = Array.from({ length: slots }, () => undefined);
  }

  /** Why this job cannot start now, if it cannot. A newer token than that of the slot's job stops that job. */
  refusalOf(instance: string, { slot, token }: Pick<JobName, 'slot' | 'token'>): JobRefusal | undefined {
    if (instance !== this.instance) return { reason: 'instance' };
    if (slot >= this.slots) return { reason: 'slot', slots: this.slots };
    const newest = this.#newest[slot] ?? 0;
    if (token <= newest) return { reason: 'token', newest };
    const running = this.#running[slot];
    if (running === undefined) return undefined;
    // This job may still start, and no older one.
    this.#newest[slot] = token - 1;
    running.stop.abort('cancelled');
    return { reason: 'busy' };
  }

  /** Starts a job, or returns why it cannot start. */
  start(instance: string, { id, slot, token, account }: JobName): RunningJob | JobRefusal {
    const refusal = this.refusalOf(instance, { slot, token });
    if (refusal !== undefined) return refusal;
    const job = { id, slot, token, account, stop: new AbortController(), startedAt: this.#now() };
    this.#newest[slot] = token;
    this.#running[slot] = job;
    return job;
  }

  /** To be called when nothing of the job runs any more, with the GPU time in whole milliseconds. */
  end(job: RunningJob, gpuMs: number, end: EndedJob['end']): void {
    if (this.#running[job.slot] === job) this.#running[job.slot] = undefined;
    const { id, slot, token, account } = job;
    this.#count++;
    this.#gpuMs += gpuMs;
    this.#ended.push({ number: this.#count, id, slot, token, account, gpu_ms: gpuMs, end, endedAt: this.#now() });
    // Many of them at once, since to remove the first of a long list is slow.
    if (this.#ended.length > 2 * MAX_ENDED) this.#ended = this.#ended.slice(-MAX_ENDED);
  }

  /** The first jobs that ended after the one of this number, and the GPU time of all that have ever ended. */
  listEnded(after: number) {
    const now = this.#now();
    const first = this.#ended[0]?.number ?? 1;
    const from = Math.max(0, this.#ended.length - MAX_ENDED, after - first + 1);
    const ended = this.#ended.slice(from, from + ENDED_AT_ONCE).map(({ endedAt, ...job }) => ({
      ...job,
      age_ms: Math.round(now - endedAt),
    }));
    return { instance: this.instance, gpu_ms: this.#gpuMs, ended };
  }

  /**
   * Stops the job with this token, and any older one in its slot, and lets none of them start later. Returns whether the job
   * with this token still runs.
   */
  cancel(slot: number, token: number): 'gone' | 'ending' {
    if (slot >= this.slots) return 'gone';
    this.#newest[slot] = Math.max(this.#newest[slot] ?? 0, token);
    const running = this.#running[slot];
    if (running === undefined || running.token > token) return 'gone';
    running.stop.abort('cancelled');
    return running.token === token ? 'ending' : 'gone';
  }

  list(): readonly ListedJob[] {
    const now = this.#now();
    return this.#running.flatMap((job) =>
      job === undefined
        ? []
        : { id: job.id, slot: job.slot, token: job.token, age_ms: Math.round(now - job.startedAt) },
    );
  }
}
