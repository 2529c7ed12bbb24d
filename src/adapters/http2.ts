import type { ServerResponse } from 'node:http';
import type { Http2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Exchange } from '../core/exchange.js';
import type { RequestBody } from '../core/request-view.js';

/** Of RFC 9113 section 7. Not from node:http2, which runtimes beside Node need not have. */
const NO_ERROR = 0;

/** The stream of a response over HTTP/2, where the socket belongs to many exchanges and tells nothing of one. */
export function streamOf(response: ServerResponse): Http2Stream | undefined {
  const { stream } = response as { stream?: unknown };
  return typeof stream === 'object' && stream !== null && 'rstCode' in stream ? (stream as Http2Stream) : undefined;
}

/** A body over HTTP/2, which fails as one over HTTP/1 where its client leaves, and whose stream is closed with it. */
export function bodyOf(stream: Http2Stream): Readable {
  return Readable.from(chunksOf(stream), { objectMode: false });
}

async function* chunksOf(stream: Http2Stream): AsyncGenerator<Buffer> {
  try {
    yield* stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    // One that breaks off ends like any other; only afterwards the stream tells that it was reset.
    await nextTurn();
    if (isReset(stream)) throw new Error('the client left');
  } finally {
    // With this code the answer still arrives, if it has not yet (RFC 9113 section 8.1).
    if (!stream.readableEnded) stream.close(NO_ERROR);
  }
}

/** What reading a whole body came to, once it is known whether it broke off. */
export async function unlessReset(body: Promise<RequestBody>, stream: Http2Stream): Promise<RequestBody> {
  const read = await body;
  await nextTurn();
  return isReset(stream) ? 'aborted' : read;
}

function isReset(stream: Http2Stream): boolean {
  return stream.aborted || stream.rstCode !== NO_ERROR;
}

/** Settles an exchange when its stream closes. */
export function watchStream(stream: Http2Stream, response: ServerResponse, exchange: Exchange): void {
  if (stream.closed || stream.destroyed) {
    exchange.abort();
    return;
  }
  stream.once('aborted', () => exchange.abort());
  stream.once('finish', () => {
    if (isReset(stream)) return;
    exchange.end({ kind: 'completed', status: response.statusCode });
    // A client that goes on sending is not wanted any more. What nobody has begun to read, Node itself lets go.
    if (!stream.readableEnded && stream.readableFlowing !== null) stream.close(NO_ERROR);
  });
  // Reset while what is left of the response waits for leave to be sent: nothing else would ever tell.
  stream.once('end', () => {
    if (!stream.closed || stream.writableFinished) return;
    exchange.abort();
    stream.destroy();
  });
  stream.once('close', () => {
    // Without a body there is nothing to finish: a HEAD has its answer when its head is sent.
    const { headRequest = false, headersSent = false } = stream as { headRequest?: boolean; headersSent?: boolean };
    if (headRequest && headersSent && !isReset(stream)) {
      exchange.end({ kind: 'completed', status: response.statusCode });
    } else exchange.abort();
  });
}
