import { type JobChange, type JobFile, type JobProblem, type JobRecord, type JobState, LOST } from '../job-store.js';

/** A job as the scripts return it: names and values of its hash. */
export type PackedJob = ReadonlyMap<string, string>;

const STATES: readonly string[] = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] satisfies JobState[];
/** As the scripts name the problem of a job whose lease has ended. */
const LOST_TEXT = 'lost';

/** Reads a script's reply. @throws TypeError for anything else */
export function packedJob(reply: unknown): PackedJob {
  if (!Array.isArray(reply) || reply.some((part) => typeof part !== 'string')) throw new TypeError(NO_JOB);
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < reply.length; i += 2) fields.set(reply[i], reply[i + 1]);
  return fields;
}

/** @throws TypeError for a hash that is no job */
export function unpackJob(id: string, job: PackedJob): JobRecord {
  const owner = job.get('o');
  const state = job.get('s');
  if (owner === undefined || !isState(state)) throw new TypeError(NO_JOB);
  const number = (name: string): number | undefined => {
    const text = job.get(name);
    return text === undefined ? undefined : Number(text);
  };
  const problem = job.get('m');
  return {
    id,
    owner,
    state,
    version: number('v') ?? 0,
    createdAt: number('c') ?? 0,
    startedAt: number('b'),
    endedAt: number('e'),
    expiresAt: number('x'),
    place: json(job.get('p')),
    progress: json(job.get('g')),
    cancelRequested: job.has('q'),
    result: job.get('r'),
    files: json<readonly JobFile[]>(job.get('f')) ?? [],
    problem: problem === LOST_TEXT ? LOST : json<JobProblem>(problem),
  };
}

/** The arguments of the script for a change: the states that it is for, what it does, and the fields that it sets. */
export function packChange(change: JobChange): readonly string[] {
  switch (change.kind) {
    case 'place':
      return ['queued', 'set', 'p', change.place === undefined ? '' : JSON.stringify(change.place)];
    case 'start':
      return ['queued', 'start'];
    case 'progress':
      return ['running', 'set', 'g', JSON.stringify(change.progress)];
    default: {
      const { state } = change;
      if (state === 'succeeded') {
        const { result = '', files } = change;
        return ['running', 'end', 's', state, 'r', result, 'f', JSON.stringify(files)];
      }
      const problem = state === 'failed' ? JSON.stringify(change.problem) : '';
      return ['queued running', 'end', 's', state, 'm', problem];
    }
  }
}

function isState(text: string | undefined): text is JobState {
  return text !== undefined && STATES.includes(text);
}

function json<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as T);
}

const NO_JOB = 'gatewarden: redisJobStore got something from Redis that is no job; does another program use its keys?';
