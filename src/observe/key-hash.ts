import { createHmac, randomBytes } from 'node:crypto';
import { badSecret } from '../core/option.js';

/** A keyed hash of credentials, for logs: 12 hexadecimal digits. Equal credentials have equal hashes. */
export type KeyHash = (credentials: string) => string;

const MIN_KEY_LENGTH = 32;
const HASH_DIGITS = 12;

/** Made at first use, because Workers have no random values while a module loads. */
let keyOfProcess: string | undefined;

/**
 * Returns a function that hashes credentials. The key prevents a reader of the log from guessing credentials by their
 * hash. By default it is one random key for the whole process, so that all its logs agree, and hashes of two processes
 * cannot be compared.
 * @throws OptionError for a key shorter than 32 characters
 */
export function keyHasher(factory: string, hashKey: string | undefined): KeyHash {
  if (hashKey !== undefined && (typeof hashKey !== 'string' || hashKey.length < MIN_KEY_LENGTH)) {
    throw badSecret(factory, 'hashKey', `must be a string of at least ${MIN_KEY_LENGTH} characters`);
  }
  return (credentials) => {
    if (hashKey === undefined) keyOfProcess ??= randomBytes(MIN_KEY_LENGTH).toString('hex');
    const key = hashKey ?? (keyOfProcess as string);
    return createHmac('sha256', key).update(credentials).digest('hex').slice(0, HASH_DIGITS);
  };
}
