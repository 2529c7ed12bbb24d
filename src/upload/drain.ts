import type { Readable } from 'node:stream';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_MS = 2000;

/** Closes the connection after a moment, so that a client that is still sending can read the answer first. */
function closeSoon(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  const timer = setTimeout(() => body.destroy(), MAX_MS).unref();
  for (const end of ['end', 'close', 'error']) body.once(end, () => clearTimeout(timer));
  body.on('error', () => undefined);
}

/** Discards the rest of a body, up to 64 MiB and two seconds. After that the connection is closed. */
export function drain(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  closeSoon(body);
  let dropped = 0;
  body.on('data', (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > MAX_BYTES) body.destroy();
  });
  body.resume();
}
