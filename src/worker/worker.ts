import { randomUUID } from 'node:crypto';
import { checkExchange } from '../core/check-exchange.js';
import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import type { Ledger } from '../core/ledger.js';
import {
  badOption,
  boolean,
  callback,
  checkOptionNames,
  OptionError,
  type OptionNames,
  shown,
  text,
} from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { MAX_DEADLINE } from './deadline.js';
import { EndedJobs } from './ended-jobs.js';
import { JobAccount } from './job-account.js';
import { JobLife, type RunContext } from './job-life.js';
import { cancelled, type JobResult } from './job-result.js';
import { JobRun } from './job-run.js';
import { Readiness, type WorkerStatus } from './readiness.js';
import type { JobBody } from './sent-body.js';
import { type WorkerEvent, warnOf } from './worker-event.js';
import { type Fetch, WorkerLink } from './worker-link.js';
import { baseUrl, requestPath } from './worker-url.js';

/** Options of `worker`. */
export interface WorkerOptions {
  /** The worker's URL, such as `http://127.0.0.1:8090`. Paths of jobs are appended to it. */
  readonly url: string;
  /**
   * The name of the `concurrency` policy whose slots are the worker's. Default the only one of the route that counts by
   * `global`.
   */
  readonly slots?: string | undefined;
  /**
   * The longest that a job may take. A `deadline` guard on the route can only shorten it. Default `'120s'`. Above `'300s'`,
   * `fetch` must be given: that of Node waits no longer.
   */
  readonly deadline?: Duration | undefined;
  /** How long to wait for the worker's answer after the deadline, before the job is cancelled. Default `'1s'`. */
  readonly grace?: Duration | undefined;
  /** How long a probe's result is used. Default `'1s'`. */
  readonly probeMaxAge?: Duration | undefined;
  /** How long a probe may take. Default `'2s'`. */
  readonly probeTimeout?: Duration | undefined;
  /** Whether a job that the worker failed or refused is charged for the GPU time that it took. Default false. */
  readonly chargeFailures?: boolean | undefined;
  /** Headers of every request to the worker, such as a token of a tunnel. They win over those of a job. Default none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * Books what the worker says that jobs have used, also those of gateways that have died since. Default: the ledger of
   * `meterUsage`, from the first job on. Name it here, so that a gateway that has just started books them at once.
   */
  readonly ledger?: Ledger | undefined;
  /** Receives what an operator should know. By default, what needs attention is a process warning. */
  readonly onEvent?: ((event: WorkerEvent) => void) | undefined;
  /** Instead of the global `fetch`, such as one with a connection pool of its own. */
  readonly fetch?: Fetch | undefined;
}

/** A job for a worker. */
export interface JobRequest {
  /** The path, with a query if there is one, such as `/generate/text`. */
  readonly path: string;
  /** Sent as `Content-Type: application/json`. Instead of `body`. */
  readonly json?: unknown;
  /** A text, bytes, or a function that returns a stream. It may be called again if the worker could not accept the job yet. */
  readonly body?: JobBody | undefined;
  /** More headers, such as the `Content-Type` of the body. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The longest that this job may take. Shortens the worker's `deadline` and that of the exchange. */
  readonly deadline?: Duration | undefined;
}

/** One worker behind the service. */
export interface Worker {
  /**
   * Refuses with 503 `not-ready` and `Retry-After` while the worker cannot accept jobs. Put it before `limit`, so that no
   * quota is touched.
   */
  ready(): Guard;
  /** What is known of the worker, for a health check. Asks the worker at most once in `probeMaxAge`. */
  status(): Promise<WorkerStatus>;
  /**
   * Runs one job in the slot that the exchange holds. Resolves to the worker's response as soon as its head is there, or to
   * what went wrong. The slot is free when the worker has said that the job has ended, which may be after the exchange.
   * @throws TypeError if the exchange holds no slot, has ended, or has run a job in this slot before, or if its usage is metered
   * in another ledger than that of the worker, and what `body` throws
   */
  run(exchange: Exchange, request: JobRequest): Promise<JobResult>;
}

const OPTIONS: OptionNames<WorkerOptions> = {
  url: true,
  slots: true,
  deadline: true,
  grace: true,
  probeMaxAge: true,
  probeTimeout: true,
  chargeFailures: true,
  headers: true,
  ledger: true,
  onEvent: true,
  fetch: true,
};
const REQUEST: OptionNames<JobRequest> = { path: true, json: true, body: true, headers: true, deadline: true };
/** The patience of Node's `fetch`. */
const MAX_OF_FETCH = 300_000;
const NOT_READY = problem('not-ready');

/**
 * A worker that follows the worker contract: it is asked whether it is ready, gets one job for each slot of a `concurrency`
 * policy, and is told to stop abandoned jobs. A slot is held until the worker is done, not until the client
 * leaves. What a job has used of the GPU settles the `gpuTime` policies of the exchange.
 *
 * ```ts
 * const gpu = worker({ url: 'http://127.0.0.1:8090' })
 * ```
 * @throws OptionError
 */
export function worker(options: WorkerOptions): Worker {
  checkOptionNames('worker', options, OPTIONS);
  const url = baseUrl('worker', options.url);
  const slots = options.slots === undefined ? undefined : text('worker', 'slots', options.slots);
  const longest = milliseconds('worker', 'deadline', options.deadline ?? '120s', MAX_DEADLINE);
  const onEvent = callback('worker', 'onEvent', options.onEvent);
  const ownFetch = callback('worker', 'fetch', options.fetch);
  if (ownFetch === undefined && longest > MAX_OF_FETCH) {
    const remedy = "for longer jobs, pass a 'fetch' whose connections wait longer";
    throw badOption('worker', 'deadline', "must be at most '300s' with the fetch of Node", options.deadline, remedy);
  }
  const link = new WorkerLink(url, ownFetch ?? globalFetch, checkHeaders('worker', options.headers));
  const report = (event: WorkerEvent): void => {
    try {
      if (onEvent === undefined) warnOf(url, event);
      else ignoreRejection(onEvent(event) as unknown);
    } catch {
      // The listener's own mistake, which must not stop a job.
    }
  };
  const readiness = new Readiness(link, {
    maxAge: milliseconds('worker', 'probeMaxAge', options.probeMaxAge ?? '1s', 3_600_000),
    timeout: milliseconds('worker', 'probeTimeout', options.probeTimeout ?? '2s', 3_600_000),
    report,
  });
  const ended = new EndedJobs(link, report);
  if (options.ledger !== undefined) ended.bookIn(checkLedger(options.ledger));
  const context: RunContext = {
    link,
    readiness,
    ended,
    report,
    grace: milliseconds('worker', 'grace', options.grace ?? '1s', 3_600_000, 0),
    chargeFailures: boolean('worker', 'chargeFailures', options.chargeFailures ?? false),
  };
  return {
    ready: () =>
      named('ready', (exchange) => {
        checkExchange('ready', exchange);
        const status = readiness.check();
        return isThenable(status) ? status.then(refusal) : refusal(status);
      }),
    status: async () => readiness.check(),
    async run(exchange, request) {
      checkOptionNames('run', request, REQUEST);
      const job = checkedJob(request);
      if (typeof exchange?.onEnd !== 'function') {
        throw new TypeError(
          `gatewarden: worker.run needs the exchange of the request, got ${shown(exchange)}; is guard(limit(...)) on this route?`,
        );
      }
      if (exchange.outcome !== undefined) {
        if (exchange.outcome.kind === 'aborted') return cancelled();
        throw new TypeError('gatewarden: worker.run was called after its exchange had ended');
      }
      const deadlineMs = Math.min(longest, exchange.deadline?.remaining() ?? longest, job.deadlineMs);
      if (exchange.usageAccount !== undefined) ended.bookIn(exchange.usageAccount.ledger);
      const account = new JobAccount(exchange, slots);
      const { slot, token } = account.place.hold;
      const named = { id: randomUUID(), slot, token };
      const life = new JobLife(context, exchange, account, named);
      return new JobRun(context, exchange, named, life, { ...job, deadlineMs }).result();
    },
  };
}

/** @throws OptionError */
function checkLedger(ledger: Ledger): Ledger {
  if (typeof ledger?.book === 'function') return ledger;
  throw badOption('worker', 'ledger', 'must be a ledger', ledger, 'pass that of meterUsage');
}

function refusal(status: WorkerStatus): Reply | undefined {
  return status.isUp ? undefined : refuse(NOT_READY, [['Retry-After', String(status.retryAfter)]]);
}

/** Looked up at each call, so that a service can replace it later, as some tracers do. */
function globalFetch(url: string, init: RequestInit): Promise<Response> {
  return fetch(url, init);
}

function checkHeaders(
  factory: string,
  headers: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(new Headers(headers));
  } catch {
    throw new OptionError(`gatewarden: ${factory} "headers" must be an object of header names and values`);
  }
}

function checkedJob({ path, json, body, headers, deadline }: JobRequest) {
  if (json !== undefined && body !== undefined) throw new TypeError('gatewarden: run takes "json" or "body", not both');
  const type = json === undefined ? {} : { 'content-type': 'application/json' };
  return {
    path: requestPath('run', path),
    headers: { ...type, ...checkHeaders('run', headers) },
    body: json === undefined ? (body ?? '') : JSON.stringify(json),
    deadlineMs: deadline === undefined ? MAX_DEADLINE : milliseconds('run', 'deadline', deadline, MAX_DEADLINE),
  };
}
