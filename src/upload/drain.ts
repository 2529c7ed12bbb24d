import type { Readable } from 'node:stream';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_MS = 2000;

/** Lets a client that is not wanted any more send on for a moment, so that it comes to read the answer. */
export function cutOffSoon(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  const timer = setTimeout(() => body.destroy(), MAX_MS).unref();
  for (const end of ['end', 'close', 'error']) body.once(end, () => clearTimeout(timer));
  body.on('error', () => undefined);
}

/** Throws away what still comes of a body, to a bound of time and bytes; then its connection is cut off. */
export function drain(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  cutOffSoon(body);
  let dropped = 0;
  body.on('data', (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > MAX_BYTES) body.destroy();
  });
  body.resume();
}
