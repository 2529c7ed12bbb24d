import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How long a client may take to read a refusal, and to close its side, in milliseconds. */
const LINGER = 5000;
/** A client must not send anything before the answer (RFC 6455 section 4.1). More than this is not kept. */
const MAX_EARLY_BYTES = 16_384;

/**
 * Watches a socket while guards are waiting, so that a client that leaves is noticed. Calls `leave` if the client ends its
 * side, or sends more than it may. Returns a function that stops watching, and returns what has arrived, with `head` first.
 */
export function watchWaiting(socket: Socket, head: Buffer, leave: () => void): () => Buffer {
  const chunks = [head];
  let size = head.length;
  const keep = (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_EARLY_BYTES) leave();
    else chunks.push(chunk);
  };
  socket.on('data', keep);
  socket.on('end', leave);
  return function stop() {
    socket.off('data', keep);
    socket.off('end', leave);
    // As Node passes it on: neither flowing nor paused. The setter is missing in the types.
    (socket as { readableFlowing: boolean | null }).readableFlowing = null;
    return chunks.length === 1 ? head : Buffer.concat(chunks);
  };
}

/**
 * Ends a connection whose response has been written. What the client still sends is discarded, so that the kernel does not
 * reset the connection before the client has read the response. A client that does not read, or does not close, is cut off.
 */
export function closeAfter(response: ServerResponse, socket: Socket): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once('close', () => clearTimeout(timer));
  // Node does this only for the responses that it has made.
  socket.on('drain', () => response.emit('drain'));
  response.once('finish', () => void socket.end());
  socket.resume();
}

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;

/** Calls `answered` once, with the status of the response that is written to a socket: undefined if that is not HTTP. */
export function watchStatus(socket: Socket, answered: (status: number | undefined) => void): void {
  const { write, end } = socket;
  let isAnswered = false;

  function note(chunk: unknown): void {
    if (isAnswered || (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))) return;
    const text = typeof chunk === 'string' ? chunk.slice(0, 12) : Buffer.from(chunk.subarray(0, 12)).toString('latin1');
    const status = STATUS_LINE.exec(text)?.[1];
    // Early hints come before the answer.
    if (status?.startsWith('1') && status !== '101') return;
    isAnswered = true;
    answered(status === undefined ? undefined : Number(status));
  }

  socket.write = function watchedWrite(...args: unknown[]): boolean {
    note(args[0]);
    return (write as (...args: unknown[]) => boolean).apply(socket, args);
  };
  socket.end = function watchedEnd(...args: unknown[]): Socket {
    note(args[0]);
    return (end as (...args: unknown[]) => Socket).apply(socket, args);
  };
}
