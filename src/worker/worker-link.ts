import { INSTANCE, JOBS_PATH, jobPath, type ListedJob, listedJobs, memberOf, READY_PATH } from './contract.js';
import type { SentBody } from './sent-body.js';

/** `fetch`, or a function that is called like it. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How long the worker may take for anything but a job. */
const ANSWER_MS = 2000;
/** Nothing that a worker says apart from results is longer. */
const MAX_TEXT = 65_536;

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

  /** The headers of a job, and over them those of every request, such as the token of a tunnel. */
  headersWith(headers: Readonly<Record<string, string>>): Headers {
    return new Headers({ ...headers, ...this.#headers });
  }

  /** Sends a job. */
  async post(path: string, headers: Headers, body: SentBody['init'], signal: AbortSignal): Promise<Response> {
    const init: RequestInit = { method: 'POST', headers, signal, redirect: 'error' };
    init.body = body as NonNullable<RequestInit['body']>;
    // Required for streams. Node's types do not have it.
    if (body instanceof ReadableStream) (init as { duplex?: string }).duplex = 'half';
    return this.#noted(await this.#fetch(`${this.url}${path}`, init));
  }

  async #ask(
    method: string,
    path: string,
    timeoutMs: number,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const signal = AbortSignal.timeout(timeoutMs);
    const init: RequestInit = { method, headers: { ...this.#headers, ...headers }, signal, redirect: 'error' };
    return this.#noted(await this.#fetch(`${this.url}${path}`, init));
  }

  #noted(response: Response): Response {
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
  return NOT_CONNECTED.has(codeOf(error) ?? '');
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
export async function textOf({ body }: Response): Promise<string> {
  if (body === null) return '';
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_TEXT) break;
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
