import { type Duration, milliseconds } from '../core/duration.js';
import type { Guard } from '../core/guard.js';
import { badOption, boolean, callback, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { sequence } from '../core/sequence.js';
import { bytes, type Size } from '../core/size.js';
import type { JobStore } from './job-store.js';
import type { ResultFiles } from './result-files.js';
import type { RunningJob } from './running-job.js';

/** A job that is submitted by its name, and survives its process while it waits. */
export interface JobTaskOptions {
  /** Guards of the job, which run on an exchange of its own, such as a `limit` with slots and `deadline`. Default none. */
  readonly guards?: readonly Guard[] | undefined;
  /** Does the work, with the `input` of the submission. What it returns is the result, as JSON. */
  run(job: RunningJob, input: unknown): unknown;
}

/** Options of `jobs`. */
export interface JobsOptions {
  /** Where jobs are kept: `memoryJobStore()`, or `redisJobStore({ client })` of `gatewarden/redis`. */
  readonly store: JobStore;
  /** How long a job and its result are kept after its end. Default `24h`. */
  readonly ttl?: Duration | undefined;
  /** Where the routes of the jobs are, for the URLs in replies. Default `/jobs`. */
  readonly path?: string | undefined;
  /** Where files are kept, such as `folder({ directory })`. Default nowhere: jobs have results of JSON only. */
  readonly results?: ResultFiles | undefined;
  /** The largest JSON result. Default 64 KB, at most 16 MB. */
  readonly maxResultBytes?: Size | undefined;
  /** The largest size of all files of one job. Default 1 GB. */
  readonly maxBytes?: Size | undefined;
  /** The most files of one job. Default 100. */
  readonly maxFiles?: number | undefined;
  /**
   * How long a job outlives a process that has died, before it counts as lost. It is renewed three times in this time.
   * Default `30s`, 1 second to 1 hour.
   */
  readonly lease?: Duration | undefined;
  /**
   * The longest that `respond` waits for the result before it answers 202. A client gets 202 earlier if it sends
   * `Prefer: respond-async`, or a shorter `Prefer: wait`. Default `0s`: it never waits.
   */
  readonly wait?: Duration | undefined;
  /** Whether a client that leaves while `respond` waits cancels its job. Default false. */
  readonly cancelOnLeave?: boolean | undefined;
  /** The scope with which a caller may see and cancel all jobs. `false` for none. Default `admin`. */
  readonly adminScope?: string | false | undefined;
  /** The most connections that follow the events of one job. Default 16. */
  readonly maxStreams?: number | undefined;
  /** How often a silent stream of events shows that it is alive. Default `15s`. */
  readonly heartbeat?: Duration | undefined;
  /** Jobs that can be submitted by name, and their work. Each takes its `input` as JSON. */
  readonly tasks?: Readonly<Record<string, JobTaskOptions>> | undefined;
  /** Receives faults that belong to no job, such as a folder that cannot be read. Default standard error. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/** A task whose guards are one. */
export interface CheckedTask {
  readonly guards: Guard | undefined;
  readonly run: (job: RunningJob, input: unknown) => unknown;
}

const OPTIONS: OptionNames<JobsOptions> = {
  store: true,
  ttl: true,
  path: true,
  results: true,
  maxResultBytes: true,
  maxBytes: true,
  maxFiles: true,
  lease: true,
  wait: true,
  cancelOnLeave: true,
  adminScope: true,
  maxStreams: true,
  heartbeat: true,
  tasks: true,
  onFault: true,
};
const TASK: OptionNames<JobTaskOptions> = { guards: true, run: true };
const STORE_VERBS = ['create', 'read', 'change', 'renew', 'cancel', 'watch'] as const;
const FILE_VERBS = ['save', 'open', 'remove', 'list'] as const;
/** What a timer can wait. */
const MAX_TIMER = 2_147_000_000;
const YEAR = 31_536_000_000;

/** Checks the options of `jobs`. @throws OptionError */
export function checkJobsOptions(options: JobsOptions) {
  checkOptionNames('jobs', options, OPTIONS);
  const { path = '/jobs', adminScope = 'admin', results } = options;
  checkVerbs('store', options.store, STORE_VERBS, 'must be a job store, such as memoryJobStore()');
  if (results !== undefined) {
    checkVerbs('results', results, FILE_VERBS, 'must be a place for files, such as folder({ directory })');
  }
  if (typeof path !== 'string' || !/^(?:https?:\/\/[^/?#\s]+)?(?:\/[\w.~!$&'()*+,;=:@%-]+)*$/.test(path)) {
    throw badOption('jobs', 'path', "must be a path such as '/jobs', without a slash at its end", path);
  }
  if (adminScope !== false && (typeof adminScope !== 'string' || !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(adminScope))) {
    throw badOption('jobs', 'adminScope', 'must be a scope (RFC 6749 section 3.3), or false', adminScope);
  }
  return {
    store: options.store,
    results,
    path,
    adminScope: adminScope === false ? undefined : adminScope,
    ttl: milliseconds('jobs', 'ttl', options.ttl ?? '24h', YEAR),
    lease: milliseconds('jobs', 'lease', options.lease ?? '30s', 3_600_000, 1000),
    wait: milliseconds('jobs', 'wait', options.wait ?? '0s', MAX_TIMER, 0),
    heartbeat: milliseconds('jobs', 'heartbeat', options.heartbeat ?? '15s', MAX_TIMER, 10),
    maxResultBytes: bytes('jobs', 'maxResultBytes', options.maxResultBytes ?? '64kb', 16 * 1_048_576),
    maxBytes: bytes('jobs', 'maxBytes', options.maxBytes ?? '1gb'),
    maxFiles: positiveInteger('jobs', 'maxFiles', options.maxFiles ?? 100, 10_000),
    maxStreams: positiveInteger('jobs', 'maxStreams', options.maxStreams ?? 16, 10_000),
    cancelOnLeave: boolean('jobs', 'cancelOnLeave', options.cancelOnLeave ?? false),
    tasks: checkTasks(options.tasks),
    onFault: callback('jobs', 'onFault', options.onFault) ?? toStandardError,
  };
}

/** The guards of a job as one guard. @throws OptionError */
export function combined(factory: string, guards: readonly Guard[] | undefined): Guard | undefined {
  if (guards === undefined) return undefined;
  if (!Array.isArray(guards)) throw badOption(factory, 'guards', 'must be a list of guards', guards);
  return guards.length === 0 ? undefined : sequence(...guards);
}

/** Checks the work of a job. @throws OptionError */
export function checkRun<F>(factory: string, run: F): F {
  if (typeof run !== 'function') throw badOption(factory, 'run', 'must be a function that does the work', run);
  return run;
}

function checkTasks(tasks: JobsOptions['tasks'] = {}): ReadonlyMap<string, CheckedTask> {
  if (typeof tasks !== 'object' || tasks === null || Array.isArray(tasks)) {
    throw badOption('jobs', 'tasks', 'must be an object of tasks by their names', tasks);
  }
  return new Map(
    Object.entries(tasks).map(([name, task]) => {
      const factory = `jobs task "${name}"`;
      if (!/^[\w.-]{1,64}$/.test(name)) {
        throw badOption('jobs', 'tasks', 'must have names of 1 to 64 letters, digits, "_", "." or "-"', name);
      }
      checkOptionNames(factory, task, TASK);
      return [name, { guards: combined(factory, task.guards), run: checkRun(factory, task.run) }];
    }),
  );
}

function checkVerbs(option: string, value: unknown, verbs: readonly string[], rule: string): void {
  const has = (verb: string) => typeof (value as Readonly<Record<string, unknown>>)[verb] === 'function';
  if (typeof value === 'object' && value !== null && verbs.every(has)) return;
  throw badOption('jobs', option, rule, value);
}

const toStandardError: (error: unknown) => void = (error) => {
  console.error('gatewarden:', error);
};
