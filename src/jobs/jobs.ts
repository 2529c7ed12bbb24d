import { checkExchange } from '../core/check-exchange.js';
import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames, type OptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { jsonReply, type Reply, refuse } from '../core/reply.js';
import { withTimeout } from '../core/with-timeout.js';
import { detachedExchange } from './detached-exchange.js';
import { hasEnded } from './job-change.js';
import { type JobGuards, jobGuards } from './job-guards.js';
import { newOwner, randomId } from './job-owner.js';
import { resultReply } from './job-result.js';
import { JobRunner } from './job-runner.js';
import { type JobUrls, urlsOf } from './job-status.js';
import type { JobRecord } from './job-store.js';
import { checkJobsOptions, checkRun, combined, type JobsOptions } from './jobs-options.js';
import { preferenceOf } from './preference.js';
import type { RunningJob } from './running-job.js';
import { adoptedExchange, payloadOf } from './task-payload.js';

/** A job to submit: a function, or a task by its name. */
export type JobSubmission =
  | {
      /** Guards of the job, which run on an exchange of its own, such as a `limit` with slots and `deadline`. Default none. */
      readonly guards?: readonly Guard[] | undefined;
      /** Does the work. What it returns is the result, as JSON. A refusal that it returns fails the job. */
      readonly run: (job: RunningJob) => unknown;
      readonly task?: undefined;
    }
  | {
      /** One of the `tasks` of the queue. While it waits, it survives the end of this process. */
      readonly task: string;
      /** For the task, as JSON. */
      readonly input?: unknown;
    };

/** A job that was accepted. */
export interface SubmittedJob {
  readonly id: string;
  /** The job when it was accepted. */
  readonly record: JobRecord;
  /**
   * What an anonymous caller must send as `Job-Token` with each request about the job. It is not stored: tell the caller now.
   * Undefined if the caller has a principal.
   */
  readonly token: string | undefined;
  /** The job when it has ended. Undefined if the store could not be reached then. Never rejects. */
  readonly ended: Promise<JobRecord | undefined>;
}

/** What became of a submission. */
export type Submission =
  | { readonly kind: 'accepted'; readonly job: SubmittedJob }
  /** 503 `jobs-full` or `jobs-unavailable`. */
  | { readonly kind: 'refused'; readonly reply: Reply };

/** The body of a 202. */
export interface AcceptedJob extends JobUrls {
  readonly id: string;
  readonly status: 'queued';
  /** Only for an anonymous caller. */
  readonly token?: string;
}

/** Jobs that outlive their requests. */
export interface JobQueue extends JobGuards {
  /** Submits a job for the caller, who owns it from then on. It runs in this process, even if the caller disconnects. */
  submit(exchange: Exchange, submission: JobSubmission): Promise<Submission>;
  /**
   * Submits a job and answers: 202, with URLs, or the result if it comes within `wait`. The reply is sent with `sendReply` of
   * the adapter, or returned by a guard.
   */
  respond(exchange: Exchange, submission: JobSubmission): Promise<Reply>;
  /** The 202 for a job, with `Location`. */
  accepted(job: SubmittedJob): Reply;
  /** A job, if the caller owns it or has `adminScope`. Undefined for any other job, and for one that is missing. */
  get(exchange: Exchange, id: string): Promise<JobRecord | undefined>;
  /**
   * Accepts no more jobs. Waits for those that run, for `wait` at the most (default `0s`), and then stops them: they have
   * `failed` with `job-lost`. Tasks that have not started are left to other processes.
   */
  close(options?: { readonly wait?: Duration | undefined }): Promise<void>;
}

const FULL = refuse(problem('jobs-full'), [['Retry-After', '5']]);
const UNAVAILABLE = refuse(problem('jobs-unavailable'), [['Retry-After', '5']]);
const SUBMISSION: OptionNames<{ guards: true; run: true; task: true; input: true }> = {
  guards: true,
  run: true,
  task: true,
  input: true,
};

/**
 * Runs jobs that outlive the requests that ask for them, and serves their status, events and results to their owners.
 *
 * ```ts
 * const queue = jobs({ store: memoryJobStore() })
 * app.post('/meshes', guard(authenticate(apiKeys({ keys }))), async (req, res) => {
 *   sendReply(req, res, await queue.respond(req.exchange, { run: async (job) => makeMesh(job.signal) }))
 * })
 * app.get('/jobs/:id', guard(authenticate(apiKeys({ keys })), queue.status()))
 * ```
 * @throws OptionError
 */
export function jobs(options: JobsOptions): JobQueue {
  const settings = checkJobsOptions(options);
  const { store, path, ttl, lease, tasks, wait, results } = settings;
  const runner = new JobRunner(
    settings,
    {
      ttl,
      tasks: [...tasks.keys()],
      adopt({ task: { name, payload } }) {
        const task = tasks.get(name);
        if (task === undefined) return undefined;
        const { exchange, input } = adoptedExchange(payload);
        return { exchange, guards: task.guards, work: (job) => task.run(job, input) };
      },
    },
    settings.onFault,
  );

  /** The work of a submission. @throws OptionError */
  function workOf(submission: JobSubmission) {
    checkOptionNames('submit', submission, SUBMISSION);
    if (submission.task === undefined) {
      const work = checkRun('submit', submission.run);
      return { task: undefined, guards: combined('submit', submission.guards), work };
    }
    const { task: name, input, ...others } = submission;
    const found = tasks.get(name);
    if (found === undefined) throw badOption('submit', 'task', `must be one of ${[...tasks.keys()].join(', ')}`, name);
    const [other] = Object.keys(others);
    if (other !== undefined) throw badOption('submit', other, 'belongs to the task', others[other as never]);
    // As another process would get it.
    const own: unknown = input === undefined ? null : JSON.parse(JSON.stringify(input));
    const work = (job: RunningJob) => found.run(job, own);
    return { task: { name, input }, guards: found.guards, work };
  }

  async function submit(exchange: Exchange, submission: JobSubmission): Promise<Submission> {
    checkExchange('submit', exchange);
    const { task, guards, work } = workOf(submission);
    const payload = task === undefined ? undefined : { name: task.name, payload: payloadOf(exchange, task.input) };
    if (runner.isClosed) return { kind: 'refused', reply: UNAVAILABLE };
    const [id, holder] = [randomId(), randomId()];
    const { owner, token } = newOwner(exchange);
    const own = detachedExchange(exchange);
    const leasedAt = performance.now();
    try {
      const created = await store.create({ id, owner, holder, lease, ttl, task: payload });
      if (created.kind === 'full') return { kind: 'refused', reply: FULL };
      if (created.kind !== 'created') throw new Error('gatewarden: a job store has a job of an id that is new');
      const { ended } = runner.start(
        { id, holder, exchange: own, guards, work, isTask: payload !== undefined && store.adopt !== undefined },
        leasedAt,
      );
      return { kind: 'accepted', job: { id, token, record: created.record, ended } };
    } catch (error) {
      exchange.fault(error);
      // The job may be there all the same, if only the answer was lost.
      void withdraw(id);
      return { kind: 'refused', reply: UNAVAILABLE };
    }
  }

  async function withdraw(id: string): Promise<void> {
    try {
      await store.cancel(id);
    } catch {
      // Without a holder, it ends with its lease.
    }
  }

  function accepted({ id, token }: SubmittedJob): Reply {
    const urls = urlsOf(path, id);
    const body: AcceptedJob = { id, status: 'queued', ...urls, ...(token === undefined ? {} : { token }) };
    return jsonReply(202, body, [['Location', urls.status_url]]);
  }

  const guards = jobGuards(settings);

  return {
    ...guards,
    submit,
    accepted,
    async respond(exchange, submission) {
      const submitted = await submit(exchange, submission);
      if (submitted.kind === 'refused') return submitted.reply;
      const { job } = submitted;
      const { isAsync, wait: asked } = preferenceOf(exchange.request);
      const patience = isAsync && asked === undefined ? 0 : Math.min(wait, asked ?? wait);
      const record = patience === 0 ? undefined : await endOf(exchange, job, patience);
      const reply = record === undefined ? accepted(job) : await resultReply(exchange, record, results, undefined);
      const headers: (readonly [string, string])[] = [...reply.headers, ['Vary', varyWith(exchange)]];
      if (isAsync && record === undefined) headers.push(['Preference-Applied', 'respond-async']);
      else if (asked !== undefined && asked <= wait) headers.push(['Preference-Applied', `wait=${asked / 1000}`]);
      if (record !== undefined) headers.push(['Content-Location', urlsOf(path, job.id).result_url]);
      return { ...reply, headers };
    },
    async close({ wait: patience = '0s' } = {}) {
      await runner.close(milliseconds('close', 'wait', patience, 86_400_000, 0));
    },
  };

  /** The job when it has ended, if it does so in time and the client is still there. */
  async function endOf(exchange: Exchange, job: SubmittedJob, patience: number): Promise<JobRecord | undefined> {
    const left = new Promise<undefined>((resolve) => {
      exchange.onEnd(({ kind }) => {
        resolve(undefined);
        // A rejection is a fault, and the job runs on.
        return kind === 'aborted' && settings.cancelOnLeave ? store.cancel(job.id) : undefined;
      });
    });
    const late = new Error('late');
    try {
      const record = await withTimeout(Promise.race([job.ended, left]), patience, () => late);
      return record !== undefined && hasEnded(record.state) ? record : undefined;
    } catch (error) {
      if (error === late) return undefined;
      throw error;
    }
  }
}

/** What the preference was is part of what the reply depends on (RFC 7240 section 2). */
function varyWith(exchange: Exchange): string {
  const before = exchange.get('Vary');
  return before === undefined ? 'Prefer' : `${before}, Prefer`;
}
