import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { RequestBody } from '../core/request-view.js';

/** First size of the buffer, in bytes, if the length of the body is unknown or only announced. */
const INITIAL_CAPACITY = 65_536;
const EMPTY: Uint8Array = Buffer.alloc(0);

/**
 * Reads the whole body of a request and puts it back, so that a body parser, a pipe or `fetch` finds all of it, and its
 * end. Holds at most `maxBytes` in memory, whatever the client sends.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<RequestBody> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length === 0 && request.headers['transfer-encoding'] === undefined && isParsedHttp1(request)) return EMPTY;
  if (request.destroyed && !request.complete) return 'aborted';
  if (isConsumed(request)) return 'consumed';
  if (length > maxBytes) return 'too-large';
  return new Promise((resolve) => {
    // What arrived with the head is still being parsed. A listener added before its end would make the stream end.
    process.nextTick(collect, request, length, maxBytes, resolve);
  });
}

/** Discards a body without a reader after the response. Node does this only if the body was never touched. */
export function discardUnread(request: IncomingMessage): void {
  if (request.listenerCount('data') === 0 && request.listenerCount('readable') === 0) request.resume();
}

/**
 * Over HTTP/1, a request without both fields has no body (RFC 9112 section 6.3). HTTP/2 and Fastify's `inject` need
 * neither.
 */
function isParsedHttp1(request: IncomingMessage): boolean {
  return request.httpVersionMajor === 1 && request.complete !== undefined;
}

/** The body as a stream, or `consumed` if something has read from it. */
export function openBody(request: IncomingMessage): IncomingMessage | 'consumed' {
  return isConsumed(request) ? 'consumed' : request;
}

/** Whether something has read from the body, is reading it, or has set an encoding. */
function isConsumed(request: IncomingMessage): boolean {
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
  announcedLength: number,
  maxBytes: number,
  resolve: (body: RequestBody) => void,
): void {
  // One growing buffer: a list of chunks would need many times the memory if each holds one byte.
  let body = Buffer.allocUnsafe(Math.min(announcedLength || INITIAL_CAPACITY, INITIAL_CAPACITY, maxBytes));
  let size = 0;
  let isDone = false;

  function finish(result: RequestBody): void {
    isDone = true;
    request.off('readable', onReadable);
    request.off('close', onClose);
    // A stream notices one tick later that its last listener for 'readable' is gone.
    process.nextTick(resolve, result);
  }

  function readBuffered(): void {
    const length = request.readableLength;
    if (size + length > maxBytes) {
      finish('too-large');
      // Discards the rest as it arrives, so that the client reads the response and the connection can be reused.
      request.resume();
      return;
    }
    // Reads exactly what is buffered: a larger or an empty read would make the stream end.
    if (length > 0) add(request.read(length));
    // Requests of `inject` have no `complete`.
    if (request.complete ?? (size > 0 && size === announcedLength)) succeed();
  }

  function onReadable(): void {
    // 'readable' without data means the end of the body.
    if (request.readableLength === 0) succeed();
    else readBuffered();
  }

  function succeed(): void {
    const whole = body.subarray(0, size);
    if (size > 0) putBack(request, whole);
    finish(whole);
  }

  function add(chunk: Buffer): void {
    if (size + chunk.length > body.length) {
      const larger = Buffer.allocUnsafe(Math.min(maxBytes, Math.max(size + chunk.length, body.length * 2)));
      body.copy(larger, 0, 0, size);
      body = larger;
    }
    size += chunk.copy(body, size);
  }

  function onClose(): void {
    finish('aborted');
  }

  if (request.destroyed) {
    onClose();
    return;
  }
  readBuffered();
  if (isDone) return;
  request.on('readable', onReadable);
  request.on('close', onClose);
}

function putBack(request: IncomingMessage, body: Buffer): void {
  request.unshift(body);
  // `fetch` and Hono refuse a stream that was read. While the stream still holds the whole body, it counts as unread.
  Object.defineProperty(request, 'readableDidRead', {
    configurable: true,
    get: () => request.readableEnded || request.readableLength !== body.length,
  });
}
