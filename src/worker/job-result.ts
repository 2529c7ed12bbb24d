import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';

/** The worker has answered a job with a 2xx. */
export interface JobAnswer {
  readonly kind: 'done';
  /**
   * The worker's response. Its body is read from the worker while it is read here, and is never held as a whole. Reading it
   * may fail with a `JobError`.
   */
  readonly response: Response;
  /** What the worker says that the job has used of its GPU, in milliseconds. */
  readonly gpuTime: number | undefined;
}

/**
 * A job without a result.
 *
 * - `failed`: the worker answered with an error. `status` is the worker's: with a 4xx, the same job will fail again.
 * - `deadline-exceeded`: the deadline passed.
 * - `unavailable`: the worker could not be reached, is still starting, or the connection was lost.
 * - `cancelled`: the client disconnected and cannot receive the reply, or the stream of the job's body broke off.
 */
export interface JobFailure {
  readonly kind: 'failed' | 'deadline-exceeded' | 'unavailable' | 'cancelled';
  /** The worker's status, if it is the worker's answer. */
  readonly status: number | undefined;
  /** What the worker said, at most 1000 characters, or what went wrong. For a log. */
  readonly reason: string;
  /** What a client may be told: 502 `worker-failed`, 504 `deadline-exceeded` or 503 `worker-unavailable`. */
  readonly reply: Reply;
}

/** What has become of a job. */
export type JobResult = JobAnswer | JobFailure;

/** Thrown to the reader of a response's body if the rest of it will not come. */
export class JobError extends Error {
  override readonly name = 'JobError';
  readonly code = 'GATEWARDEN_JOB';

  constructor(
    /** Why. */
    readonly failure: JobFailure,
    options?: ErrorOptions,
  ) {
    super(`gatewarden: the job did not end well: ${failure.kind}: ${failure.reason}`, options);
  }
}

const MAX_REASON = 1000;
const RETRY_AFTER = 5;

const FAILED = refuse(problem('worker-failed'));
const DEADLINE_EXCEEDED = refuse(problem('deadline-exceeded'));
const unavailableIn = (seconds: number) => refuse(problem('worker-unavailable'), [['Retry-After', String(seconds)]]);
const UNAVAILABLE = unavailableIn(RETRY_AFTER);

export function failed(status: number, reason: string): JobFailure {
  return { kind: 'failed', status, reason: reason.slice(0, MAX_REASON), reply: FAILED };
}

export function deadlineExceeded(status?: number): JobFailure {
  return { kind: 'deadline-exceeded', status, reason: 'the deadline has passed', reply: DEADLINE_EXCEEDED };
}

export function unavailable(reason: string, retryAfter?: number): JobFailure {
  const reply = retryAfter === undefined ? UNAVAILABLE : unavailableIn(retryAfter);
  return { kind: 'unavailable', status: undefined, reason, reply };
}

export function cancelled(reason = 'the client has left'): JobFailure {
  return { kind: 'cancelled', status: undefined, reason, reply: UNAVAILABLE };
}
