import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, badSecret, checkOptionNames, clock, type OptionNames } from '../../core/option.js';
import { epochMilliseconds, storedTime, type Time } from '../../core/time.js';
import { acceptedKeys } from './accepted-key.js';
import { keyDigest } from './key-digest.js';
import { isKeyId, keyPrefix, newKey, newKeyId } from './key-format.js';
import type { ApiKeyDigest, ApiKeyRecord, ApiKeyRow } from './record.js';

interface NewKeyOptions {
  /** The new key is refused from this time on. It must be later than now. Default never. */
  readonly expiresAt?: Time | undefined;
  /** The beginning of the key. Default `gk_live_`. */
  readonly prefix?: string | undefined;
  /** The same pepper as in the `apiKeys` that uses the record. Default none. */
  readonly pepper?: string;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Options of `generateApiKey`. */
export interface GenerateApiKeyOptions extends NewKeyOptions {
  /** `principal.id`. Default the record's id, for a new client. */
  readonly clientId?: string | undefined;
  /** A name for people. */
  readonly name?: string | undefined;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** `principal.limits`. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
  /** `principal.metadata`: any JSON value. */
  readonly metadata?: unknown | undefined;
}

/** Options of `rotateApiKey`. */
export interface RotateApiKeyOptions extends NewKeyOptions {
  /** How long the earlier keys stay valid, unless they expire before. */
  readonly overlap: Duration;
}

/** A new key, and the record to store. The key itself is not stored anywhere. */
export interface GeneratedApiKey {
  readonly key: string;
  readonly record: ApiKeyRecord;
}

const NEW_KEY_OPTIONS: OptionNames<NewKeyOptions> = { expiresAt: true, prefix: true, pepper: true, now: true };
const GENERATE_OPTIONS: OptionNames<GenerateApiKeyOptions> = {
  clientId: true,
  name: true,
  scopes: true,
  limits: true,
  metadata: true,
  ...NEW_KEY_OPTIONS,
};
const ROTATE_OPTIONS: OptionNames<RotateApiKeyOptions> = { overlap: true, ...NEW_KEY_OPTIONS };

/**
 * Generates a key of 256 random bits, `gk_live_<id><secret><checksum>`, and the record to store, which contains only
 * its digest. The key cannot be recovered from the record.
 *
 * ```ts
 * const { key, record } = generateApiKey({ clientId: 'acme', scopes: ['generate'], limits: { perHour: 100 } })
 * ```
 * @throws OptionError
 */
export function generateApiKey(options: GenerateApiKeyOptions = {}): GeneratedApiKey {
  const factory = 'generateApiKey';
  checkOptionNames(factory, options, GENERATE_OPTIONS);
  const id = newKeyId();
  const { clientId = id, name, scopes = [], limits, metadata } = options;
  const { key, entry } = keyAndDigest(factory, options, id, currentTime(factory, options));
  const record: ApiKeyRecord = {
    id,
    clientId,
    ...(name === undefined ? {} : { name }),
    digests: [entry],
    scopes: Array.isArray(scopes) ? [...scopes] : scopes,
    enabled: true,
    ...(limits === undefined ? {} : { limits }),
    ...(metadata === undefined ? {} : { metadata }),
  };
  acceptedKeys(factory, '', record);
  return { key, record };
}

/**
 * Generates another key for a record. The earlier keys expire after `overlap`, or when they would have expired anyway;
 * keys that have expired are removed. The client, its quota and its usage stay the same.
 *
 * ```ts
 * const { key, record } = rotateApiKey(currentRecord, { overlap: '7d' })
 * ```
 * @throws OptionError
 */
export function rotateApiKey(record: ApiKeyRow, options: RotateApiKeyOptions): GeneratedApiKey {
  const factory = 'rotateApiKey';
  checkOptionNames(factory, options, ROTATE_OPTIONS);
  const now = currentTime(factory, options);
  const overlapEnd = now + milliseconds(factory, 'overlap', options.overlap);
  const earlier = acceptedKeys(factory, 'record', record).flatMap(({ notBefore, expiresAt }, i): ApiKeyDigest[] => {
    const entry = record.digests[i];
    // A key that would begin after the overlap would never be valid.
    if (entry === undefined || expiresAt <= now || notBefore >= overlapEnd) return [];
    return [{ ...withoutNulls(entry), expiresAt: storedTime(factory, 'overlap', Math.min(expiresAt, overlapEnd)) }];
  });
  const { key, entry } = keyAndDigest(factory, options, isKeyId(record.id) ? record.id : newKeyId(), now);
  const enabled = record.enabled === null ? { enabled: false } : {};
  return { key, record: { ...withoutNulls(record), ...enabled, digests: [...earlier, entry] } };
}

/** The members that are not null. Only optional members can be, as `acceptedKeys` has checked. */
function withoutNulls<T extends object>(row: T): { [K in keyof T]: Exclude<T[K], null> } {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as never;
}

function keyAndDigest(factory: string, options: NewKeyOptions, id: string, now: number) {
  const { expiresAt, pepper } = options;
  const digest = keyDigest(factory, pepper);
  const expiry = expiresAt === undefined ? {} : { expiresAt: storedTime(factory, 'expiresAt', expiresAt) };
  if (expiresAt !== undefined && !((epochMilliseconds(expiresAt) ?? 0) > now)) {
    throw badOption(factory, 'expiresAt', 'must be later than now', expiresAt);
  }
  const key = newKey(keyPrefix(factory, options.prefix), id);
  return { key, entry: { digest: digest(key), ...expiry } };
}

function currentTime(factory: string, options: NewKeyOptions): number {
  const time = clock(factory, options.now)();
  if (!Number.isFinite(time)) throw badSecret(factory, 'now', 'must return epoch milliseconds');
  return time;
}
