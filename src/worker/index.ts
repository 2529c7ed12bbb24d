/**
 * The worker behind a service: readiness, deadlines, one job for each slot, and a check of the worker contract.
 * @module gatewarden/worker
 */
export {
  type CheckWorkerOptions,
  checkWorker,
  type WorkerReport,
  type WorkerRuleResult,
} from './check/check-worker.js';
export { type DeadlineOptions, deadline } from './deadline.js';
export { type JobAnswer, JobError, type JobFailure, type JobResult } from './job-result.js';
export type { WorkerStatus } from './readiness.js';
export type { JobBody } from './sent-body.js';
export { type JobRequest, type Worker, type WorkerOptions, worker } from './worker.js';
export type { WorkerEvent, WorkerJob, WorkerState } from './worker-event.js';
export type { Fetch } from './worker-link.js';
