import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, badSecret, checkOptionNames } from '../../core/option.js';
import { epochMilliseconds, storedTime, type Time } from '../../core/time.js';
import { acceptedKeys } from './accepted-key.js';
import { keyDigest } from './key-digest.js';
import { isKeyId, keyPrefix, newKey, newKeyId } from './key-format.js';
import type { ApiKeyDigest, ApiKeyRecord } from './record.js';

interface NewKeyOptions {
  /** From this moment on the key is refused: later than now. Default never. */
  readonly expiresAt?: Time;
  /** Default `gk_live_`. */
  readonly prefix?: string;
  /** That of the `apiKeys` which gets the record. Default none. */
  readonly pepper?: string;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** What `generateApiKey` takes. */
export interface GenerateApiKeyOptions extends NewKeyOptions {
  /** `principal.id`. Default the record's id, a client of its own. */
  readonly clientId?: string;
  /** For people. */
  readonly name?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** `principal.limits`. */
  readonly limits?: Readonly<Record<string, number>>;
  /** `principal.metadata`: anything that JSON can hold. */
  readonly metadata?: unknown;
}

/** What `rotateApiKey` takes beside the record. */
export interface RotateApiKeyOptions extends NewKeyOptions {
  /** How long the keys so far stay good, unless they end before. */
  readonly overlap: Duration;
}

/** A new key, which is nowhere else, and what to keep of it. */
export interface GeneratedApiKey {
  readonly key: string;
  readonly record: ApiKeyRecord;
}

const NEW_KEY: readonly string[] = ['expiresAt', 'prefix', 'pepper', 'now'] satisfies (keyof NewKeyOptions)[];

/**
 * Makes a key of 256 random bits, `gk_live_<id><secret><checksum>`, and the record to store, which holds its digest only.
 * The key cannot be had again.
 *
 * ```ts
 * const { key, record } = generateApiKey({ clientId: 'acme', scopes: ['generate'], limits: { perHour: 100 } })
 * ```
 * @throws OptionError
 */
export function generateApiKey(options: GenerateApiKeyOptions = {}): GeneratedApiKey {
  const factory = 'generateApiKey';
  checkOptionNames(factory, options, ['clientId', 'name', 'scopes', 'limits', 'metadata', ...NEW_KEY]);
  const id = newKeyId();
  const { clientId = id, name, scopes = [], limits, metadata } = options;
  const { key, entry } = keyAndDigest(factory, options, id, clock(factory, options.now));
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
 * Makes another key for a record. The keys so far end after `overlap`, or when they would have ended; those that have ended
 * are left out. Client, quota and usage stay what they are.
 *
 * ```ts
 * const { key, record } = rotateApiKey(before, { overlap: '7d' })
 * ```
 * @throws OptionError
 */
export function rotateApiKey(record: ApiKeyRecord, options: RotateApiKeyOptions): GeneratedApiKey {
  const factory = 'rotateApiKey';
  checkOptionNames(factory, options, ['overlap', ...NEW_KEY]);
  const now = clock(factory, options.now);
  const until = now + milliseconds(factory, 'overlap', options.overlap);
  const kept = acceptedKeys(factory, 'record', record).flatMap(({ notBefore, expiresAt }, i): ApiKeyDigest[] => {
    const before = record.digests[i];
    // What would begin after the overlap would never be good.
    if (before === undefined || expiresAt <= now || notBefore >= until) return [];
    return [{ ...before, expiresAt: storedTime(factory, 'overlap', Math.min(expiresAt, until)) }];
  });
  const { key, entry } = keyAndDigest(factory, options, isKeyId(record.id) ? record.id : newKeyId(), now);
  return { key, record: { ...record, digests: [...kept, entry] } };
}

function keyAndDigest(factory: string, options: NewKeyOptions, id: string, now: number) {
  const { expiresAt, pepper } = options;
  const digest = keyDigest(factory, pepper);
  const ends = expiresAt === undefined ? {} : { expiresAt: storedTime(factory, 'expiresAt', expiresAt) };
  if (expiresAt !== undefined && !((epochMilliseconds(expiresAt) ?? 0) > now)) {
    throw badOption(factory, 'expiresAt', 'must be later than now', expiresAt);
  }
  const key = newKey(keyPrefix(factory, options.prefix), id);
  return { key, entry: { digest: digest(key), ...ends } };
}

function clock(factory: string, now: (() => number) | undefined = Date.now): number {
  if (typeof now !== 'function') throw badOption(factory, 'now', 'must be a function', now);
  const time = now();
  if (!Number.isFinite(time)) throw badSecret(factory, 'now', 'must give epoch milliseconds');
  return time;
}
