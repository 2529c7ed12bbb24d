import type { Instruments } from './instruments.js';

/** Seconds, up to the length of a long job: a request may wait in a queue, and then for the GPU. */
const JOB_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
/** Seconds. Most guards and stores need far less than a millisecond, but a guard may wait in a queue. */
const GUARD_BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600];

/** All that is measured. */
export type Meters = ReturnType<typeof makeMeters>;

/** Makes every instrument. */
export function makeMeters(instruments: Instruments) {
  return {
    requests: instruments.counter({
      name: 'requests',
      help: 'Requests that have ended, by route, outcome (completed, refused or aborted) and status.',
      labels: ['route', 'outcome', 'status'],
    }),
    decisions: instruments.counter({
      name: 'decisions',
      help: 'Decisions of guards. The code is that of the refusal, or passed, or answered.',
      labels: ['guard', 'code', 'route'],
    }),
    requestDuration: instruments.histogram({
      name: 'request_duration',
      help: 'Time from the first guard to the end of the response.',
      labels: ['route', 'outcome'],
      unit: 's',
      buckets: JOB_BUCKETS,
    }),
    guardDuration: instruments.histogram({
      name: 'guard_duration',
      help: 'Time that guards took to decide, with the time in a queue.',
      labels: ['guard'],
      unit: 's',
      buckets: GUARD_BUCKETS,
    }),
    storeDuration: instruments.histogram({
      name: 'store_duration',
      help: 'Time that the stores of limits took to answer, by result (ok or error).',
      labels: ['operation', 'result'],
      unit: 's',
      buckets: GUARD_BUCKETS,
    }),
    jobDuration: instruments.histogram({
      name: 'job_duration',
      help: 'Time from sending a job to a worker to its end, by end (completed, failed or aborted).',
      labels: ['route', 'end'],
      unit: 's',
      buckets: JOB_BUCKETS,
    }),
    inFlight: instruments.level({
      name: 'requests_in_flight',
      help: 'Requests that have not ended.',
      labels: [],
    }),
    waiting: instruments.level({
      name: 'requests_waiting',
      help: 'Requests that wait in a queue for a slot.',
      labels: [],
    }),
    holds: instruments.level({
      name: 'holds',
      help: 'What requests and their jobs hold of each policy now, such as slots.',
      labels: ['policy'],
    }),
    jobs: instruments.level({
      name: 'jobs_running',
      help: 'Jobs that workers have now.',
      labels: [],
    }),
    gpu: instruments.counter({
      name: 'gpu',
      help: 'GPU time that was used.',
      labels: ['route'],
      unit: 's',
    }),
    uploads: instruments.counter({
      name: 'uploads_refused',
      help: 'Uploads that were refused, by code and reason.',
      labels: ['code', 'reason'],
    }),
    breaker: instruments.level({
      name: 'store_breaker_open',
      help: 'Whether a store does not answer, so that it is no longer asked: 1 if so, otherwise 0.',
      labels: ['store'],
    }),
    storeEvents: instruments.counter({
      name: 'store_events',
      help: 'What stores have reported.',
      labels: ['store', 'event'],
    }),
    workerReady: instruments.level({
      name: 'worker_ready',
      help: 'Whether a worker accepts jobs or is busy with them: 1 if so, otherwise 0.',
      labels: ['worker'],
    }),
    workerEvents: instruments.counter({
      name: 'worker_events',
      help: 'What was reported of workers.',
      labels: ['worker', 'event'],
    }),
  };
}
