import { createHmac, createSecretKey } from 'node:crypto';
import { badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { digestOf } from '../digest.js';
import { FIELD_TOKEN } from '../field-token.js';
import { checkSecret } from '../secret.js';

/** Returns the digest of a key, as 64 lower-case hexadecimal digits. */
export type KeyDigest = (key: string) => string;

const MIN_PEPPER_LENGTH = 32;
/** `authenticate` refuses longer credentials. */
const MAX_KEY_LENGTH = 8192;

/** SHA-256, or HMAC-SHA256 with the pepper. @throws OptionError for a short pepper */
export function keyDigest(factory: string, pepper: unknown): KeyDigest {
  if (pepper === undefined) return digestOf;
  const secret = createSecretKey(checkSecret(factory, 'pepper', pepper, MIN_PEPPER_LENGTH), 'utf8');
  return (key) => createHmac('sha256', secret).update(key).digest('hex');
}

/** Checks a key that a header can carry. No message shows it. @throws OptionError */
export function checkKey(factory: string, option: string, key: unknown): string {
  if (key === undefined || key === '') {
    const missing = key === undefined ? 'is not set' : 'is empty';
    throw badSecret(factory, option, `${missing}; it must be an API key, such as one from \`npx gatewarden keygen\``);
  }
  if (typeof key !== 'string') throw badSecret(factory, option, 'must be a non-empty string');
  if (!FIELD_TOKEN.test(key)) {
    throw badSecret(factory, option, 'must have only visible ASCII characters, without white space');
  }
  if (key.length > MAX_KEY_LENGTH) throw badSecret(factory, option, `must be at most ${MAX_KEY_LENGTH} characters`);
  return key;
}

/** Options of `digestApiKey`. */
export interface DigestApiKeyOptions {
  /** The same pepper as in the `apiKeys` that looks for the digest. Default none. */
  readonly pepper?: string;
}

const OPTIONS: OptionNames<DigestApiKeyOptions> = { pepper: true };

/**
 * The digest of a key, as records contain it and `ApiKeyStore.findByDigest` receives it: SHA-256, or HMAC-SHA256 with a
 * pepper, as 64 lower-case hexadecimal digits. A fast hash is enough for keys of 256 random bits. A pepper helps only
 * if keys can be guessed.
 *
 * ```ts
 * const scheme = apiKeys({ store })
 * scheme.invalidate(digestApiKey(revokedKey))
 * ```
 * @throws OptionError for a key that no header can carry, or a pepper under 32 characters. The message shows neither.
 */
export function digestApiKey(key: string, options: DigestApiKeyOptions = {}): string {
  checkOptionNames('digestApiKey', options, OPTIONS);
  return keyDigest('digestApiKey', options.pepper)(checkKey('digestApiKey', 'key', key));
}
