import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { checkHeader } from '../core/render-reply.js';
import type { RequestBody, RequestView, ResponseHeaders, ResponseReceiver } from '../core/request-view.js';
import { captureWebResponse, type WebCapture } from './web-capture.js';

const NO_LINES: readonly string[] = Object.freeze([]);

/**
 * The view of one web request, and the headers for its response. Unlike Node, a web `Request` joins repeated field
 * lines, so a repeated header is one line with commas.
 */
export class WebMessage implements RequestView, ResponseHeaders {
  readonly #request: Request;
  readonly #address: () => string | undefined;
  readonly #param: (name: string) => string | undefined;
  readonly #route: () => string | undefined;
  readonly #hooks: (() => void)[] = [];
  /** Known before the body is discarded, and when a copy of it was read. */
  #bodyWasRead: boolean | undefined;
  #capture: WebCapture | undefined;
  readonly #headers = new Map<string, readonly [name: string, value: string]>();

  constructor(
    request: Request,
    address: () => string | undefined,
    param: (name: string) => string | undefined = () => undefined,
    route: () => string | undefined = () => undefined,
  ) {
    this.#request = request;
    this.#address = address;
    this.#param = param;
    this.#route = route;
  }

  get method(): string {
    return this.#request.method;
  }

  get url(): string {
    const { url } = this.#request;
    return url.slice(url.indexOf('://') + 3 + this.#authority().length) || '/';
  }

  #authority(): string {
    const { url } = this.#request;
    const start = url.indexOf('://') + 3;
    const end = url.indexOf('/', start);
    return url.slice(start, end === -1 ? undefined : end);
  }

  get remoteAddress(): string | undefined {
    return this.#address();
  }

  get encrypted(): boolean {
    return this.#request.url.startsWith('https:');
  }

  param(name: string): string | undefined {
    return name === '' ? undefined : this.#param(name);
  }

  get routePattern(): string | undefined {
    return this.#route();
  }

  fieldLines(name: string): readonly string[] {
    // A web request has the authority in its URL, and does not show whether it came over HTTP/2.
    if (name === ':authority') return [this.#authority()];
    const value = this.#request.headers.get(name);
    return value === null ? NO_LINES : [value];
  }

  async readBody(maxBytes: number): Promise<RequestBody> {
    return readWebBody(this.#request, maxBytes, () => {
      this.#bodyWasRead = true;
    });
  }

  get bodyWasRead(): boolean {
    return this.#bodyWasRead ?? this.#request.bodyUsed;
  }

  openBody(to: 'read' | 'discard'): Readable | 'consumed' {
    if (to === 'discard') this.#bodyWasRead = this.bodyWasRead;
    const { body, bodyUsed } = this.#request;
    if (bodyUsed || body?.locked === true) return 'consumed';
    return body === null ? Readable.from([]) : Readable.fromWeb(body as ReadableStream<Uint8Array>);
  }

  get(name: string): string | undefined {
    return this.#headers.get(name.toLowerCase())?.[1];
  }

  set(name: string, value: string): void {
    checkHeader(name, value);
    this.#headers.set(name.toLowerCase(), [name, value]);
  }

  remove(name: string): void {
    this.#headers.delete(name.toLowerCase());
  }

  onHead(hook: () => void): void {
    this.#hooks.push(hook);
  }

  capture(maxBytes: number, done: ResponseReceiver): void {
    this.#capture = { maxBytes, done };
  }

  /** The response to send instead of `response`. */
  captured(response: Response): Response | Promise<Response> {
    return this.#capture === undefined ? response : captureWebResponse(response, this.#capture);
  }

  /** Runs the `onHead` hooks, the last first as on Node, and returns all headers that guards have set. */
  headers(): Iterable<readonly [name: string, value: string]> {
    for (let i = this.#hooks.length - 1; i >= 0; i--) this.#hooks[i]?.();
    return this.#headers.values();
  }
}

/** Reads the whole body of a web request. The handler can still read it. */
async function readWebBody(request: Request, maxBytes: number, onRead: () => void): Promise<RequestBody> {
  if (request.bodyUsed) return 'consumed';
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) return 'too-large';
  // This reads a copy. The request keeps the body for the handler.
  const reader = request.clone().body?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) return joined(chunks, size);
      if (value.length > 0) onRead();
      size += value.length;
      if (size > maxBytes) {
        void reader?.cancel();
        return 'too-large';
      }
      chunks.push(value);
    }
  } catch (error) {
    if (request.signal.aborted) return 'aborted';
    throw error;
  }
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** A body for a web response, which is read from `source` as fast as the client reads it. */
export function webBody(source: Readable, onError: (error: unknown) => void): globalThis.ReadableStream<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  let isCancelled = false;
  return new globalThis.ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(typeof value === 'string' ? new TextEncoder().encode(value) : value);
        } catch (error) {
          // The client has left: its source was cut, and no fault.
          if (!isCancelled) onError(error);
          controller.error(error);
        }
      },
      cancel() {
        isCancelled = true;
        source.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}
