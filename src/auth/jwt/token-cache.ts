import { LRUCache } from 'lru-cache';
import { type Duration, milliseconds } from '../../core/duration.js';
import { checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import type { Verdict } from '../authenticator.js';
import type { Claims } from './token-principal.js';

/** How many verified tokens `jwt` caches, and for how long. */
export interface JwtCacheOptions {
  /** Default 1000, at most 1,000,000. The least recently used tokens are dropped first. */
  readonly maxEntries?: number | undefined;
  /** Default `'1m'`, at most 1 hour. */
  readonly maxAge?: Duration | undefined;
}

/** A token whose signature and claims have been verified. */
export interface VerifiedToken {
  readonly verdict: Verdict & { kind: 'authenticated' };
  readonly claims: Claims;
  readonly jti: string | undefined;
  /** Epoch milliseconds, clock tolerance included. */
  readonly validFrom: number;
  /** Epoch milliseconds, clock tolerance included. Not later than the end of the key. */
  readonly validUntil: number;
}

export type TokenCache = Pick<LRUCache<string, VerifiedToken>, 'get' | 'set'>;

const OPTIONS: OptionNames<JwtCacheOptions> = { maxEntries: true, maxAge: true };

/** Undefined if the cache is turned off. @throws OptionError */
export function tokenCache(
  factory: string,
  options: JwtCacheOptions | false,
  now: () => number,
): TokenCache | undefined {
  if (options === false) return undefined;
  checkOptionNames(`${factory} "cache"`, options, OPTIONS);
  return new LRUCache({
    max: positiveInteger(factory, 'cache.maxEntries', options.maxEntries ?? 1000, 1_000_000),
    ttl: milliseconds(factory, 'cache.maxAge', options.maxAge ?? '1m', 3_600_000),
    perf: { now },
    // By default, lru-cache reads the clock at most once a millisecond, with a timer of its own.
    ttlResolution: 0,
  });
}
