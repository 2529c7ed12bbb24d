import { LRUCache } from 'lru-cache';
import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badSecret, checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { type AcceptedKey, acceptedKeys } from './accepted-key.js';
import type { ApiKeyRecord } from './record.js';

/** Where a service keeps the records of its API keys: a database, a key service. */
export interface ApiKeyStore {
  /**
   * The record that lists this digest, nothing where there is none. It is asked once for any number of requests that wait
   * for the same digest. `signal` is aborted at the deadline. Whatever it throws, or rejects with, is answered with 503.
   */
  findByDigest(digest: string, signal: AbortSignal): Promise<ApiKeyRecord | null | undefined>;
}

/** How many answers of a store are cached, and for how long. */
export interface CacheOptions {
  /** Answers held at a time. Default 10,000. */
  readonly maxEntries?: number;
  /** How long an answer is used without asking the store again. */
  readonly maxAge?: Duration;
}

/** How `apiKeys` asks its store, and what it caches of the answers. */
export interface ApiKeyLookupOptions {
  /**
   * Caches records. A key that was disabled without `invalidate` is refused at most `maxAge` later. `false` asks the store
   * for every request. Default `maxAge` 30 s.
   */
  readonly cache?: CacheOptions | false;
  /**
   * Caches that a key is unknown, apart from the records, so that a flood of unknown keys cannot push records out. `false`
   * asks the store for every request. Default `maxAge` 5 s.
   */
  readonly missCache?: CacheOptions | false;
  /** How long the store may take. Default 1 s. */
  readonly timeout?: Duration;
}

/** The key of a digest, undefined where there is none, or that the store failed to tell. */
export type Found = AcceptedKey | 'store failed' | undefined;

/** A store behind its caches. */
export interface CachedKeyStore {
  /** At once where the answer is known. A failure is reported to the exchange that was the first to ask. */
  find(digest: string, exchange: Exchange): Found | Promise<Found>;
  /** Forgets a digest, or every key of the record of that id. */
  invalidate(digestOrId: string): void;
  invalidateAll(): void;
}

/** What the store said, and when. */
interface Remembered {
  readonly at: number;
  readonly key: AcceptedKey | undefined;
}

const FACTORY = 'apiKeys';
export const LOOKUP_OPTIONS: OptionNames<ApiKeyLookupOptions> = { cache: true, missCache: true, timeout: true };
const CACHE_OPTIONS: OptionNames<CacheOptions> = { maxEntries: true, maxAge: true };
const MAX_ENTRIES = 10_000_000;
const MAX_TIMEOUT = 60_000;

/** @throws OptionError */
export function cachedKeyStore(store: ApiKeyStore, options: ApiKeyLookupOptions, now: () => number): CachedKeyStore {
  // Not shown: it may hold the password of a database.
  if (typeof store?.findByDigest !== 'function') throw badSecret(FACTORY, 'store', 'must have a findByDigest');
  const timeout = milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT);
  const hits = answerCache('cache', options.cache, '30s');
  const misses = answerCache('missCache', options.missCache, '5s');
  const flights = new Map<string, Promise<Found>>();

  async function ask(digest: string, exchange: Exchange): Promise<Found> {
    try {
      const record = await askWithin(store, digest, timeout);
      if (record === undefined || record === null) return undefined;
      const key = acceptedKeys(FACTORY, 'record of the store', record).find((one) => one.digest === digest);
      if (key === undefined) throw new TypeError('gatewarden: the store of apiKeys gave a record of another key');
      return key;
    } catch (error) {
      exchange.fault(error);
      return 'store failed';
    }
  }

  function begin(digest: string, exchange: Exchange): Promise<Found> {
    // Counted from the question: the answer may be as old as that.
    const at = now();
    const flight = ask(digest, exchange).then((found) => {
      // Overtaken by `invalidate`: good for those who asked before, and for nobody after.
      if (flights.get(digest) !== flight) return found;
      flights.delete(digest);
      if (found === 'store failed') return found;
      hits.cache.delete(digest);
      misses.cache.delete(digest);
      (found === undefined ? misses : hits).cache.set(digest, { at, key: found });
      return found;
    });
    flights.set(digest, flight);
    return flight;
  }

  return {
    find(digest, exchange) {
      const at = now();
      const known = hits.recall(digest, at) ?? misses.recall(digest, at);
      return known === undefined ? (flights.get(digest) ?? begin(digest, exchange)) : known.key;
    },
    invalidate(digestOrId) {
      hits.cache.delete(digestOrId);
      misses.cache.delete(digestOrId);
      for (const [digest, { key }] of hits.cache) {
        if (key?.principal.credentialId === digestOrId) hits.cache.delete(digest);
      }
      flights.clear();
    },
    invalidateAll() {
      hits.cache.clear();
      misses.cache.clear();
      flights.clear();
    },
  };
}

function answerCache(option: 'cache' | 'missCache', options: CacheOptions | false = {}, ordinaryAge: Duration) {
  const { maxEntries = 10_000, maxAge = ordinaryAge } = options === false ? {} : options;
  if (options !== false) checkOptionNames(`${FACTORY} "${option}"`, options, CACHE_OPTIONS);
  const ms = options === false ? 0 : milliseconds(FACTORY, `${option}.maxAge`, maxAge);
  const max = positiveInteger(FACTORY, `${option}.maxEntries`, maxEntries, MAX_ENTRIES);
  const cache = new LRUCache<string, Remembered>({ max });
  return {
    cache,
    recall(digest: string, now: number): Remembered | undefined {
      const known = cache.get(digest);
      // A clock that jumped back, or returns NaN, asks again.
      return known !== undefined && now >= known.at && now - known.at < ms ? known : undefined;
    },
  };
}

/** Aborts the store's signal if the answer takes longer than `ms`. */
async function askWithin(store: ApiKeyStore, digest: string, ms: number): ReturnType<ApiKeyStore['findByDigest']> {
  const abort = new AbortController();
  return withTimeout(store.findByDigest(digest, abort.signal), ms, () => {
    const error = noAnswer('the store of apiKeys', ms);
    abort.abort(error);
    return error;
  });
}
