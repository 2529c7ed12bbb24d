import { createHmac, createSecretKey } from 'node:crypto';
import { badSecret, checkOptionNames } from '../../core/option.js';
import { digestOf } from '../digest.js';
import { FIELD_TOKEN } from '../field-token.js';

/** Gives the digest of a key, as 64 lower-case hexadecimal digits. */
export type KeyDigest = (key: string) => string;

const MIN_PEPPER_LENGTH = 32;
/** `authenticate` refuses what is longer. */
const MAX_KEY_LENGTH = 8192;

/** SHA-256, or HMAC-SHA256 under the pepper. */
export function keyDigest(factory: string, pepper: unknown): KeyDigest {
  if (pepper === undefined) return digestOf;
  if (typeof pepper !== 'string' || pepper.length < MIN_PEPPER_LENGTH) {
    throw badSecret(factory, 'pepper', `must be a string of at least ${MIN_PEPPER_LENGTH} characters`);
  }
  const secret = createSecretKey(pepper, 'utf8');
  return (key) => createHmac('sha256', secret).update(key).digest('hex');
}

/** A key as a header can carry it. Never shown where it is not. */
export function checkKey(factory: string, option: string, key: unknown): string {
  if (typeof key !== 'string' || key === '') throw badSecret(factory, option, 'must be a non-empty string');
  if (!FIELD_TOKEN.test(key))
    throw badSecret(factory, option, 'may hold only visible ASCII characters, no white space');
  if (key.length > MAX_KEY_LENGTH) throw badSecret(factory, option, `must be at most ${MAX_KEY_LENGTH} characters`);
  return key;
}

/** What `digestApiKey` takes beside the key. */
export interface DigestApiKeyOptions {
  /** The pepper of the `apiKeys` that will look for it. Default none. */
  readonly pepper?: string;
}

/**
 * The digest of a key, as records hold it and stores are asked for it: SHA-256 as 64 lower-case hexadecimal digits, or
 * HMAC-SHA256 with a pepper. A fast hash is right for keys of 256 random bits; only for keys that can be guessed a pepper
 * is worth its care.
 *
 * ```ts
 * const scheme = apiKeys({ store })
 * scheme.invalidate(digestApiKey(revokedKey))
 * ```
 * @throws OptionError for a key that no header can carry, or a pepper under 32 characters. Neither is shown.
 */
export function digestApiKey(key: string, options: DigestApiKeyOptions = {}): string {
  checkOptionNames('digestApiKey', options, ['pepper']);
  return keyDigest('digestApiKey', options.pepper)(checkKey('digestApiKey', 'key', key));
}
