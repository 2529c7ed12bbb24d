import { warn } from '../core/warning.js';

/**
 * What is known of a worker. `ready`: it accepts jobs. `busy`: it does not answer a probe while it runs a job. `loading`: it
 * refuses connections or says 503. `dead`: anything else.
 */
export type WorkerState = 'ready' | 'busy' | 'loading' | 'dead';

/** A job, for an operator. */
export interface WorkerJob {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
}

/** What an operator should know about a worker. */
export type WorkerEvent =
  | {
      /** Its state has changed. Each change is reported once. */
      readonly kind: 'state';
      readonly state: WorkerState;
      /** Undefined at first. */
      readonly previous: WorkerState | undefined;
      readonly reason: string;
    }
  | {
      /** A job goes on although the worker has confirmed that it was cancelled. Its slot stays held. */
      readonly kind: 'cancel-ignored';
      readonly job: WorkerJob;
      /** How long the worker has run the job, in milliseconds. */
      readonly age: number;
    }
  | {
      /** The worker does not say whether a job that was cancelled has ended. Its slot stays held. */
      readonly kind: 'cancel-unconfirmed';
      readonly job: WorkerJob;
      /** For how long it has been asked, in milliseconds. */
      readonly age: number;
      readonly reason: string;
    }
  | {
      /** The hold of a job was lost. The job was cancelled. */
      readonly kind: 'hold-lost';
      readonly job: WorkerJob;
    }
  | {
      /**
       * The worker refused a job: it does not have the slot, so that the limit of `concurrency` is too high, or it has seen
       * a newer token, so that another gateway with a store of its own uses it.
       */
      readonly kind: 'job-refused';
      readonly job: WorkerJob;
      readonly reason: string;
    }
  | {
      /**
       * The worker's list of jobs that have ended breaks the contract, so nothing of it is booked. Reported once for each start
       * of the worker.
       */
      readonly kind: 'ended-jobs-unreadable';
      readonly reason: string;
    };

/** Tells the operator, unless the service does. */
export function warnOf(url: string, event: WorkerEvent): void {
  switch (event.kind) {
    case 'state':
      if (event.state !== 'dead') return;
      warn(`gatewarden: the worker ${url} is dead: ${event.reason}`, { code: 'GATEWARDEN_WORKER_DEAD' });
      return;
    case 'cancel-ignored': {
      const { job, age } = event;
      const what = `the worker ${url} has run the job ${job.id} for ${Math.round(age / 1000)} s and ignores its cancel`;
      warn(`gatewarden: ${what}; slot ${job.slot} stays held`, { code: 'GATEWARDEN_CANCEL_IGNORED' });
      return;
    }
    case 'cancel-unconfirmed': {
      const { job, age, reason } = event;
      const what = `the worker ${url} has not said for ${Math.round(age / 1000)} s whether the job ${job.id} has ended`;
      warn(`gatewarden: ${what}: ${reason}; slot ${job.slot} stays held`, { code: 'GATEWARDEN_CANCEL_IGNORED' });
      return;
    }
    case 'hold-lost':
      warn(`gatewarden: the hold of the job ${event.job.id} at the worker ${url} was lost, and the job cancelled`, {
        code: 'GATEWARDEN_HOLD_LOST',
      });
      return;
    case 'job-refused':
      warn(`gatewarden: the worker ${url} refused a job: ${event.reason}`, { code: 'GATEWARDEN_JOB_REFUSED' });
      return;
    case 'ended-jobs-unreadable':
      warn(`gatewarden: jobs that have ended at the worker ${url} cannot be booked: ${event.reason}`, {
        code: 'GATEWARDEN_ENDED_JOBS_UNREADABLE',
      });
  }
}
