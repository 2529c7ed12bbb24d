import { randomUUID } from 'node:crypto';

/** What a job's request names: see README.md. */
export interface JobName {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
}

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
  start(instance: string, { id, slot, token }: JobName): RunningJob | JobRefusal {
    const refusal = this.refusalOf(instance, { slot, token });
    if (refusal !== undefined) return refusal;
    const job = { id, slot, token, stop: new AbortController(), startedAt: this.#now() };
    this.#newest[slot] = token;
    this.#running[slot] = job;
    return job;
  }

  /** To be called when nothing of the job runs any more. */
  end(job: RunningJob): void {
    if (this.#running[job.slot] === job) this.#running[job.slot] = undefined;
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
