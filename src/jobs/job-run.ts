import type { Guard } from '../core/guard.js';
import { isRefusal } from '../core/reply.js';
import type { JobExchange } from './detached-exchange.js';
import { hasEnded } from './job-change.js';
import {
  CANCELLED,
  CLOSED,
  type Ending,
  faulty,
  giveBack,
  holdUntilDone,
  type JobEnd,
  jsonOf,
  refusedByGuard,
  refusedByWork,
  succeeded,
} from './job-ending.js';
import { JobReports } from './job-reports.js';
import type { JobRecord, JobStore } from './job-store.js';
import { type FileLimits, JobFiles, progressOf, type RunningJob } from './running-job.js';

/** What all runs of one queue have in common. */
export interface RunContext extends FileLimits {
  readonly store: JobStore;
  readonly lease: number;
  /** Of a JSON result. */
  readonly maxResultBytes: number;
}

/** What is run. */
export interface RunRequest {
  readonly id: string;
  readonly holder: string;
  /** An exchange of the job's own. */
  readonly exchange: JobExchange;
  readonly guards: Guard | undefined;
  readonly work: (job: RunningJob) => unknown;
  /** Whether another process can run the job if it has not started. */
  readonly isTask: boolean;
}

/** Why a job is stopped before it has ended by itself. */
export type Stop = 'cancelled' | 'lost' | 'closed';

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5000;

/** One job in the process that runs it, from its submission to its end. */
export class JobRun {
  /** The job as it ended. Undefined if the store cannot be reached, or the job is gone. Never rejects. */
  readonly ended: Promise<JobRecord | undefined>;
  /** Fulfilled when nothing of it runs here any more, which may be after its end. Never rejects. */
  readonly settled: Promise<void>;
  readonly #context: RunContext;
  readonly #request: RunRequest;
  readonly #files: JobFiles;
  readonly #reports: JobReports;
  readonly #stopping: Promise<void>;
  #onStop: () => void = () => undefined;
  #stop: Stop | undefined = undefined;
  #hasStarted = false;
  #isOver = false;
  /** When the lease ends unless it is renewed, by this process's own clock. Never later than in the store. */
  #heldUntil: number;
  #isRenewing = false;
  #isChecking: 'no' | 'yes' | 'again' = 'no';

  constructor(context: RunContext, request: RunRequest, heldUntil: number) {
    const { id, holder, exchange } = request;
    this.#context = context;
    this.#request = request;
    this.#heldUntil = heldUntil;
    this.#files = new JobFiles(id, context, exchange.signal);
    this.#reports = new JobReports(
      (report) => context.store.change(id, holder, report),
      (record) => this.#saw(record),
    );
    this.#stopping = new Promise((resolve) => {
      this.#onStop = resolve;
    });
    const work = this.#work();
    this.ended = this.#live(work);
    this.settled = Promise.all([work, this.ended]).then(() => undefined);
  }

  /** Extends the lease, and finds out whether the job is still wanted. */
  async renew(): Promise<void> {
    if (this.#isOver) return;
    if (performance.now() >= this.#heldUntil) return this.stop('lost');
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    const { store, lease } = this.#context;
    const heldUntil = performance.now() + lease;
    try {
      const record = await store.renew(this.#request.id, this.#request.holder, lease);
      if (record === undefined) return void this.check();
      this.#heldUntil = heldUntil;
      this.#saw(record);
    } catch {
      // The lease lasts a while, and the next attempt may succeed.
    } finally {
      this.#isRenewing = false;
    }
  }

  /** Looks at the job in the store: it may have been cancelled. */
  async check(): Promise<void> {
    if (this.#isChecking !== 'no') {
      this.#isChecking = 'again';
      return;
    }
    do {
      if (this.#isOver) return;
      this.#isChecking = 'yes';
      try {
        const record = await this.#context.store.read(this.#request.id);
        if (record === undefined || hasEnded(record.state)) {
          this.stop(record?.state === 'cancelled' ? 'cancelled' : 'lost');
        } else this.#saw(record);
      } catch {
        // It is asked again with the next renewal.
      }
    } while (this.#wasAskedAgain());
    this.#isChecking = 'no';
  }

  /** Ends the job now, whether its work notices that or not. */
  stop(why: Stop): void {
    if (this.#isOver || this.#stop !== undefined) return;
    this.#stop = why;
    const { exchange } = this.#request;
    if (this.#hasStarted) exchange.abort();
    else {
      giveBack(exchange);
      exchange.withdraw();
    }
    this.#onStop();
  }

  #wasAskedAgain(): boolean {
    return this.#isChecking === 'again';
  }

  #saw({ cancelRequested }: JobRecord): void {
    if (cancelRequested) this.stop('cancelled');
  }

  async #live(work: Promise<Ending | undefined>): Promise<JobRecord | undefined> {
    const { exchange, id } = this.#request;
    const unwatch = this.#context.store.watch(id, () => void this.check());
    try {
      const ending = await Promise.race([work, this.#stopping.then(() => undefined)]);
      this.#isOver = true;
      this.#reports.end();
      // What is held is given back before the end of the job can be seen.
      exchange.end(ending?.outcome ?? { kind: 'aborted' });
      const record = await this.#recordEnd(ending?.change ?? this.#endOfStopped());
      if (record?.state !== 'succeeded') void this.#removeFiles(work);
      return record;
    } catch (error) {
      exchange.fault(error);
      return undefined;
    } finally {
      unwatch();
    }
  }

  /** Undefined if it was stopped. Never rejects. */
  async #work(): Promise<Ending | undefined> {
    const { exchange, guards, work } = this.#request;
    try {
      exchange.queueListener = ({ position, expectedWait }) => {
        const expectedStart = expectedWait === undefined ? undefined : Date.now() + expectedWait;
        void this.#reports.write({ kind: 'place', place: { position, expectedStart } });
      };
      const reply = await guards?.(exchange);
      exchange.queueListener = undefined;
      if (this.#stop !== undefined) return giveBack(exchange);
      if (reply !== undefined) return refusedByGuard(reply);
      if (!(await this.#start())) return giveBack(exchange);
      const result: unknown = await holdUntilDone(exchange, work(this.#running()));
      if (isRefusal(result)) return refusedByWork(result);
      const json = jsonOf(result, this.#context.maxResultBytes);
      return succeeded(json, await this.#files.whole());
    } catch (error) {
      if (this.#stop !== undefined) return undefined;
      exchange.fault(error);
      return faulty();
    }
  }

  /** Returns false if the job was stopped meanwhile. */
  async #start(): Promise<boolean> {
    const { id, holder } = this.#request;
    const started = await this.#context.store.change(id, holder, { kind: 'start' });
    if (started === undefined) await this.check();
    // A check that is under way may have begun before.
    if (started === undefined) this.stop('lost');
    this.#hasStarted = this.#stop === undefined;
    return this.#hasStarted;
  }

  #running(): RunningJob {
    const { id, exchange } = this.#request;
    return {
      id,
      exchange,
      signal: exchange.signal,
      progress: (fraction, message) => {
        void this.#reports.write({ kind: 'progress', progress: progressOf(fraction, message) });
      },
      file: (name, type, body) => this.#files.add(name, type, body),
    };
  }

  /** What a stopped job has become. Undefined if the store knows that already. */
  #endOfStopped(): JobEnd | undefined {
    if (this.#stop === 'cancelled') return CANCELLED;
    return this.#stop === 'closed' && !(this.#request.isTask && !this.#hasStarted) ? CLOSED : undefined;
  }

  /** Writes the end, again and again while the lease lasts. */
  async #recordEnd(change: JobEnd | undefined): Promise<JobRecord | undefined> {
    const { store } = this.#context;
    const { id, holder } = this.#request;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        if (change !== undefined) return (await store.change(id, holder, change)) ?? (await store.read(id));
        // Another process need not wait for the end of the lease.
        if (this.#stop === 'closed') await store.renew(id, holder, 1);
        return await store.read(id);
      } catch (error) {
        if (performance.now() + wait >= this.#heldUntil) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait).unref());
      }
    }
  }

  async #removeFiles(work: Promise<unknown>): Promise<void> {
    const { results } = this.#context;
    await work;
    if (results === undefined || !this.#files.isUsed) return;
    try {
      await this.#files.whole().catch(() => undefined);
      await results.remove(this.#request.id);
    } catch (error) {
      this.#request.exchange.fault(error);
    }
  }
}
