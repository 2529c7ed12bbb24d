/**
 * Jobs that outlive their request: 202 with status, events, result and cancel.
 * @module gatewarden/jobs
 */
export type {
  AdoptedJob,
  CreatedJob,
  JobChange,
  JobFile,
  JobPlace,
  JobProblem,
  JobProgress,
  JobRecord,
  JobState,
  JobStore,
  JobTask,
  NewJob,
} from './job-store.js';
