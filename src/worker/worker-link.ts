import {
  ENDED_PATH,
  type EndedJob,
  endedJobs,
  INSTANCE,
  JOBS_PATH,
  jobPath,
  type ListedJob,
  listedJobs,
  memberOf,
  READY_PATH,
} from './contract.js';
import type { SentBody } from './sent-body.js';

/** `fetch`, or a function that is called like it. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How long the worker may take for anything but a job. */
const ANSWER_MS = 2000;
/** Nothing that a worker says apart from results is longer. */
const MAX_TEXT = 65_536;
const MAX_LIST = 1_048_576;

/** The error codes of connections that were never made, so that the worker has received nothing. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const DENO_CONNECT = /: client error \(Connect\): /;

/** The statuses that `fetch` follows (RFC 9110 section 15.4). Workers accept no `redirect: 'error'`. */
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** What a worker says of jobs that have ended. */
export interface EndedAnswer {
  readonly instance: string;
  readonly jobs: readonly EndedJob[] | 'malformed' | undefined;
}

/** Speaks HTTP with one worker, and remembers its instance. */
export class WorkerLink {
  readonly url: string;
  readonly #fetch: Fetch;
  readonly #headers: Readonly<Record<string, string>>;
  /** The instance that the worker has named last. */
  instance: string | undefined = undefined;
  /** Jobs that were sent and have not ended. */
  running = 0;

  constructor(url: string, fetch: Fetch, headers: Readonly<Record<string, string>>) {
    this.url = url;
    this.#fetch = fetch;
    this.#headers = headers;
  }

  /** Asks whether the worker is ready. The body is read and discarded. */
  async ready(timeoutMs: number): Promise<Response> {
    const response = await this.#ask('GET', READY_PATH, timeoutMs);
    await textOf(response);
    return response;
  }

  /** Tells the worker to stop a job. Returns whether it is gone, which a worker that has started again also says. */
  async cancel(slot: number, token: number, instance: string): Promise<boolean> {
    const response = await this.#ask('DELETE', jobPath(slot, token), ANSWER_MS, { [INSTANCE]: instance });
    const body = jsonOf(await textOf(response));
    if (response.status === 200 || response.status === 202) return memberOf(body, 'state') === 'gone';
    const now = memberOf(body, 'instance');
    if (response.status === 409 && typeof now === 'string' && now !== instance) return true;
    throw new Error(`the cancel was answered with ${response.status}`);
  }

  /** The job, if the worker runs it. */
  async find(slot: number, token: number, instance: string): Promise<ListedJob | undefined> {
    const response = await this.#ask('GET', JOBS_PATH, ANSWER_MS);
    const body = jsonOf(await textOf(response));
    const jobs = listedJobs(body);
    if (response.status !== 200 || jobs === undefined) throw new Error(`no list of jobs, but ${response.status}`);
    if (memberOf(body, 'instance') !== instance) return undefined;
    return jobs.find((job) => job.slot === slot && job.token === token);
  }

  /** The jobs that have ended after the one of this number, and the instance. No jobs if the worker keeps no list. */
  async ended(after: number): Promise<EndedAnswer> {
    const response = await this.#ask('GET', `${ENDED_PATH}?after=${after}`, ANSWER_MS);
    const text = await textOf(response, MAX_LIST);
    const instance = response.headers.get(INSTANCE);
    if (instance === null || response.status >= 500) throw new Error(`no list of ended jobs, but ${response.status}`);
    return { instance, jobs: response.ok ? (endedJobs(jsonOf(text)) ?? 'malformed') : undefined };
  }

  /** The headers of a job, and over them those of every request, such as the token of a tunnel. */
  headersWith(headers: Readonly<Record<string, string>>): Headers {
    return new Headers({ ...headers, ...this.#headers });
  }

  /** Sends a job. */
  async post(path: string, headers: Headers, body: SentBody['init'], signal: AbortSignal): Promise<Response> {
    const init: RequestInit = { method: 'POST', headers, signal, redirect: 'manual' };
    init.body = body as NonNullable<RequestInit['body']>;
    // Required for streams. Node's types do not have it.
    if (body instanceof ReadableStream) (init as { duplex?: string }).duplex = 'half';
    return this.#noted(this.#fetch(`${this.url}${path}`, init));
  }

  async #ask(
    method: string,
    path: string,
    timeoutMs: number,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const signal = AbortSignal.timeout(timeoutMs);
    const init: RequestInit = { method, headers: { ...this.#headers, ...headers }, signal, redirect: 'manual' };
    return this.#noted(this.#fetch(`${this.url}${path}`, init));
  }

  async #noted(answer: Promise<Response>): Promise<Response> {
    const response = await answer;
    if (REDIRECTS.has(response.status) || response.type === 'opaqueredirect') {
      await response.body?.cancel();
      throw new TypeError('fetch failed', { cause: new Error('unexpected redirect') });
    }
    this.instance = response.headers.get(INSTANCE) ?? this.instance;
    return response;
  }
}

/** The code of a failed `fetch`, if there is one. */
export function codeOf(error: unknown): string | undefined {
  // A stream may fail with undefined.
  const { cause, code } = (error ?? {}) as { cause?: { code?: unknown }; code?: unknown };
  const found = cause?.code ?? code;
  return typeof found === 'string' ? found : undefined;
}

/** Whether the worker cannot have received anything. */
export function neverConnected(error: unknown): boolean {
  if (NOT_CONNECTED.has(codeOf(error) ?? '')) return true;
  // Deno gives no code. The text is of its HTTP client, and names the phase.
  const { cause } = (error ?? {}) as { readonly cause?: unknown };
  return cause instanceof Error && DENO_CONNECT.test(cause.message);
}

/** What went wrong, in a few words. The message of `fetch` itself is only "fetch failed". */
export function reasonOf(error: unknown): string {
  const { cause } = (error ?? {}) as { cause?: unknown };
  const code = codeOf(error);
  if (code !== undefined) return code;
  if (cause instanceof Error && cause.message !== '') return cause.message;
  return error instanceof Error ? error.message : String(error);
}

/** A short body as text; the rest of a longer one is not read. */
export async function textOf({ body }: Response, max = MAX_TEXT): Promise<string> {
  if (body === null) return '';
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > max) break;
  }
  return text;
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
