import type { Exchange } from '../core/exchange.js';
import {
  DEADLINE,
  gpuTimeOf,
  INSTANCE,
  JOB_ACCOUNT,
  JOB_ID,
  memberOf,
  REQUEST_ID,
  retryAfterOf,
  SLOT,
  TOKEN,
} from './contract.js';
import { jobBody } from './job-body.js';
import { sleep } from './job-ending.js';
import type { JobLife, RunContext } from './job-life.js';
import {
  cancelled,
  deadlineExceeded,
  failed,
  JobError,
  type JobFailure,
  type JobResult,
  unavailable,
} from './job-result.js';
import { type JobBody, SentBody } from './sent-body.js';
import type { WorkerJob } from './worker-event.js';
import { codeOf, jsonOf, neverConnected, reasonOf, textOf } from './worker-link.js';

/** A job's request as `run` has checked it. */
export interface RunRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: JobBody;
  readonly deadlineMs: number;
}

/** How often a worker may start again while one job waits. */
const MAX_RESTARTS = 5;
const BUSY_WAIT_MS = 1000;
/** What every `fetch` decodes. */
const DECODED = new Set(['gzip', 'x-gzip', 'deflate', 'br']);

/** Sends one job to the worker, again while its slot is busy or the worker has started again, and reads the answer. */
export class JobRun {
  readonly #context: RunContext;
  readonly #exchange: Exchange;
  readonly #job: WorkerJob;
  readonly #life: JobLife;
  readonly #request: RunRequest;
  readonly #endsAt: number;
  #body: SentBody | undefined = undefined;

  constructor(context: RunContext, exchange: Exchange, job: WorkerJob, life: JobLife, request: RunRequest) {
    this.#context = context;
    this.#exchange = exchange;
    this.#job = job;
    this.#life = life;
    this.#request = request;
    this.#endsAt = performance.now() + request.deadlineMs;
  }

  async result(): Promise<JobResult> {
    this.#life.begin(this.#request.deadlineMs);
    try {
      const result = await this.#attempts();
      if (result.kind !== 'done') this.#life.unwatch();
      return result;
    } catch (error) {
      this.#life.stop('connection');
      throw error;
    }
  }

  async #attempts(): Promise<JobResult> {
    const { link, readiness } = this.#context;
    for (let restarts = 0; restarts <= MAX_RESTARTS; ) {
      if (this.#life.failure !== undefined) return this.#life.failure;
      if (link.instance === undefined) {
        const { retryAfter } = await readiness.check();
        if (link.instance === undefined) return this.#neverRan(unavailable('the worker is not ready', retryAfter));
        continue;
      }
      const remaining = Math.ceil(this.#endsAt - performance.now());
      if (remaining <= 0) return this.#neverRan(deadlineExceeded());
      const answer = await this.#send(link.instance, remaining);
      const result = 'kind' in answer ? answer : await this.#read(answer);
      if (result === 'restarted') restarts++;
      else if (result !== 'busy') return result;
    }
    return this.#neverRan(unavailable('the worker starts again and again'));
  }

  async #send(instance: string, deadlineMs: number): Promise<Response | JobFailure> {
    const { path, body, headers } = this.#request;
    const { requestId } = this.#exchange;
    const { id, slot, token } = this.#job;
    const named = this.#context.link.headersWith(headers);
    if (requestId !== undefined && !named.has(REQUEST_ID)) named.set(REQUEST_ID, requestId);
    named.set(JOB_ID, id);
    named.set(SLOT, String(slot));
    named.set(TOKEN, String(token));
    named.set(INSTANCE, instance);
    named.set(DEADLINE, String(deadlineMs));
    this.#body = new SentBody(body);
    this.#life.sent(instance);
    // A handler that passes on the headers of its client must not let that client choose who pays.
    named.delete(JOB_ACCOUNT);
    if (this.#life.accountText !== undefined) named.set(JOB_ACCOUNT, this.#life.accountText);
    try {
      return await this.#context.link.post(path, named, this.#body.init, this.#life.connection.signal);
    } catch (error) {
      if (this.#life.failure !== undefined) return this.#life.failure;
      if (this.#body.failure !== undefined) return this.#broken(error);
      this.#context.readiness.forget();
      if (!neverConnected(error)) return this.#broken(error);
      this.#life.refused();
      return this.#neverRan(unavailable(`no connection: ${reasonOf(error)}`));
    }
  }

  /** The worker's word on the job. */
  async #read(response: Response): Promise<JobResult | 'busy' | 'restarted'> {
    if (this.#life.failure !== undefined) return this.#life.failure;
    const { status, headers } = response;
    if (!headers.has(INSTANCE)) {
      this.#context.readiness.forget();
      return this.#broken(new Error(`a response ${status} without ${INSTANCE}, which is not the worker's`));
    }
    if (response.ok) return this.#done(response);
    const text = await textOf(response).catch(() => '');
    if (this.#life.failure !== undefined) return this.#life.failure;
    const body = jsonOf(text);
    const reason = memberOf(body, 'reason');
    if (status === 409) return this.#conflict(reason, memberOf(body, 'instance'), text);
    if (status === 503) {
      this.#life.refused();
      if (reason === 'busy') {
        await sleep(Math.min(BUSY_WAIT_MS, (retryAfterOf(headers) ?? 1) * 1000), this.#life.connection.signal);
        return 'busy';
      }
      this.#context.readiness.forget();
      return this.#neverRan(unavailable(text.slice(0, 1000), retryAfterOf(headers)));
    }
    const word = gpuTimeOf(headers);
    const used = word ?? this.#life.elapsed;
    if (status === 504) {
      this.#life.end(used, 'aborted', used, word !== undefined);
      return deadlineExceeded(status);
    }
    // A job that was refused for its input, but not before the GPU had worked on it, is the client's doing.
    const isCharged = this.#context.chargeFailures || (status < 500 && word !== undefined);
    this.#life.end(isCharged ? used : undefined, 'failed', used, word !== undefined);
    return failed(status, text);
  }

  #conflict(reason: unknown, instance: unknown, text: string): JobFailure | 'restarted' {
    const { link, report } = this.#context;
    this.#life.refused();
    if (reason === 'instance' && typeof instance === 'string') {
      link.instance = instance;
      return 'restarted';
    }
    const what = text.slice(0, 1000);
    // A cancelled job had a newer one in its slot, so the store will say that the hold is lost.
    if (reason !== 'cancelled') report({ kind: 'job-refused', job: this.#job, reason: what });
    return this.#neverRan(unavailable(what));
  }

  #done(response: Response): JobResult {
    const life = this.#life;
    const gpuTime = gpuTimeOf(response.headers);
    // The time is known, so the job has ended. Its slot does not wait until the client has received the result.
    if (gpuTime !== undefined || response.body === null) {
      const used = gpuTime ?? life.elapsed;
      life.end(used, 'completed', used, gpuTime !== undefined);
    }
    if (response.body === null) life.unwatch();
    const body = jobBody(response, {
      whole() {
        life.end(life.elapsed, 'completed');
        life.unwatch();
      },
      broken: (error) => new JobError(life.failure ?? this.#broken(error), { cause: error }),
      left: () => life.stop('unread'),
    });
    return {
      kind: 'done',
      response: new Response(body, { status: response.status, headers: readHeaders(response) }),
      gpuTime,
    };
  }

  /** The connection was lost, and the worker may still run the job. */
  #broken(error: unknown): JobFailure {
    if (this.#body?.failure !== undefined) {
      this.#life.stop('client');
      return cancelled(`the body of the job broke off: ${reasonOf(this.#body.failure.error)}`);
    }
    const code = codeOf(error);
    // The patience of `fetch` is a deadline that is not ours.
    const isLate = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT';
    this.#life.stop(isLate ? 'deadline' : 'connection');
    return isLate ? deadlineExceeded() : unavailable(`the connection was lost: ${reasonOf(error)}`);
  }

  #neverRan(failure: JobFailure): JobFailure {
    this.#life.end();
    return failure;
  }
}

/** `fetch` has decoded the body, so that these headers would be wrong for who passes it on. */
function readHeaders(response: Response): Headers {
  const headers = new Headers(response.headers);
  const codings = (headers.get('Content-Encoding') ?? '').toLowerCase().split(',');
  if (codings.every((coding) => DECODED.has(coding.trim()))) {
    headers.delete('Content-Encoding');
    headers.delete('Content-Length');
  }
  return headers;
}
