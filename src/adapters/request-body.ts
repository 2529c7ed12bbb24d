import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { RequestBody } from '../core/request-view.js';

/** Room for a body whose length is not known, or not believed yet, in bytes. */
const FIRST_ROOM = 65_536;
const EMPTY: Uint8Array = Buffer.alloc(0);

/**
 * The whole body of a request, which stays in it: a body parser, a pipe or `fetch` then finds all of it, and the end
 * after it. Holds `maxBytes` at most, whatever the client sends.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<RequestBody> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length === 0 && request.headers['transfer-encoding'] === undefined && isParsed(request)) return EMPTY;
  if (request.destroyed && !request.complete) return 'aborted';
  if (isTaken(request)) return 'consumed';
  if (length > maxBytes) return 'too-large';
  return new Promise((resolve) => {
    // What came with the head is still being parsed; a listener put on before its end would make the stream end.
    process.nextTick(collect, request, length, maxBytes, resolve);
  });
}

/** For when the response has gone out: lets go of a body that nobody read, as Node does where nobody ever looked at it. */
export function discardUnread(request: IncomingMessage): void {
  if (request.listenerCount('data') === 0 && request.listenerCount('readable') === 0) request.resume();
}

/** RFC 9112 section 6.3: neither field, no body. HTTP/2 needs neither, nor do requests that Fastify's `inject` makes up. */
function isParsed(request: IncomingMessage): boolean {
  return request.httpVersionMajor === 1 && request.complete !== undefined;
}

/** The body itself, unless somebody has read of it. */
export function openBody(request: IncomingMessage): IncomingMessage | 'consumed' {
  return isTaken(request) ? 'consumed' : request;
}

/** Whether somebody has read of the body, is reading it, or has it decoded to text. */
function isTaken(request: IncomingMessage): boolean {
  return (
    Readable.isDisturbed(request) ||
    request.readableFlowing === true ||
    request.readableEncoding !== null ||
    request.listenerCount('data') > 0 ||
    request.listenerCount('readable') > 0
  );
}

function collect(
  request: IncomingMessage,
  announced: number,
  maxBytes: number,
  resolve: (body: RequestBody) => void,
): void {
  // One buffer that grows: a list would cost many times the body where it comes in pieces of a byte.
  let body = Buffer.allocUnsafe(Math.min(announced || FIRST_ROOM, FIRST_ROOM, maxBytes));
  let size = 0;
  let settled = false;

  function settle(result: RequestBody): void {
    settled = true;
    request.off('readable', wake);
    request.off('close', leave);
    // A stream notices only now that nobody listens for 'readable' any more.
    process.nextTick(resolve, result);
  }

  function take(): void {
    const length = request.readableLength;
    if (size + length > maxBytes) {
      settle('too-large');
      // The rest is thrown away as it comes, so that the answer gets through and the next request is found.
      request.resume();
      return;
    }
    // Exactly what is there: to ask for more, or for nothing, would make the stream end.
    if (length > 0) add(request.read(length));
    // Made-up requests know nothing of `complete`.
    if (request.complete ?? (size > 0 && size === announced)) finish();
  }

  function wake(): void {
    // 'readable' with nothing to read says that there will be no more.
    if (request.readableLength === 0) finish();
    else take();
  }

  function finish(): void {
    const whole = body.subarray(0, size);
    if (size > 0) putBack(request, whole);
    settle(whole);
  }

  function add(chunk: Buffer): void {
    if (size + chunk.length > body.length) {
      const larger = Buffer.allocUnsafe(Math.min(maxBytes, Math.max(size + chunk.length, body.length * 2)));
      body.copy(larger, 0, 0, size);
      body = larger;
    }
    size += chunk.copy(body, size);
  }

  function leave(): void {
    settle('aborted');
  }

  if (request.destroyed) {
    leave();
    return;
  }
  take();
  if (settled) return;
  request.on('readable', wake);
  request.on('close', leave);
}

function putBack(request: IncomingMessage, body: Buffer): void {
  request.unshift(body);
  // `fetch` and Hono refuse a stream that was read; this one is as good as new for as long as all of it is there.
  Object.defineProperty(request, 'readableDidRead', {
    configurable: true,
    get: () => request.readableEnded || request.readableLength !== body.length,
  });
}
