import type { Exchange } from '../../core/exchange.js';
import { badOption, boolean, checkOptionNames, clock, OptionError, type OptionNames } from '../../core/option.js';
import type { RequestView } from '../../core/request-view.js';
import { isThenable } from '../../core/thenable.js';
import { ABSENT, type Authenticator, type Credentials, invalid, malformed, type Verdict } from '../authenticator.js';
import { readBearer } from '../bearer.js';
import { digestBytes, equalDigests } from '../digest.js';
import { fieldName, readFieldToken } from '../field-token.js';
import { verdictOf } from './accepted-key.js';
import { keyDigest } from './key-digest.js';
import { keyForm, keyPrefix } from './key-format.js';
import { keySet } from './key-set.js';
import {
  type ApiKeyLookupOptions,
  type ApiKeyStore,
  cachedKeyStore,
  type KeyLookup,
  LOOKUP_OPTIONS,
} from './key-store.js';
import type { ApiKeyRow } from './record.js';

interface ReadingOptions {
  /** The header that carries a key, or `false` for none. Default `X-API-Key`. */
  readonly header?: string | false | undefined;
  /** Whether a key is accepted as `Authorization: Bearer`. Default true. */
  readonly bearer?: boolean | undefined;
  /**
   * A secret that all digests depend on, so that stolen digests alone cannot be used to guess keys. At least 32
   * characters, and the same as when the records were made. Default none.
   */
  readonly pepper?: string;
  /**
   * The prefix of generated keys. A token with this prefix and a wrong checksum is refused first. Default `gk_live_`.
   */
  readonly prefix?: string | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Options of `apiKeys` with a list of records. */
export interface ApiKeySetOptions extends ReadingOptions {
  /**
   * Records, or keys in plain text. Keys in plain text all belong to the client `api-key`, and are named `key-1`,
   * `key-2` and so on by their position. An `undefined` item, of an environment variable that is not set, is an
   * `OptionError`.
   */
  readonly keys: readonly (string | undefined | ApiKeyRow)[];
}

/** Options of `apiKeys` with a store. */
export interface ApiKeyStoreOptions extends ReadingOptions, ApiKeyLookupOptions {
  /** Where the records are. */
  readonly store: ApiKeyStore;
}

/** `apiKeys` with a list of records. */
export interface ApiKeySet extends Authenticator {
  /**
   * Replaces all records in one step: no request sees a mixture of old and new ones.
   * @throws OptionError for a bad record. The earlier records then stay in use.
   */
  replace(keys: readonly (string | undefined | ApiKeyRow)[]): void;
}

/** `apiKeys` with a store. */
export interface StoredApiKeys extends Authenticator {
  /** Removes the answers for a digest (see `digestApiKey`), or for the record with that id, from the caches. */
  invalidate(digestOrId: string): void;
  /** Removes all answers of the store from the caches. */
  invalidateAll(): void;
}

const OPTIONS: OptionNames<ApiKeySetOptions & ApiKeyStoreOptions> = {
  keys: true,
  store: true,
  header: true,
  bearer: true,
  pepper: true,
  prefix: true,
  now: true,
  ...LOOKUP_OPTIONS,
};
/** Three parts, the first a JSON object in base64url: a JWT (RFC 7519), which belongs to another scheme. */
const JWT_LIKE = /^eyJ[^.]*\.[^.]*\.[^.]*$/;
const CONFLICTING = malformed('conflicting');
const BAD_CHECKSUM = invalid('checksum');
const UNKNOWN = invalid('unknown');
const STORE_FAILED: Verdict = Object.freeze({ kind: 'unavailable', reason: 'key store failed' });
/** Compared with if there is no such key. It needs not be secret, because the result of the comparison is not used. */
const UNKNOWN_KEY_BYTES = digestBytes('0'.repeat(64));

/**
 * Authenticates callers that send an API key in `X-API-Key` or as a bearer token. If both are sent, they must be equal.
 * Only digests are held, and one look-up finds a key among any number. A token with the prefix of generated keys and a
 * wrong checksum is refused before anything is hashed or looked up. A bearer token in the form of a JWT is left to the
 * next scheme.
 *
 * ```ts
 * const { key, record } = generateApiKey({ clientId: 'acme' }) // send the key to the client, store the record
 * const scheme = apiKeys({ keys: [record] })
 * guard(authenticate(scheme))
 * scheme.replace(await readRecords())
 * ```
 * @throws OptionError for an empty list, a bad record, or a key or id that is listed twice. The message names the
 * position in the list and never shows a key or a digest.
 */
export function apiKeys(options: ApiKeySetOptions): ApiKeySet;
/**
 * Authenticates API keys whose records are in a store. Its answers are cached for a short time. If it fails or does not
 * answer in time, the request gets 503.
 *
 * ```ts
 * const scheme = apiKeys({ store: { findByDigest: (digest) => db.keys.findFirst({ where: { digest } }).then(toRecord) } })
 * ```
 * @throws OptionError
 */
export function apiKeys(options: ApiKeyStoreOptions): StoredApiKeys;
export function apiKeys(options: ApiKeySetOptions | ApiKeyStoreOptions): ApiKeySet | StoredApiKeys {
  checkOptionNames('apiKeys', options, OPTIONS);
  const now = clock('apiKeys', options.now);
  const prefix = keyPrefix('apiKeys', options.prefix);
  const digestOf = keyDigest('apiKeys', options.pepper);
  const reading = readingOf(options);

  function verdict(digest: string, key: KeyLookup): Verdict {
    if (key === 'store failed') return STORE_FAILED;
    // An unknown key is compared as well, so that both take the same time.
    const matches = equalDigests(digest, key?.bytes ?? UNKNOWN_KEY_BYTES);
    return key !== undefined && matches ? verdictOf(key, now()) : UNKNOWN;
  }

  function scheme(find: (digest: string, exchange: Exchange) => KeyLookup | Promise<KeyLookup>): Authenticator {
    return {
      scheme: 'api-key',
      challenge: reading.challenge,
      read: reading.read,
      verify(token, exchange) {
        const form = keyForm(token, prefix);
        if (form === 'broken') return BAD_CHECKSUM;
        if (form === 'opaque' && JWT_LIKE.test(token) && !reading.inHeader(exchange.request)) return ABSENT;
        const digest = digestOf(token);
        const lookup = find(digest, exchange);
        return isThenable(lookup)
          ? Promise.resolve(lookup).then((key) => verdict(digest, key))
          : verdict(digest, lookup);
      },
    };
  }

  const all: Partial<ApiKeySetOptions & ApiKeyStoreOptions> = options;
  if (all.store !== undefined) {
    if (all.keys !== undefined) throw new OptionError('gatewarden: apiKeys accepts "keys" or "store", not both');
    const { find, invalidate, invalidateAll } = cachedKeyStore(all.store, all, now);
    return { ...scheme(find), invalidate, invalidateAll };
  }
  if (!('keys' in all)) throw new OptionError('gatewarden: apiKeys needs "keys" or "store"');
  const [storeOnly] =
    Object.entries(options).find(([name, value]) => name in LOOKUP_OPTIONS && value !== undefined) ?? [];
  if (storeOnly !== undefined) throw new OptionError(`gatewarden: apiKeys accepts "${storeOnly}" only with "store"`);
  let keys = keySet(all.keys ?? [], digestOf, prefix);
  return {
    ...scheme((digest) => keys.get(digest)),
    replace(newKeys) {
      keys = keySet(newKeys, digestOf, prefix);
    },
  };
}

/** Reads keys from the header, the bearer token, or both. */
function readingOf({ header = 'X-API-Key', bearer = true }: ReadingOptions) {
  boolean('apiKeys', 'bearer', bearer);
  const field = header === false ? undefined : fieldName('apiKeys', 'header', header);
  if (field === undefined && !bearer) {
    throw new OptionError('gatewarden: apiKeys reads no keys; set "header" to a header name, or "bearer" to true');
  }
  if (field === 'authorization') {
    throw badOption('apiKeys', 'header', 'must not be Authorization', header, 'use "bearer" for bearer tokens');
  }

  function readHeader(request: RequestView): Credentials {
    return field === undefined ? ABSENT : readFieldToken(request, field);
  }

  return {
    challenge: bearer ? 'Bearer' : String(header),
    inHeader: (request: RequestView) => readHeader(request).kind === 'present',
    read(request: RequestView): Credentials {
      const key = readHeader(request);
      const token = bearer ? readBearer(request) : ABSENT;
      if (key.kind === 'malformed' || token.kind === 'absent') return key;
      if (key.kind === 'absent' || token.kind === 'malformed') return token;
      return key.token === token.token ? key : CONFLICTING;
    },
  };
}
