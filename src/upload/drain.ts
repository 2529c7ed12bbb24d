import type { Readable } from 'node:stream';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_MS = 2000;

/**
 * Throws away the rest of a body that is not wanted, so that the client comes to read the answer; one that goes on and on
 * is cut off with its connection.
 */
export function drain(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  let dropped = 0;
  const timer = setTimeout(() => body.destroy(), MAX_MS).unref();
  body.on('data', (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > MAX_BYTES) body.destroy();
  });
  for (const end of ['end', 'close', 'error']) body.once(end, () => clearTimeout(timer));
  body.on('error', () => undefined);
  body.resume();
}
