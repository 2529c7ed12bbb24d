import { randomBytes } from 'node:crypto';
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
import { type ApiKeyLookupOptions, type ApiKeyStore, cachedKeyStore, type Found, LOOKUP_OPTIONS } from './key-store.js';
import type { ApiKeyRecord } from './record.js';

interface ReadingOptions {
  /** The header that carries a key; `false` for none. Default `X-API-Key`. */
  readonly header?: string | false;
  /** Whether a key may come as `Authorization: Bearer`. Default true. */
  readonly bearer?: boolean;
  /** Makes digests worthless to whoever has only them: at least 32 characters, the same as made the records. */
  readonly pepper?: string;
  /** Of generated keys, whose checksum is then looked at before all else. Default `gk_live_`. */
  readonly prefix?: string;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** What `apiKeys` takes where it holds all records itself. */
export interface ApiKeySetOptions extends ReadingOptions {
  /** Records, or keys as plain text: those are all of one client, `api-key`, and named `key-1` by their place. */
  readonly keys: readonly (string | ApiKeyRecord)[];
}

/** What `apiKeys` takes where the records are in a store. */
export interface ApiKeyStoreOptions extends ReadingOptions, ApiKeyLookupOptions {
  readonly store: ApiKeyStore;
}

/** `apiKeys` over records of its own. */
export interface ApiKeySet extends Authenticator {
  /**
   * Takes these records for all earlier ones, in one step: no request sees a part of either.
   * @throws OptionError for records that cannot be used; the earlier ones stay
   */
  replace(keys: readonly (string | ApiKeyRecord)[]): void;
}

/** `apiKeys` over a store. */
export interface StoredApiKeys extends Authenticator {
  /** Forgets what the store said of a digest (see `digestApiKey`), or of the record of that id. */
  invalidate(digestOrId: string): void;
  /** Forgets all that the store said. */
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
/** Three parts, the first an object in base64url: a signed token (RFC 7519), another scheme's. */
const JWT_LIKE = /^eyJ[^.]*\.[^.]*\.[^.]*$/;
const CONTRADICTING = malformed('contradicting');
const BAD_CHECKSUM = invalid('checksum');
const UNKNOWN = invalid('unknown');
const STORE_FAILED: Verdict = Object.freeze({ kind: 'unavailable', reason: 'key store failed' });
/** Compared with where there is no such key. */
const NOBODY = digestBytes(randomBytes(32).toString('hex'));

/**
 * Lets in whoever sends one of the keys in `X-API-Key` or as a bearer token. Both at once must be equal. Only digests are
 * held, and found by one look-up whatever their number. What has the prefix of generated keys and a bad checksum is refused
 * with nothing computed or asked. A bearer token in the form of a JWT is left to the next scheme.
 *
 * ```ts
 * const { key, record } = generateApiKey({ clientId: 'acme' }) // give the key away, keep the record
 * const scheme = apiKeys({ keys: [record] })
 * guard(authenticate(scheme))
 * scheme.replace(await readRecords())
 * ```
 * @throws OptionError for an empty list, a bad record, a key or an id that is listed twice. The message gives the place in
 * the list, never a key or a digest.
 */
export function apiKeys(options: ApiKeySetOptions): ApiKeySet;
/**
 * Over a store: what it says is remembered for a short time, and a store that fails or is late is answered with 503.
 *
 * ```ts
 * const scheme = apiKeys({ store: { findByDigest: (digest) => db.keys.findFirst({ where: { digest } }).then(toRecord) } })
 * ```
 */
export function apiKeys(options: ApiKeyStoreOptions): StoredApiKeys;
export function apiKeys(options: ApiKeySetOptions | ApiKeyStoreOptions): ApiKeySet | StoredApiKeys {
  checkOptionNames('apiKeys', options, OPTIONS);
  const now = clock('apiKeys', options.now);
  const prefix = keyPrefix('apiKeys', options.prefix);
  const digestOf = keyDigest('apiKeys', options.pepper);
  const reading = readingOf(options);

  function weigh(digest: string, found: Found): Verdict {
    if (found === 'store failed') return STORE_FAILED;
    // Also where nothing was found, so that both take the same time.
    const same = equalDigests(digest, found?.bytes ?? NOBODY);
    return found !== undefined && same ? verdictOf(found, now()) : UNKNOWN;
  }

  function scheme(find: (digest: string, exchange: Exchange) => Found | Promise<Found>): Authenticator {
    return {
      scheme: 'api-key',
      challenge: reading.challenge,
      read: reading.read,
      verify(token, exchange) {
        const form = keyForm(token, prefix);
        if (form === 'broken') return BAD_CHECKSUM;
        if (form === 'opaque' && JWT_LIKE.test(token) && !reading.inHeader(exchange.request)) return ABSENT;
        const digest = digestOf(token);
        const found = find(digest, exchange);
        return isThenable(found) ? Promise.resolve(found).then((late) => weigh(digest, late)) : weigh(digest, found);
      },
    };
  }

  if ('store' in options && options.store !== undefined) {
    if ('keys' in options) throw new OptionError('gatewarden: apiKeys takes "keys" or "store", not both');
    const { find, invalidate, invalidateAll } = cachedKeyStore(options.store, options, now);
    return { ...scheme(find), invalidate, invalidateAll };
  }
  if (!('keys' in options)) throw new OptionError('gatewarden: apiKeys needs "keys" or a "store"');
  const stray = Object.keys(LOOKUP_OPTIONS).find((name) => name in options);
  if (stray !== undefined) throw new OptionError(`gatewarden: apiKeys takes "${stray}" only with a "store"`);
  let set = keySet(options.keys, digestOf, prefix);
  return {
    ...scheme((digest) => set.get(digest)),
    replace(keys) {
      set = keySet(keys, digestOf, prefix);
    },
  };
}

/** Where keys are looked for. */
function readingOf({ header = 'X-API-Key', bearer = true }: ReadingOptions) {
  boolean('apiKeys', 'bearer', bearer);
  const field = header === false ? undefined : fieldName('apiKeys', 'header', header);
  if (field === undefined && !bearer) throw new OptionError('gatewarden: apiKeys needs "header" or "bearer"');
  if (field === 'authorization')
    throw badOption('apiKeys', 'header', 'must not be Authorization: use "bearer"', header);

  function own(request: RequestView): Credentials {
    return field === undefined ? ABSENT : readFieldToken(request, field);
  }

  return {
    challenge: bearer ? 'Bearer' : String(header),
    inHeader: (request: RequestView) => own(request).kind === 'present',
    read(request: RequestView): Credentials {
      const key = own(request);
      const token = bearer ? readBearer(request) : ABSENT;
      if (key.kind === 'malformed' || token.kind === 'absent') return key;
      if (key.kind === 'absent' || token.kind === 'malformed') return token;
      return key.token === token.token ? key : CONTRADICTING;
    },
  };
}
