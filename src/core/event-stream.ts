import type { Readable } from 'node:stream';
import type { Exchange } from './exchange.js';
import type { Reply } from './reply.js';

const HEADERS: Reply['headers'] = [
  ['Content-Type', 'text/event-stream; charset=utf-8'],
  // Not to be compressed either: an event would wait in the compressor.
  ['Cache-Control', 'no-store, no-transform'],
  // nginx would keep events until its buffer is full.
  ['X-Accel-Buffering', 'no'],
];

/**
 * A reply of server-sent events. `open` makes the stream when the adapter reads it, and the stream is destroyed if the client
 * leaves. `onUnread` is called if the exchange ends before that.
 */
export function eventStreamReply(exchange: Exchange, open: () => Readable, onUnread: () => void): Reply {
  let stream: Readable | undefined;
  exchange.onEnd(({ kind }) => {
    if (stream === undefined) onUnread();
    // Off Node, the exchange is completed before the stream is read.
    else if (kind !== 'completed') stream.destroy();
  });
  return {
    status: 200,
    headers: HEADERS,
    problem: undefined,
    stream: () => {
      stream = open();
      const { outcome } = exchange;
      if (outcome !== undefined && outcome.kind !== 'completed') stream.destroy();
      return stream;
    },
  };
}
