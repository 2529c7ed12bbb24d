import { problem } from '../core/problem.js';

/**
 * Where a job is in its life. It only goes forward: `queued`, `running`, and then one of `succeeded`, `failed` and
 * `cancelled`. A queued job may end without having run. After its `ttl`, a job that has ended is gone.
 */
export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** Where a job waits for its turn. */
export interface JobPlace {
  /** 1 for the one that is next. */
  readonly position: number;
  /** When it will probably start, in epoch milliseconds. Undefined if nothing is known yet. */
  readonly expectedStart: number | undefined;
}

/** How far a job is. */
export interface JobProgress {
  /** From 0 to 1. */
  readonly fraction: number;
  /** What it does now, in a few words. */
  readonly message?: string | undefined;
}

/** A file that a job has made. */
export interface JobFile {
  readonly name: string;
  /** Its media type, such as `model/gltf-binary`. */
  readonly type: string;
  readonly bytes: number;
}

/** Why a job failed, as its owner sees it. */
export interface JobProblem {
  /** `job-lost` if the process that ran it has stopped, or the code of another problem. */
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
}

/** A job as the store has it. Times are in epoch milliseconds, by the store's clock. */
export interface JobRecord {
  readonly id: string;
  /** Whose it is. Set when the job is created, and never changed. Never a key. */
  readonly owner: string;
  readonly state: JobState;
  /** 1 for a new job. Each visible change adds 1, and renewing a lease is none. */
  readonly version: number;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** When the job is gone: `ttl` after its end. Undefined before its end. */
  readonly expiresAt: number | undefined;
  /** Where it waits. Only while it is `queued`. */
  readonly place: JobPlace | undefined;
  readonly progress: JobProgress | undefined;
  /** Whether its owner wants it to end. Only a running job can have this before it is `cancelled`. */
  readonly cancelRequested: boolean;
  /** JSON text. Only if it `succeeded`, and not even then if the job had no JSON result. */
  readonly result: string | undefined;
  /** Only if it `succeeded`; empty otherwise. */
  readonly files: readonly JobFile[];
  /** Only if it `failed`. */
  readonly problem: JobProblem | undefined;
}

/** A new job. */
export interface NewJob {
  /** 128 random bits. */
  readonly id: string;
  readonly owner: string;
  /** Identifies the process that runs the job: 128 random bits. */
  readonly holder: string;
  /** Milliseconds. The holder renews it; when it has passed, the holder counts as dead. */
  readonly lease: number;
  /** Milliseconds from the end of the job on. */
  readonly ttl: number;
  /** For a job that another process can run if its holder dies before it has started. */
  readonly task: JobTask | undefined;
}

/** What another process needs to run a job. */
export interface JobTask {
  /** Processes that can run it know it by this name. */
  readonly name: string;
  /** Opaque to the store. */
  readonly payload: string;
}

/** A job that was taken over. */
export interface AdoptedJob {
  readonly record: JobRecord;
  readonly task: JobTask;
}

/** A step in the life of a job, made by its holder. */
export type JobChange =
  /** Only while it is `queued`. */
  | { readonly kind: 'place'; readonly place: JobPlace | undefined }
  /** From `queued` to `running`. `place` is undefined from then on. */
  | { readonly kind: 'start' }
  /** Only while it is `running`. */
  | { readonly kind: 'progress'; readonly progress: JobProgress }
  /** From `running`. */
  | {
      readonly kind: 'end';
      readonly state: 'succeeded';
      readonly result: string | undefined;
      readonly files: readonly JobFile[];
    }
  /** From `queued` or `running`. */
  | { readonly kind: 'end'; readonly state: 'failed'; readonly problem: JobProblem }
  /** From `queued` or `running`. */
  | { readonly kind: 'end'; readonly state: 'cancelled' };

/**
 * The problem of a job whose holder has died. Such a job has ended when its lease did: `endedAt` is the end of the lease,
 * `expiresAt` is `ttl` later, and `version` is one more. So it does not matter when, or by which process, it is read.
 */
export const LOST: JobProblem = Object.freeze(problem('job-lost'));

/**
 * Keeps jobs. Every verb is one atomic step, and decides by the store's own clock. A store that cannot decide throws or
 * rejects. It never returns a job whose `expiresAt` has come.
 *
 * A job has a holder, the process that runs it, under a lease. At the end of a lease that was not renewed, the holder counts
 * as dead: nothing it does then has an effect. The job is `failed` with `LOST` then. Only a job that is `queued` and has a
 * `task` stays `queued`, until another process adopts it, or until `ttl` after the end of the lease, when it is gone.
 */
export interface JobStore {
  /**
   * Adds a job in the state `queued`. `exists` if there is a job of that id, which does not change, nor does its owner.
   * `full` if there is no room; a store may forget jobs that have ended to make room, of the owner with the most of them.
   */
  create(job: NewJob): CreatedJob | Promise<CreatedJob>;
  /** The job as it is now. */
  read(id: string): JobRecord | undefined | Promise<JobRecord | undefined>;
  /**
   * Changes a job, if `holder` holds it and the job is in a state that the change is for. Returns the changed job.
   * Undefined, and nothing is changed, if not. A change does not renew the lease.
   */
  change(id: string, holder: string, change: JobChange): JobRecord | undefined | Promise<JobRecord | undefined>;
  /** Extends the lease to `lease` milliseconds from now. Undefined if the job has ended, or `holder` does not hold it. */
  renew(id: string, holder: string, lease: number): JobRecord | undefined | Promise<JobRecord | undefined>;
  /**
   * Ends a `queued` job as `cancelled`. Sets `cancelRequested` of a `running` one. A job that has ended does not change.
   * Returns the job after that; undefined if there is none.
   */
  cancel(id: string): JobRecord | undefined | Promise<JobRecord | undefined>;
  /**
   * Takes over a `queued` job whose lease has ended and whose task has one of these names, the oldest first. Its `version`
   * does not change. Undefined if there is none. Optional: not needed if all jobs end with their process.
   */
  adopt?(
    names: readonly string[],
    holder: string,
    lease: number,
  ): AdoptedJob | undefined | Promise<AdoptedJob | undefined>;
  /**
   * The newest jobs of all owners, the newest first: at most `limit` of them, and fewer if some are gone. For operators only.
   * Optional.
   */
  list?(limit: number): readonly JobRecord[] | Promise<readonly JobRecord[]>;
  /**
   * Calls `onChange` soon after each change of the job, by whichever process, until the returned function is called. Calls
   * without a change are allowed, so a store may simply call it at an interval. It must not keep the process alive.
   */
  watch(id: string, onChange: () => void): () => void;
}

/** The answer to `create`. */
export type CreatedJob =
  | { readonly kind: 'created'; readonly record: JobRecord }
  | { readonly kind: 'exists' }
  | { readonly kind: 'full' };
