import { createHmac, randomBytes } from 'node:crypto';
import { badSecret } from '../core/option.js';

/** Stands for credentials in logs: 12 hexadecimal digits, the same for the same credentials. */
export type KeyHash = (credentials: string) => string;

const MIN_KEY_LENGTH = 32;
const HASH_DIGITS = 12;

/**
 * Hashes credentials under a key, without which nobody can try guesses on what a log holds. Without a key given, one is
 * made up: then hashes of two processes cannot be compared.
 * @throws OptionError for a key under 32 characters
 */
export function keyHasher(factory: string, key = randomBytes(32).toString('hex')): KeyHash {
  if (typeof key !== 'string' || key.length < MIN_KEY_LENGTH) {
    throw badSecret(factory, 'hashKey', `must be a string of at least ${MIN_KEY_LENGTH} characters`);
  }
  return (credentials) => createHmac('sha256', key).update(credentials).digest('hex').slice(0, HASH_DIGITS);
}
