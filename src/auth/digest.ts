import { hash, timingSafeEqual } from 'node:crypto';

const LENGTH = 64;

/**
 * The SHA-256 digest of a secret as hexadecimal text. A fast hash is enough: slow ones protect secrets that can be
 * guessed, and these are too long for that. `crypto.hash` with text output is the fastest way in Node.
 */
export function digestOf(secret: string): string {
  return hash('sha256', secret, 'hex');
}

const candidate = Buffer.alloc(LENGTH);

/** A digest in the form that `equalDigests` compares with. */
export function digestBytes(digest: string): Buffer {
  return Buffer.from(digest, 'latin1');
}

/** Compares a digest with a stored one in constant time. */
export function equalDigests(digest: string, stored: Buffer): boolean {
  candidate.write(digest, 'latin1');
  return timingSafeEqual(candidate, stored);
}
