import { badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { storedTime, type Time } from '../../core/time.js';
import { warn } from '../../core/warning.js';
import { acceptedKeys } from './accepted-key.js';
import { checkKey, type KeyDigest, keyDigest } from './key-digest.js';
import { DEFAULT_PREFIX, keyForm } from './key-format.js';
import type { ApiKeyRecord } from './record.js';

/** Options of `apiKeyRecord`. */
export interface ApiKeyRecordOptions {
  /** `principal.id`. */
  readonly clientId: string;
  /** The record's id. Default the client's id. */
  readonly id?: string | undefined;
  /** A name for people. */
  readonly name?: string | undefined;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** The key is refused from this time on. Default never. */
  readonly expiresAt?: Time | undefined;
  /** `principal.limits`. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
  /** `principal.metadata`: any JSON value. */
  readonly metadata?: unknown | undefined;
  /** The same pepper as in the `apiKeys` that uses the record. Default none. */
  readonly pepper?: string;
}

/** Options of `adminApiKey`. */
export interface AdminApiKeyOptions {
  /** `principal.id`. Default `admin`. */
  readonly clientId?: string | undefined;
  /** The record's id. Default the client's id. While a key is replaced, give the new one another id. */
  readonly id?: string | undefined;
  /** The same pepper as in the `apiKeys` that uses the record. Default none. */
  readonly pepper?: string;
}

const RECORD_OPTIONS: OptionNames<ApiKeyRecordOptions> = {
  clientId: true,
  id: true,
  name: true,
  scopes: true,
  expiresAt: true,
  limits: true,
  metadata: true,
  pepper: true,
};
const ADMIN_OPTIONS: OptionNames<AdminApiKeyOptions> = { clientId: true, id: true, pepper: true };
const MIN_LENGTH = 16;

/**
 * The record of a key that `generateApiKey` did not make. The key may have any visible ASCII characters. To be sent as
 * a bearer token, it may have only letters, digits and `-._~+/`, and must not look like a JWT. For a key of under 16
 * characters, the warning `GATEWARDEN_WEAK_API_KEY` is emitted.
 *
 * ```ts
 * apiKeys({ keys: [apiKeyRecord(process.env.PARTNER_KEY, { clientId: 'partner', limits: { perHour: 100 } })] })
 * ```
 * @throws OptionError for a key that is not set, that no header can carry, or that begins with `gk_live_` but is not a
 * complete generated key. The message never shows the key.
 */
export function apiKeyRecord(key: string | undefined, options: ApiKeyRecordOptions): ApiKeyRecord {
  const factory = 'apiKeyRecord';
  checkOptionNames(factory, options, RECORD_OPTIONS);
  const { pepper, clientId, id = clientId, expiresAt, ...rest } = options;
  const checkedKey = checkKey(factory, 'key', key);
  const digest = plainKeyDigest(factory, 'key', checkedKey, keyDigest(factory, pepper), DEFAULT_PREFIX);
  if (clientId === key) throw badSecret(factory, 'clientId', 'must not be the key');
  if (id === key) throw badSecret(factory, 'id', 'must not be the key');
  const expiry = expiresAt === undefined ? {} : { expiresAt: storedTime(factory, 'expiresAt', expiresAt) };
  const record: ApiKeyRecord = { id, clientId, ...rest, digests: [{ digest, ...expiry }] };
  acceptedKeys(factory, '', record);
  if (isWeak(checkedKey)) warnOfWeakKeys(factory, ['key']);
  return record;
}

/**
 * The record of an administrator's key, with the scope `admin`.
 *
 * ```ts
 * apiKeys({ keys: [...parseApiKeys(process.env.API_KEYS), adminApiKey(process.env.ADMIN_API_KEY)] })
 * ```
 * @throws OptionError as `apiKeyRecord` does. `apiKeys` throws if a client has the same key.
 */
export function adminApiKey(key: string | undefined, options: AdminApiKeyOptions = {}): ApiKeyRecord {
  checkOptionNames('adminApiKey', options, ADMIN_OPTIONS);
  const { clientId = 'admin', ...rest } = options;
  return apiKeyRecord(key, { clientId, ...rest, scopes: ['admin'] });
}

/**
 * The digest of a key in plain text.
 * @throws OptionError also for a key that `apiKeys` would refuse by its checksum
 */
export function plainKeyDigest(
  factory: string,
  option: string,
  key: unknown,
  digest: KeyDigest,
  prefix: string,
): string {
  const text = checkKey(factory, option, key);
  if (keyForm(text, prefix) === 'broken') {
    throw badSecret(
      factory,
      option,
      `begins with "${prefix}" as generated keys do, but is not a complete one; copy the key again`,
    );
  }
  return digest(text);
}

export function isWeak(key: string): boolean {
  return key.length < MIN_LENGTH;
}

/** The warning names only the positions of the keys. */
export function warnOfWeakKeys(factory: string, positions: readonly string[]): void {
  if (positions.length === 0) return;
  warn(`${factory}: API keys under ${MIN_LENGTH} characters can be guessed; use longer ones: ${positions.join(', ')}`, {
    code: 'GATEWARDEN_WEAK_API_KEY',
  });
}
