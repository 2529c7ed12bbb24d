import { LRUCache } from 'lru-cache';
import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, badSecret, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { type AcceptedKey, acceptedKeys } from './accepted-key.js';
import type { ApiKeyRow } from './record.js';

/**
 * The place where a service stores the records of its API keys, such as a database or a key service.
 *
 * ```ts
 * const store: ApiKeyStore = { findByDigest: (digest) => db.apiKeys.findOne({ 'digests.digest': digest }) }
 * ```
 */
export interface ApiKeyStore {
  /**
   * The record that contains this digest, or null or undefined if there is none. Requests that wait for the same digest
   * share one call. `signal` is aborted at the timeout. If it throws or rejects, the request gets 503.
   */
  findByDigest(digest: string, signal: AbortSignal): Promise<ApiKeyRow | null | undefined>;
}

/** The bounds of a cache of the store's answers. */
export interface ApiKeyCacheOptions {
  /** The largest number of answers held at a time. Default 10,000, at most 10,000,000. */
  readonly maxEntries?: number | undefined;
  /** How long an answer is used before the store is asked again. */
  readonly maxAge?: Duration | undefined;
}

/** How `apiKeys` asks its store and caches the answers. */
export interface ApiKeyLookupOptions {
  /**
   * Caches records. A key that is disabled without a call to `invalidate` is refused after at most `maxAge`. `false`
   * asks the store for every request. Default `{ maxEntries: 10_000, maxAge: '30s' }`.
   */
  readonly cache?: ApiKeyCacheOptions | false | undefined;
  /**
   * Caches unknown keys, separately from the records, so that a flood of unknown keys cannot push out records. `false`
   * asks the store for every request. Default `{ maxEntries: 10_000, maxAge: '5s' }`.
   */
  readonly missCache?: ApiKeyCacheOptions | false | undefined;
  /** How long to wait for the store. Default `'1s'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
}

/** The key of a digest, undefined if there is none, or that the store failed. */
export type KeyLookup = AcceptedKey | 'store failed' | undefined;

/** A store behind its caches. */
export interface CachedKeyStore {
  /** Answers without a promise if the answer is cached. A failure is reported to the exchange that asked first. */
  find(digest: string, exchange: Exchange): KeyLookup | Promise<KeyLookup>;
  /** Forgets a digest, or every key of the record with that id. */
  invalidate(digestOrId: string): void;
  invalidateAll(): void;
}

/** An answer of the store, and when it was asked. */
interface CachedAnswer {
  readonly askedAt: number;
  readonly key: AcceptedKey | undefined;
}

const FACTORY = 'apiKeys';
export const LOOKUP_OPTIONS: OptionNames<ApiKeyLookupOptions> = { cache: true, missCache: true, timeout: true };
const CACHE_OPTIONS: OptionNames<ApiKeyCacheOptions> = { maxEntries: true, maxAge: true };
const MAX_ENTRIES = 10_000_000;
const MAX_TIMEOUT = 60_000;

/** @throws OptionError */
export function cachedKeyStore(store: ApiKeyStore, options: ApiKeyLookupOptions, now: () => number): CachedKeyStore {
  // Not shown: it may contain the password of a database.
  if (typeof store?.findByDigest !== 'function') {
    throw badSecret(FACTORY, 'store', 'must be an object with a findByDigest function');
  }
  const timeout = milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT);
  const hits = answerCache('cache', options.cache, '30s');
  const misses = answerCache('missCache', options.missCache, '5s');
  const pending = new Map<string, Promise<KeyLookup>>();

  async function ask(digest: string, exchange: Exchange): Promise<KeyLookup> {
    try {
      const record = await askWithin(store, digest, timeout);
      if (record === undefined || record === null) return undefined;
      const key = acceptedKeys(FACTORY, 'record of the store', record).find((one) => one.digest === digest);
      if (key === undefined) throw new TypeError('gatewarden: the store of apiKeys returned a record of another key');
      return key;
    } catch (error) {
      exchange.fault(error);
      return 'store failed';
    }
  }

  function askAndCache(digest: string, exchange: Exchange): Promise<KeyLookup> {
    // The age counts from the question, because the answer may be as old as that.
    const askedAt = now();
    const lookup = ask(digest, exchange).then((key) => {
      // `invalidate` was called in the meantime: the answer is for the requests that waited for it, and is not cached.
      if (pending.get(digest) !== lookup) return key;
      pending.delete(digest);
      if (key === 'store failed') return key;
      hits.delete(digest);
      misses.delete(digest);
      (key === undefined ? misses : hits).set(digest, { askedAt, key });
      return key;
    });
    pending.set(digest, lookup);
    return lookup;
  }

  return {
    find(digest, exchange) {
      const time = now();
      const cached = hits.get(digest, time) ?? misses.get(digest, time);
      return cached === undefined ? (pending.get(digest) ?? askAndCache(digest, exchange)) : cached.key;
    },
    invalidate(digestOrId) {
      hits.delete(digestOrId);
      misses.delete(digestOrId);
      hits.deleteRecord(digestOrId);
      pending.clear();
    },
    invalidateAll() {
      hits.clear();
      misses.clear();
      pending.clear();
    },
  };
}

function answerCache(option: 'cache' | 'missCache', options: ApiKeyCacheOptions | false = {}, defaultMaxAge: Duration) {
  if (options !== false && (typeof options !== 'object' || options === null)) {
    throw badOption(FACTORY, option, 'must be { maxEntries, maxAge } or false', options);
  }
  if (options !== false) checkOptionNames(`${FACTORY} "${option}"`, options, CACHE_OPTIONS);
  const { maxEntries = 10_000, maxAge = defaultMaxAge } = options === false ? {} : options;
  // An age of 0 is never young enough.
  const maxAgeMs = options === false ? 0 : milliseconds(FACTORY, `${option}.maxAge`, maxAge);
  const max = options === false ? 1 : positiveInteger(FACTORY, `${option}.maxEntries`, maxEntries, MAX_ENTRIES);
  const answers = new LRUCache<string, CachedAnswer>({ max });
  return {
    get(digest: string, time: number): CachedAnswer | undefined {
      const answer = answers.get(digest);
      // The store is asked again if the clock jumped back or returns NaN.
      return answer !== undefined && time >= answer.askedAt && time - answer.askedAt < maxAgeMs ? answer : undefined;
    },
    set: (digest: string, answer: CachedAnswer) => void answers.set(digest, answer),
    delete: (digest: string) => void answers.delete(digest),
    deleteRecord(id: string) {
      for (const [digest, { key }] of answers) if (key?.principal.credentialId === id) answers.delete(digest);
    },
    clear: () => answers.clear(),
  };
}

/** Aborts the store's signal if the answer takes longer than `ms` milliseconds. */
async function askWithin(store: ApiKeyStore, digest: string, ms: number): ReturnType<ApiKeyStore['findByDigest']> {
  const abort = new AbortController();
  return withTimeout(store.findByDigest(digest, abort.signal), ms, () => {
    const error = noAnswer('the store of apiKeys', ms);
    abort.abort(error);
    return error;
  });
}
