import type { Guard } from '../core/guard.js';
import { randomId } from './job-owner.js';
import { JobRun, type RunContext, type RunRequest } from './job-run.js';
import type { AdoptedJob } from './job-store.js';
import type { ResultFiles } from './result-files.js';
import type { RunningJob } from './running-job.js';

/** How an adopted job is run. */
export type Adopt = (job: AdoptedJob, holder: string) => Omit<RunRequest, 'id' | 'holder' | 'isTask'> | undefined;

/** What a job does. */
export interface Work {
  readonly guards: Guard | undefined;
  readonly run: (job: RunningJob) => unknown;
}

/** Jobs that are adopted at a time, so that one process does not take all. */
const ADOPTED_AT_ONCE = 10;
/** How often files of jobs that are gone are looked for, at the most and at the least. */
const SWEEP_MS = { least: 1000, most: 600_000 };

/** Runs the jobs of one queue in this process, renews their leases, adopts jobs of dead processes and removes old files. */
export class JobRunner {
  readonly #context: RunContext;
  readonly #tasks: readonly string[];
  readonly #adopt: Adopt;
  readonly #fault: (error: unknown) => void;
  readonly #runs = new Map<string, JobRun>();
  #leaseTimer: NodeJS.Timeout | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  #isAdopting = false;
  #isSweeping = false;
  #isClosed = false;

  constructor(
    context: RunContext,
    options: { readonly ttl: number; readonly tasks: readonly string[]; readonly adopt: Adopt },
    fault: (error: unknown) => void,
  ) {
    this.#context = context;
    this.#tasks = context.store.adopt === undefined ? [] : options.tasks;
    this.#adopt = options.adopt;
    this.#fault = fault;
    if (this.#tasks.length > 0) this.#keepLeases();
    const { results } = context;
    if (results !== undefined) {
      const interval = Math.min(SWEEP_MS.most, Math.max(SWEEP_MS.least, options.ttl / 10));
      this.#sweepTimer = setInterval(() => void this.#sweep(results), interval).unref();
      void this.#sweep(results);
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Starts a job whose lease was taken at `leasedAt`, by `performance.now()`. */
  start(request: RunRequest, leasedAt: number): JobRun {
    const run = new JobRun(this.#context, request, leasedAt + this.#context.lease);
    this.#runs.set(request.id, run);
    this.#keepLeases();
    // The queue was closed while the store created the job.
    if (this.#isClosed) run.stop('closed');
    // Not when its work has settled, which may never happen.
    void run.ended.then(() => {
      this.#runs.delete(request.id);
      if (this.#runs.size === 0 && (this.#tasks.length === 0 || this.#isClosed)) this.#stopLeases();
    });
    return run;
  }

  /** Stops all timers and, after `wait` milliseconds, all jobs. Fulfilled when none runs any more. */
  async close(wait: number): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#sweepTimer);
    if (this.#runs.size === 0) this.#stopLeases();
    const runs = [...this.#runs.values()];
    const all = Promise.all(runs.map(({ settled }) => settled));
    if (wait > 0 && runs.length > 0) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, wait);
      });
      await Promise.race([all, late]);
      clearTimeout(timer);
    }
    for (const run of runs) run.stop('closed');
    // The work may never notice that it was stopped. Its end was recorded all the same.
    await Promise.all(runs.map(({ ended }) => ended));
    this.#stopLeases();
  }

  #keepLeases(): void {
    // Three times in a lease, so that two attempts may fail.
    this.#leaseTimer ??= setInterval(() => this.#tick(), Math.max(1, Math.floor(this.#context.lease / 3))).unref();
  }

  #stopLeases(): void {
    clearInterval(this.#leaseTimer);
    this.#leaseTimer = undefined;
  }

  #tick(): void {
    for (const run of this.#runs.values()) void run.renew();
    if (this.#tasks.length > 0 && !this.#isClosed) void this.#adoptJobs();
  }

  async #adoptJobs(): Promise<void> {
    if (this.#isAdopting) return;
    this.#isAdopting = true;
    const { store, lease } = this.#context;
    try {
      for (let i = 0; i < ADOPTED_AT_ONCE && !this.#isClosed; i++) {
        const holder = randomId();
        const leasedAt = performance.now();
        const adopted = await store.adopt?.(this.#tasks, holder, lease);
        if (adopted === undefined) return;
        const request = this.#adopt(adopted, holder);
        if (request === undefined) continue;
        this.start({ ...request, id: adopted.record.id, holder, isTask: true }, leasedAt);
      }
    } catch {
      // It is tried again with the next renewal.
    } finally {
      this.#isAdopting = false;
    }
  }

  /** Removes files of jobs that are gone, also those of an earlier process. */
  async #sweep(results: ResultFiles): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      for await (const id of results.list()) {
        if (this.#isClosed) return;
        if (this.#runs.has(id)) continue;
        // If the store cannot be read, nothing is removed.
        if ((await this.#context.store.read(id)) !== undefined) continue;
        await results.remove(id).catch((error: unknown) => this.#fault(error));
      }
    } catch (error) {
      this.#fault(error);
    } finally {
      this.#isSweeping = false;
    }
  }
}
