import { LRUCache } from 'lru-cache';
import type { Exchange } from '../../core/exchange.js';
import { badSecret, type Duration, milliseconds, positiveInteger } from '../../core/option.js';
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

/** How long and how much `apiKeys` remembers of what a store told it. */
export interface ApiKeyCacheOptions {
  /**
   * How long a record is good without being asked for again: so late, at most, is a key refused that was disabled without
   * `invalidate`. `false` asks for every request. Default 30 s.
   */
  readonly cacheFor?: Duration | false;
  /** Records remembered at a time. Default 10,000. */
  readonly cacheSize?: number;
  /** How long an unknown key is so without being asked for again. `false` asks for every request. Default 5 s. */
  readonly cacheMissesFor?: Duration | false;
  /** Unknown keys remembered at a time, apart from the records, which no flood of them can wash out. Default 10,000. */
  readonly cacheMissesSize?: number;
  /** How long the store may take. Default 1 s. */
  readonly deadline?: Duration;
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
export const CACHE_OPTIONS: readonly string[] = [
  'cacheFor',
  'cacheSize',
  'cacheMissesFor',
  'cacheMissesSize',
  'deadline',
] satisfies (keyof ApiKeyCacheOptions)[];
const MAX_SIZE = 10_000_000;
const MAX_DEADLINE = 60_000;

/** @throws OptionError */
export function cachedKeyStore(store: ApiKeyStore, options: ApiKeyCacheOptions, now: () => number): CachedKeyStore {
  // Not shown: it may hold the password of a database.
  if (typeof store?.findByDigest !== 'function') throw badSecret(FACTORY, 'store', 'must have a findByDigest');
  const { cacheFor = '30s', cacheSize = 10_000, cacheMissesFor = '5s', cacheMissesSize = 10_000 } = options;
  const deadline = milliseconds(FACTORY, 'deadline', options.deadline ?? 1000, MAX_DEADLINE);
  const hits = remembering('cacheFor', cacheFor, 'cacheSize', cacheSize);
  const misses = remembering('cacheMissesFor', cacheMissesFor, 'cacheMissesSize', cacheMissesSize);
  const flights = new Map<string, Promise<Found>>();

  async function ask(digest: string, exchange: Exchange): Promise<Found> {
    try {
      const record = await withinDeadline((signal) => store.findByDigest(digest, signal), deadline);
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

function remembering(forOption: string, length: Duration | false, sizeOption: string, size: number) {
  const ms = length === false ? 0 : milliseconds(FACTORY, forOption, length);
  const cache = new LRUCache<string, Remembered>({ max: positiveInteger(FACTORY, sizeOption, size, MAX_SIZE) });
  return {
    cache,
    recall(digest: string, now: number): Remembered | undefined {
      const known = cache.get(digest);
      // A clock that jumped back, or gives NaN, asks again.
      return known !== undefined && now >= known.at && now - known.at < ms ? known : undefined;
    },
  };
}

async function withinDeadline<T>(ask: (signal: AbortSignal) => Promise<T>, ms: number): Promise<T> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`gatewarden: the store of apiKeys did not answer within ${ms} ms`);
      abort.abort(error);
      reject(error);
    }, ms);
  });
  try {
    return await Promise.race([ask(abort.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
