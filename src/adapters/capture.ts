import type { ServerResponse } from 'node:http';
import type { CapturedResponse, ResponseReceiver } from '../core/request-view.js';
import { isThenable } from '../core/thenable.js';

type Method = (this: ServerResponse, ...args: unknown[]) => unknown;

/** A name that is set and removed, so that Node keeps the headers of `writeHead` where they can be read. */
const PLACEHOLDER = 'x-gatewarden-capture';

/**
 * Collects what a handler writes to a response, up to `maxBytes`. What completes the body is held back, with all that
 * follows, until `done` has settled: a client that has the whole answer can rely on what `done` did. The rest is sent as it
 * is written.
 */
export function captureResponse(
  response: ServerResponse,
  maxBytes: number,
  done: ResponseReceiver,
  onFault: (error: unknown) => void,
): void {
  const write = response.write as Method;
  const end = response.end as Method;
  const collected = new CollectedBody(maxBytes);
  response.setHeader(PLACEHOLDER, '');
  response.removeHeader(PLACEHOLDER);
  const before = response.getHeaders();
  const keepsEncoding = watchEncoding(response);
  /** Calls that wait for `done`; undefined before and after that. */
  let held: (() => unknown)[] | undefined;
  let isDone = false;

  function finish(call: () => unknown): unknown {
    held = [call];
    const settled = done({
      status: response.statusCode,
      headers: changedHeaders(before, response.getHeaders()).filter(
        ([name]) => name !== 'content-encoding' || keepsEncoding(),
      ),
      body: collected.body(),
    });
    if (!isThenable(settled)) return sendHeld();
    settled.then(sendHeld, sendHeld).then(undefined, (error: unknown) => {
      // The handler, which would have caught it, has returned.
      onFault(error);
      response.destroy();
    });
    return undefined;
  }

  function sendHeld(): unknown {
    const calls = held ?? [];
    held = undefined;
    isDone = true;
    Reflect.deleteProperty(response, 'writableEnded');
    let result: unknown;
    for (const call of calls) result = call();
    return result;
  }

  function isComplete(): boolean {
    const length = response.getHeader('content-length');
    return length !== undefined && collected.size >= Number(length);
  }

  const capturingWrite: Method = (...args) => {
    const call = () => write.apply(response, args);
    if (isDone) return call();
    if (held !== undefined) {
      held.push(call);
      return true;
    }
    collected.add(args[0], args[1]);
    if (!isComplete()) return call();
    finish(call);
    // Nothing would report that it can go on.
    return true;
  };

  const capturingEnd: Method = (...args) => {
    const call = () => end.apply(response, args);
    if (isDone) return call();
    // Frameworks ask this, to find out whether a handler has answered.
    Object.defineProperty(response, 'writableEnded', { configurable: true, get: () => true });
    if (held !== undefined) held.push(call);
    else {
      collected.add(args[0], args[1]);
      finish(call);
    }
    return response;
  };

  response.write = capturingWrite as ServerResponse['write'];
  response.end = capturingEnd as ServerResponse['end'];
}

/**
 * Middleware that was there before, such as `compression`, encodes what was collected unencoded, and says so from the head
 * on. Returns whether the encoding of the response is that of the collected body.
 */
function watchEncoding(response: ServerResponse): () => boolean {
  const writeHead = response.writeHead as Method;
  let isOwn: boolean | undefined;
  response.writeHead = ((...args: unknown[]) => {
    isOwn ??= response.hasHeader('content-encoding') || namesEncoding(args.at(-1));
    return writeHead.apply(response, args);
  }) as ServerResponse['writeHead'];
  return () => isOwn ?? true;
}

/** The headers of `writeHead` are an object, a list of names and values, or a list of pairs. */
function namesEncoding(headers: unknown): boolean {
  if (typeof headers !== 'object' || headers === null) return false;
  const names: readonly unknown[] = Array.isArray(headers) ? headers.flat() : Object.keys(headers);
  return names.some((name) => typeof name === 'string' && name.toLowerCase() === 'content-encoding');
}

/** A body up to a number of bytes. What is larger is not kept. */
export class CollectedBody {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get size(): number {
    return this.#size;
  }

  add(chunk: unknown, encoding?: unknown): void {
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) return;
    const isText = typeof chunk === 'string';
    const bytes = isText
      ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
      : chunk;
    this.#size += bytes.length;
    if (this.#size > this.#maxBytes) this.#chunks = [];
    // A copy, since the writer may use its buffer again.
    else if (bytes.length > 0) this.#chunks.push(isText ? bytes : Buffer.from(bytes));
  }

  /** Undefined if it is too large. */
  body(): Uint8Array | undefined {
    return this.#size > this.#maxBytes ? undefined : Buffer.concat(this.#chunks);
  }
}

function changedHeaders(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): CapturedResponse['headers'] {
  const changed: [string, string][] = [];
  for (const [name, value] of Object.entries(after)) {
    const text = textOf(value);
    // Over HTTP/2, `:status` is among them.
    if (text !== undefined && !name.startsWith(':') && text !== textOf(before[name])) changed.push([name, text]);
  }
  return changed;
}

function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : Array.isArray(value) ? value.join(', ') : String(value);
}
