import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJobHeaders, requestIdOf, wholeNumber } from './job-headers.js';
import { type EndedJob, type JobName, JobTable, type RunningJob } from './job-table.js';
import { jsonReply, refuse, refusedStart, stopped, type WorkerReply } from './worker-reply.js';

/** What a job results in. `note` is for the log. */
export interface JobResult {
  readonly headers?: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly note: string;
}

/** How a computation ended without a result: it failed, it could not read its input, or the signal stopped it. */
export type NoResult =
  | { readonly failed: string }
  | { readonly unreadable: string }
  | { readonly stoppedAfter: string };

export type Computation = (signal: AbortSignal) => Promise<JobResult | NoResult>;

/** The jobs that are posted to one path. */
export interface JobKind {
  readonly maxBytes: number;
  /** Reads the request, or returns the status and error of one that cannot be computed. */
  read(request: IncomingMessage, body: Buffer): Computation | { readonly status: number; readonly error: string };
}

export interface WorkerOptions {
  /** How long it responds with 503 after its creation, like a worker that loads its model, in milliseconds. 0 by default. */
  readonly readyAfterMs?: number | undefined;
  /** How many jobs run at the same time. 1 by default. */
  readonly slots?: number | undefined;
  /** How many seconds each job takes in addition, as on a slow GPU. 0 by default. */
  readonly seconds?: number | undefined;
  /** How many seconds a job goes on after it was told to stop. With `Infinity` it never stops early. 0 by default. */
  readonly stopSeconds?: number | undefined;
  /** Receives one line for each job. Standard error by default. */
  readonly log?: ((line: string) => void) | undefined;
  /** A monotonic clock in milliseconds. `performance.now` by default. */
  readonly now?: (() => number) | undefined;
}

const READ = ['/ready', '/jobs', '/jobs/ended'];

export interface WorkerDescription {
  /** For log lines. */
  readonly name: string;
  /** For `GET /ready`. */
  readonly description: string;
  readonly jobs: Readonly<Record<string, JobKind>>;
}

/**
 * The server of a worker that follows the contract of README.md. It does not listen yet. Listen only on a loopback address:
 * it has no authentication.
 *
 * @throws RangeError for an option that is out of range.
 */
export function createWorkerServer(
  { name, description, jobs }: WorkerDescription,
  options: WorkerOptions = {},
): Server {
  const { readyAfterMs = 0, slots = 1, seconds = 0, stopSeconds = 0 } = options;
  const { log = console.error, now = () => performance.now() } = options;
  for (const [option, value] of Object.entries({ readyAfterMs, seconds, stopSeconds })) {
    if (!(value >= 0)) throw new RangeError(`${name} "${option}" must be a number of at least 0, got ${value}`);
  }
  if (!Number.isInteger(slots) || slots < 1 || slots > 1000) {
    throw new RangeError(`${name} "slots" must be an integer from 1 to 1000, got ${slots}`);
  }
  const table = new JobTable(slots, now);
  const readyAt = now() + readyAfterMs;

  async function reply(req: IncomingMessage, res: ServerResponse, path: string): Promise<WorkerReply> {
    const method = path in jobs ? 'POST' : READ.includes(path) ? 'GET' : undefined;
    const [, slot, token] = /^\/jobs\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    if (slot !== undefined) return cancel(req, wholeNumber(slot, 3), wholeNumber(token, 15));
    if (method === undefined) return refuse(404, 'unknown path');
    if (req.method !== method) return refuse(405, `use ${method}`, { Allow: method });
    if (path === '/jobs') return jsonReply(200, { instance: table.instance, slots, jobs: table.list() }, 'listed');
    if (path === '/jobs/ended') return ended(req);
    const waitMs = readyAt - now();
    if (waitMs > 0) {
      const headers = { 'Retry-After': Math.ceil(waitMs / 1000) };
      const body = { ready: false, worker: description, error: 'loading', reason: 'loading' };
      return jsonReply(503, body, 'loading', headers);
    }
    const kind = jobs[path];
    if (kind === undefined) {
      return jsonReply(200, { ready: true, worker: description, instance: table.instance, slots }, 'ready');
    }
    return runJob(req, res, kind);
  }

  function ended({ url = '' }: IncomingMessage): WorkerReply {
    const after = wholeNumber(new URLSearchParams(url.split('?', 2)[1]).get('after') ?? '0', 15);
    if (after === undefined) return refuse(400, 'after must be the number of a job');
    return jsonReply(200, table.listEnded(after), 'listed');
  }

  function cancel(req: IncomingMessage, slot: number | undefined, token: number | undefined): WorkerReply {
    if (req.method !== 'DELETE') return refuse(405, 'use DELETE', { Allow: 'DELETE' });
    if (slot === undefined || token === undefined) return refuse(404, 'a job is /jobs/{slot}/{token}');
    if (req.headers['x-worker-instance'] !== table.instance)
      return refusedStart({ reason: 'instance' }, table.instance);
    const state = table.cancel(slot, token);
    return jsonReply(state === 'gone' ? 200 : 202, { state }, state);
  }

  /** Stops when the job is cancelled, its deadline passes or the connection ends, whichever comes first. */
  async function runJob(req: IncomingMessage, res: ServerResponse, kind: JobKind): Promise<WorkerReply> {
    const headers = readJobHeaders(req.headers);
    if (typeof headers === 'string') return refuse(400, headers);
    const refusal = table.refusalOf(headers.instance, headers);
    if (refusal !== undefined) return refusedStart(refusal, table.instance);
    if (headers.deadlineMs === 0) return stopped('deadline', 'before it started');
    const stop = new AbortController();
    const leave = () => stop.abort('client');
    res.once('close', leave);
    req.once('error', leave);
    const timer = setTimeout(() => stop.abort('deadline'), headers.deadlineMs);
    try {
      const body = await readBody(req, kind.maxBytes, stop.signal);
      if (body === 'stopped') return stopped(stop.signal.reason, 'before the body was complete');
      if (body === 'too large') return refuse(413, `the body is larger than ${kind.maxBytes} bytes`);
      const computation = kind.read(req, body);
      if (typeof computation !== 'function') return refuse(computation.status, computation.error);
      return await compute(headers.instance, headers, computation, stop.signal);
    } finally {
      clearTimeout(timer);
      res.off('close', leave);
    }
  }

  async function compute(
    instance: string,
    named: JobName,
    computation: Computation,
    signal: AbortSignal,
  ): Promise<WorkerReply> {
    const job = table.start(instance, named);
    if ('reason' in job) return refusedStart(job, table.instance);
    const forward = () => job.stop.abort(signal.reason);
    signal.addEventListener('abort', forward);
    if (signal.aborted) forward();
    let end: EndedJob['end'] = 'failed';
    let gpuMs = 0;
    try {
      const result = replyOf(job, await computeSlowly(job, computation));
      end = job.stop.signal.aborted ? 'stopped' : result.status === 200 ? 'done' : 'failed';
      gpuMs = Math.ceil(now() - job.startedAt);
      return { ...result, headers: { ...result.headers, 'X-GPU-Seconds': (gpuMs / 1000).toFixed(3) } };
    } finally {
      signal.removeEventListener('abort', forward);
      // Before the response: a gateway that has read it finds the slot free, and the job in the list of those that ended.
      table.end(job, gpuMs || Math.ceil(now() - job.startedAt), end);
    }
  }

  /** Adds the seconds of a slow GPU, and those that it takes to stop. */
  async function computeSlowly({ stop }: RunningJob, computation: Computation): ReturnType<Computation> {
    const gpu = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const stopLater = () => {
      if (stopSeconds === 0) gpu.abort(stop.signal.reason);
      else if (stopSeconds < 1e6) timer = setTimeout(() => gpu.abort(stop.signal.reason), stopSeconds * 1000);
    };
    stop.signal.addEventListener('abort', stopLater);
    if (stop.signal.aborted) stopLater();
    try {
      if (seconds > 0) await sleep(seconds * 1000, undefined, { signal: gpu.signal }).catch(() => undefined);
      return gpu.signal.aborted ? { stoppedAfter: 'while it waited' } : await computation(gpu.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  function replyOf({ stop }: RunningJob, outcome: Awaited<ReturnType<Computation>>): WorkerReply {
    if (stop.signal.aborted) {
      return stopped(stop.signal.reason, 'stoppedAfter' in outcome ? outcome.stoppedAfter : 'at its end');
    }
    if ('failed' in outcome) return refuse(500, outcome.failed);
    if ('unreadable' in outcome) return refuse(422, outcome.unreadable);
    if ('stoppedAfter' in outcome) return refuse(500, `stopped ${outcome.stoppedAfter}`);
    return { status: 200, headers: outcome.headers ?? {}, body: outcome.body, note: outcome.note };
  }

  return createServer(async (req, res) => {
    const path = req.url?.split('?', 1)[0] ?? '';
    const id = requestIdOf(req.headers);
    const { status, headers, body, note } = await reply(req, res, path).catch((error: unknown) => ({
      ...refuse(500, 'internal error'),
      note: `internal error: ${String(error)}`,
    }));
    if (path in jobs) log(`${name}: ${id} ${status} ${note}`);
    if (res.closed) return;
    const always = { 'Content-Length': body.length, 'X-Request-Id': id, 'X-Worker-Instance': table.instance };
    res.writeHead(status, { ...headers, ...always }).end(body);
  });
}

/** Beyond the limit, the rest is read and discarded: if the socket closed, the sender might not receive the response. */
function readBody(
  req: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer | 'too large' | 'stopped'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) resolve('too large');
      else chunks.push(chunk);
    });
    req.once('end', () => resolve(Buffer.concat(chunks)));
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
}
