/** The names of the worker contract: see examples/workers/README.md. */
export const JOB_ID = 'X-Job-Id';
export const SLOT = 'X-Slot';
export const TOKEN = 'X-Fencing-Token';
export const INSTANCE = 'X-Worker-Instance';
export const DEADLINE = 'X-Deadline-Ms';
export const GPU_SECONDS = 'X-GPU-Seconds';
export const REQUEST_ID = 'X-Request-Id';
export const JOB_ACCOUNT = 'X-Job-Account';
export const READY_PATH = '/ready';
export const JOBS_PATH = '/jobs';
export const ENDED_PATH = '/jobs/ended';

/** The path of one job, for cancelling it. */
export function jobPath(slot: number, token: number): string {
  return `${JOBS_PATH}/${slot}/${token}`;
}

/** A job that the worker lists as running. */
export interface ListedJob {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
  /** How long it has run, in milliseconds. */
  readonly ageMs: number;
}

/** Reads the body of `GET /jobs`. Undefined if it is no such list. */
export function listedJobs(body: unknown): readonly ListedJob[] | undefined {
  const jobs = memberOf(body, 'jobs');
  if (!Array.isArray(jobs)) return undefined;
  const listed: ListedJob[] = [];
  for (const job of jobs) {
    const [id, slot, token, ageMs] = ['id', 'slot', 'token', 'age_ms'].map((name) => memberOf(job, name));
    if (typeof id !== 'string' || !isWhole(slot) || !isWhole(token) || typeof ageMs !== 'number') return undefined;
    listed.push({ id, slot, token, ageMs });
  }
  return listed;
}

/** A job that the worker lists as ended. */
export interface EndedJob {
  /** Rises by one with each job that has ended. */
  readonly number: number;
  readonly slot: number;
  readonly token: number;
  /** What the gateway has sent with the job. */
  readonly account: string | undefined;
  readonly gpuTime: number;
  readonly end: 'done' | 'failed' | 'stopped';
  /** How long ago it has ended, in milliseconds. */
  readonly ageMs: number;
}

const ENDS = ['done', 'failed', 'stopped'] as const;
/** What `X-GPU-Seconds` can say at the most: more would not be the time of a job, and would spoil the sums of a ledger. */
const MAX_GPU_MS = 9_999_999_999;

/** Reads the body of `GET /jobs/ended`. Undefined if it is no such list. */
export function endedJobs(body: unknown): readonly EndedJob[] | undefined {
  const jobs = memberOf(body, 'ended');
  if (!Array.isArray(jobs)) return undefined;
  const ended: EndedJob[] = [];
  for (const job of jobs) {
    const [number, slot, token, gpuTime] = ['number', 'slot', 'token', 'gpu_ms'].map((name) => memberOf(job, name));
    const [account, ageMs] = [memberOf(job, 'account'), memberOf(job, 'age_ms')];
    const end = ENDS.find((known) => known === memberOf(job, 'end'));
    if (!isWhole(number) || !isWhole(slot) || !isWhole(token) || !isWhole(gpuTime)) return undefined;
    if (gpuTime > MAX_GPU_MS || end === undefined || typeof ageMs !== 'number') return undefined;
    ended.push({
      number,
      slot,
      token,
      account: typeof account === 'string' ? account : undefined,
      gpuTime,
      end,
      ageMs,
    });
  }
  return ended;
}

/** A member of a JSON object; undefined if the value is none or does not have it. */
export function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The whole seconds of a `Retry-After`, at least one. Undefined if it is missing or a date. */
export function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get('Retry-After');
  return value !== null && /^\d{1,6}$/.test(value) ? Math.max(1, Number(value)) : undefined;
}

/** The GPU time of a job in milliseconds, if its response says it. */
export function gpuTimeOf(headers: Headers): number | undefined {
  const value = headers.get(GPU_SECONDS);
  if (value === null || !/^\d{1,7}(?:\.\d{1,20})?$/.test(value)) return undefined;
  // To the microsecond, since 1.001 * 1000 is less than 1001, and other products are more.
  return Math.ceil(Math.round(Number(value) * 1e6) / 1000);
}
