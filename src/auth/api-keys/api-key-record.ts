import { badSecret, checkOptionNames } from '../../core/option.js';
import { storedTime, type Time } from '../../core/time.js';
import { acceptedKeys } from './accepted-key.js';
import { checkKey, type KeyDigest, keyDigest } from './key-digest.js';
import { DEFAULT_PREFIX, keyForm } from './key-format.js';
import type { ApiKeyRecord } from './record.js';

/** What `apiKeyRecord` takes beside the key. */
export interface ApiKeyRecordOptions {
  /** `principal.id`. */
  readonly clientId: string;
  /** Names the record. Default the client's id. */
  readonly id?: string;
  /** For people. */
  readonly name?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** From this moment on the key is refused. Default never. */
  readonly expiresAt?: Time;
  /** `principal.limits`. */
  readonly limits?: Readonly<Record<string, number>>;
  /** `principal.metadata`: anything that JSON can hold. */
  readonly metadata?: unknown;
  /** That of the `apiKeys` which gets the record. Default none. */
  readonly pepper?: string;
}

/** What `adminApiKey` takes beside the key. */
export interface AdminApiKeyOptions {
  /** `principal.id`, and the record's. Default `admin`. */
  readonly clientId?: string;
  /** That of the `apiKeys` which gets the record. Default none. */
  readonly pepper?: string;
}

const MIN_LENGTH = 16;

/**
 * The record for a key that was not made by `generateApiKey`: any visible ASCII characters without white space. As a bearer
 * token it may hold only letters, digits and `-._~+/`, and must not look like a signed token; a header of its own takes
 * all of them. Under 16 characters it is taken with a warning.
 *
 * ```ts
 * apiKeys({ keys: [apiKeyRecord(process.env.PARTNER_KEY ?? '', { clientId: 'partner', limits: { perHour: 100 } })] })
 * ```
 * @throws OptionError for an empty key, one that no header can carry, or one with the prefix `gk_live_` that is not whole.
 * The key is not shown.
 */
export function apiKeyRecord(key: string, options: ApiKeyRecordOptions): ApiKeyRecord {
  const factory = 'apiKeyRecord';
  const names = ['clientId', 'id', 'name', 'scopes', 'expiresAt', 'limits', 'metadata', 'pepper'];
  checkOptionNames(factory, options, names);
  const { pepper, clientId, id = clientId, expiresAt, ...rest } = options;
  const digest = plainKeyDigest(factory, 'key', key, keyDigest(factory, pepper), DEFAULT_PREFIX);
  if (clientId === key || id === key) throw badSecret(factory, 'clientId', 'and "id" must not be the key');
  const ends = expiresAt === undefined ? {} : { expiresAt: storedTime(factory, 'expiresAt', expiresAt) };
  const record: ApiKeyRecord = { id, clientId, ...rest, digests: [{ digest, ...ends }] };
  acceptedKeys(factory, '', record);
  if (isWeak(key)) warnOfWeakKeys(factory, ['key']);
  return record;
}

/**
 * The record for the key of an administrator, such as `ADMIN_API_KEY`: its scope is `admin`.
 *
 * ```ts
 * apiKeys({ keys: [...parseApiKeys(process.env.API_KEYS ?? ''), adminApiKey(process.env.ADMIN_API_KEY ?? '')] })
 * ```
 * @throws OptionError as `apiKeyRecord`; and `apiKeys` does, where a client has the same key.
 */
export function adminApiKey(key: string, options: AdminApiKeyOptions = {}): ApiKeyRecord {
  checkOptionNames('adminApiKey', options, ['clientId', 'pepper']);
  return apiKeyRecord(key, { clientId: 'admin', ...options, scopes: ['admin'] });
}

/** The digest of a key as it stands in a setting. One that `apiKeys` would refuse unseen is refused here. */
export function plainKeyDigest(
  factory: string,
  option: string,
  key: unknown,
  digest: KeyDigest,
  prefix: string,
): string {
  const text = checkKey(factory, option, key);
  if (keyForm(text, prefix) === 'broken') {
    throw badSecret(factory, option, `has the prefix "${prefix}" of generated keys, but is not whole`);
  }
  return digest(text);
}

export function isWeak(key: string): boolean {
  return key.length < MIN_LENGTH;
}

/** Says where the keys stand, nothing more. */
export function warnOfWeakKeys(factory: string, where: readonly string[]): void {
  if (where.length === 0) return;
  process.emitWarning(`${factory}: API keys of under ${MIN_LENGTH} characters can be guessed: ${where.join(', ')}`, {
    code: 'GATEWARDEN_WEAK_API_KEY',
  });
}
