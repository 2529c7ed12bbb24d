import type { JobFile, JobProblem, JobRecord, JobState } from './job-store.js';

/** The URLs of one job. */
export interface JobUrls {
  readonly status_url: string;
  readonly events_url: string;
  readonly result_url: string;
  readonly cancel_url: string;
}

/** A file as the status names it. */
export interface JobStatusFile extends JobFile {
  readonly url: string;
}

/** A job as its owner sees it, as JSON. Times are in ISO 8601. What is not known is absent. */
export interface JobStatus extends JobUrls {
  readonly id: string;
  readonly status: JobState;
  readonly created_at: string;
  readonly started_at?: string;
  readonly ended_at?: string;
  /** When the job and its result are gone. */
  readonly expires_at?: string;
  /** How many are before it, and itself. Only while it is `queued`. */
  readonly position?: number;
  readonly expected_start?: string;
  /** From 0 to 1. */
  readonly progress?: number;
  readonly message?: string;
  /** Whether it was asked to end, and has not yet. */
  readonly cancel_requested?: true;
  /** Why it `failed`. */
  readonly problem?: JobProblem;
  readonly files?: readonly JobStatusFile[];
}

/** The last time that a `Date` can be, in epoch milliseconds. */
const MAX_TIME = 8.64e15;

/** The URLs of a job whose routes are under `path`. */
export function urlsOf(path: string, id: string): JobUrls {
  const own = `${path}/${id}`;
  return { status_url: own, events_url: `${own}/events`, result_url: `${own}/result`, cancel_url: own };
}

export function statusOf(path: string, record: JobRecord): JobStatus {
  const { id, state, place, progress, cancelRequested, problem, files } = record;
  const urls = urlsOf(path, id);
  return {
    id,
    status: state,
    created_at: iso(record.createdAt),
    ...(record.startedAt === undefined ? {} : { started_at: iso(record.startedAt) }),
    ...(record.endedAt === undefined ? {} : { ended_at: iso(record.endedAt) }),
    ...(record.expiresAt === undefined ? {} : { expires_at: iso(record.expiresAt) }),
    ...(place === undefined ? {} : { position: place.position }),
    ...(isTime(place?.expectedStart) ? { expected_start: iso(place.expectedStart) } : {}),
    ...(progress === undefined ? {} : { progress: progress.fraction }),
    ...(progress?.message === undefined ? {} : { message: progress.message }),
    ...(cancelRequested && state === 'running' ? { cancel_requested: true as const } : {}),
    ...(problem === undefined ? {} : { problem }),
    ...(files.length === 0 ? {} : { files: files.map((file) => ({ ...file, url: fileUrl(urls, file) })) }),
    ...urls,
  };
}

function fileUrl({ result_url }: JobUrls, { name }: JobFile): string {
  return `${result_url}?file=${encodeURIComponent(name)}`;
}

/** A queue whose limit is zero has no end. */
function isTime(time: number | undefined): time is number {
  return typeof time === 'number' && Math.abs(time) <= MAX_TIME;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
