import { hash, timingSafeEqual } from 'node:crypto';

const LENGTH = 64;

/**
 * The SHA-256 digest of a secret as hexadecimal text. A fast hash is right here: slow ones protect guessable secrets,
 * and secrets that may be used here are too long to guess. `crypto.hash` with text output is the fastest way in Node.
 */
export function digestOf(secret: string): string {
  return hash('sha256', secret, 'hex');
}

const left = Buffer.alloc(LENGTH);

/** A digest in the form that `equalDigests` compares with. */
export function digestBytes(digest: string): Buffer {
  return Buffer.from(digest, 'latin1');
}

/** Compares a digest with a stored one in constant time. */
export function equalDigests(digest: string, stored: Buffer): boolean {
  left.write(digest, 'latin1');
  return timingSafeEqual(left, stored);
}
