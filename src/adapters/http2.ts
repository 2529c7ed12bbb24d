import type { ServerResponse } from 'node:http';
import type { Http2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Exchange } from '../core/exchange.js';
import type { RequestBody } from '../core/request-view.js';

/** RFC 9113 section 7. Not imported from node:http2, which other runtimes may not have. */
const NO_ERROR = 0;

/** The stream of a response over HTTP/2. Many streams share one socket. Undefined over HTTP/1. */
export function streamOf(response: ServerResponse): Http2Stream | undefined {
  const { stream } = response as { stream?: unknown };
  return typeof stream === 'object' && stream !== null && 'rstCode' in stream ? (stream as Http2Stream) : undefined;
}

/** A body over HTTP/2. As over HTTP/1, reading fails if the client leaves. The end of reading closes the stream. */
export function bodyOf(stream: Http2Stream): Readable {
  return Readable.from(chunksOf(stream), { objectMode: false });
}

async function* chunksOf(stream: Http2Stream): AsyncGenerator<Buffer> {
  try {
    yield* stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    // A body that is cut off ends like any other. The stream reports the reset one turn later.
    await nextTurn();
    if (isReset(stream)) throw new Error('the client left');
  } finally {
    // With this code, the client still reads the response (RFC 9113 section 8.1).
    if (!stream.readableEnded) stream.close(NO_ERROR);
  }
}

/** The result of reading a whole body, or `aborted` if the stream was reset meanwhile. */
export async function unlessReset(body: Promise<RequestBody>, stream: Http2Stream): Promise<RequestBody> {
  const result = await body;
  await nextTurn();
  return isReset(stream) ? 'aborted' : result;
}

function isReset(stream: Http2Stream): boolean {
  return stream.aborted || stream.rstCode !== NO_ERROR;
}

/** Ends an exchange with its stream. */
export function watchStream(stream: Http2Stream, response: ServerResponse, exchange: Exchange): void {
  if (stream.closed || stream.destroyed) {
    exchange.abort();
    return;
  }
  stream.once('aborted', () => exchange.abort());
  stream.once('finish', () => {
    if (isReset(stream)) return;
    exchange.end({ kind: 'completed', status: response.statusCode });
    // The client may still be sending a body that is no longer read. If reading has not begun, Node discards it.
    if (!stream.readableEnded && stream.readableFlowing !== null) stream.close(NO_ERROR);
  });
  // If the stream is reset while the response waits for flow control, no other event follows.
  stream.once('end', () => {
    if (!stream.closed || stream.writableFinished) return;
    exchange.abort();
    stream.destroy();
  });
  stream.once('close', () => {
    // A response to HEAD has no body, so it is complete when its head is sent.
    const { headRequest = false, headersSent = false } = stream as { headRequest?: boolean; headersSent?: boolean };
    if (headRequest && headersSent && !isReset(stream)) {
      exchange.end({ kind: 'completed', status: response.statusCode });
    } else exchange.abort();
  });
}
