/**
 * Jobs that outlive their request: 202 with status, events, result and cancel.
 *
 * `jobs({ store })` is a queue. A handler submits a job with `queue.respond(exchange, { guards, run })` and sends the reply
 * with `sendReply` of its adapter; `queue.submit` leaves the reply to the handler. `queue.status()`, `events()`, `result()`,
 * `cancel()` and `requireOwner()` are guards for the routes of one job, each for its owner only.
 * @module gatewarden/jobs
 */
export { type FolderOptions, folder } from './folder.js';
export type { Begun, IdempotencyAnswer, IdempotencyStore } from './idempotency/idempotency-store.js';
export { type IdempotentOptions, idempotent } from './idempotency/idempotent.js';
export {
  type MemoryIdempotencyStore,
  type MemoryIdempotencyStoreOptions,
  memoryIdempotencyStore,
} from './idempotency/memory-idempotency-store.js';
export type { JobGuards, JobResultOptions, JobRouteOptions } from './job-guards.js';
export type { JobStatus, JobStatusFile, JobUrls } from './job-status.js';
export {
  type AdoptedJob,
  type CreatedJob,
  type JobChange,
  type JobFile,
  type JobPlace,
  type JobProblem,
  type JobProgress,
  type JobRecord,
  type JobState,
  type JobStore,
  type JobTask,
  LOST,
  type NewJob,
} from './job-store.js';
export {
  type AcceptedJob,
  type JobQueue,
  type JobSubmission,
  jobs,
  type Submission,
  type SubmittedJob,
} from './jobs.js';
export type { JobsOptions, JobTaskOptions } from './jobs-options.js';
export { type MemoryJobStore, type MemoryJobStoreOptions, memoryJobStore } from './memory-job-store.js';
export type { FileRange, ResultFiles } from './result-files.js';
export type { FileBody, RunningJob } from './running-job.js';
