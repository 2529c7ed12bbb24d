import { errors, type JWTHeaderParameters, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, checkOptionNames, positiveInteger } from '../../core/option.js';
import { isThenable } from '../../core/thenable.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { ABSENT, type Authenticator, invalid, type Verdict } from '../authenticator.js';
import { readBearer } from '../bearer.js';
import { decodeToken } from './compact.js';
import { checkAlgorithms, type JwtAlgorithm, type JwtKey } from './key.js';
import { type JwksOptions, KeysUnavailable, UnknownKey } from './remote-keys.js';
import { type Claims, principalMaker } from './token-principal.js';
import { type JwtKeyEntry, keySource } from './verification-keys.js';

/** What `jwt` takes. One of `key`, `keys` and `jwksUrl` must be given. */
export interface JwtOptions {
  /** What a token may be signed by: one or more algorithms of one family. There is no default. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** The key of all tokens. */
  readonly key?: JwtKey;
  /** Several keys, while one is changed for another: a token says by `kid` which is its own. */
  readonly keys?: readonly JwtKeyEntry[];
  /** Where a provider publishes its public keys. */
  readonly jwksUrl?: string;
  /** How `jwksUrl` is asked. */
  readonly jwks?: JwksOptions;
  /** `iss` must be this, or one of these. Leave it out only where one key signs for one purpose. */
  readonly issuer?: string | readonly string[];
  /** `aud` must be, or hold, this or one of these. Leave it out only where one key signs for one service. */
  readonly audience?: string | readonly string[];
  /** `typ` of the header must be this, such as `at+jwt` (RFC 9068). Default anything. */
  readonly typ?: string;
  /** How far the issuer's clock may be off, for `exp`, `nbf` and `iat`. Default 0, at most 5 min. */
  readonly clockTolerance?: Duration;
  /** Claims that must be there, beside `exp` and the subject. */
  readonly requiredClaims?: readonly string[];
  /** The claim that becomes `principal.id`, or a function that gives it. Default `sub`. */
  readonly subject?: string | ((claims: Claims) => string | undefined);
  /** Gives `principal.scopes`. Default the words of `scope`, or the list `scp` or `scopes`. */
  readonly scopes?: (claims: Claims) => readonly string[];
  /**
   * Asked at every request, whatever is remembered of the token. Tokens without `jti` are refused where it is set. Where it
   * fails, is late or gives no boolean, the answer is 503 and the fault is reported.
   */
  readonly isRevoked?: (jti: string, claims: Claims) => boolean | Promise<boolean>;
  /** How long `isRevoked` may take. Default 1 s, at most 60 s. */
  readonly timeout?: Duration;
  /**
   * How many verified tokens are remembered, each until it ends, and for `maxAge` at most: for so long a key that was
   * taken back still counts. Default 1000, 1 min. `false`: none.
   */
  readonly cache?: { readonly maxEntries?: number; readonly maxAge?: Duration } | false;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** A token whose signature and claims are good, and until when. */
interface Verified {
  readonly verdict: Verdict & { kind: 'authenticated' };
  readonly claims: Claims;
  readonly jti: string | undefined;
  /** Epoch milliseconds, tolerance included. */
  readonly from: number;
  readonly until: number;
}

const OPTIONS: readonly string[] = [
  'algorithms',
  'key',
  'keys',
  'jwksUrl',
  'jwks',
  'issuer',
  'audience',
  'typ',
  'clockTolerance',
  'requiredClaims',
  'subject',
  'scopes',
  'isRevoked',
  'timeout',
  'cache',
  'now',
] satisfies (keyof JwtOptions)[];
/** Checks that nobody switches off by a setting that is not there. */
const NEVER_UNDEFINED = ['issuer', 'audience', 'typ', 'requiredClaims', 'isRevoked'] as const;
const MAX_TOLERANCE = 300_000;

const EXPIRED = invalid('expired');
const NOT_YET = invalid('not yet valid');
const REVOKED = invalid('revoked');
const NO_JTI = invalid('no jti');
const NO_SUBJECT = invalid('no subject');
const KEYS_UNAVAILABLE: Verdict = Object.freeze({ kind: 'unavailable', reason: 'key set unavailable' });
const REVOCATION_UNKNOWN: Verdict = Object.freeze({ kind: 'unavailable', reason: 'revocation unknown' });

/**
 * Lets in whoever sends a signed token (RFC 7519) as `Authorization: Bearer`. Signatures are jose's work; before it, what
 * readers may disagree about is refused: a form that is not canonical, a member named twice, what is no UTF-8 or no object
 * (RFC 8725). `exp` must be there. Keys in the token itself (`jwk`, `jku`, `x5c`, `x5u`) are never looked at. A token
 * without a dot is no JWT and is left to the next scheme.
 *
 * ```ts
 * authenticate(jwt({ algorithms: ['HS256'], key: process.env.JWT_SECRET ?? '', issuer: 'https://auth.example', audience: 'api' }))
 * ```
 * @throws OptionError for no algorithm or those of two families, a key that is missing, weak or of another kind (an HMAC
 * secret must be as long as its hash), or a bad option. No message shows a key.
 */
export function jwt(options: JwtOptions): Authenticator {
  return jwtAuthenticator('jwt', 'jwt', 'Bearer', readBearer, options);
}

/** `jwt` under the name of another scheme, and with another place to look for the token. */
export function jwtAuthenticator(
  factory: string,
  scheme: string,
  challenge: string,
  read: Authenticator['read'],
  options: JwtOptions,
): Authenticator {
  checkOptionNames(factory, options, OPTIONS);
  for (const name of NEVER_UNDEFINED) {
    if (name in options && options[name] === undefined) {
      // `audience: process.env.AUDIENCE`, which is not set, would check nothing.
      throw badOption(factory, name, 'must be left out or be something', undefined);
    }
  }
  const { typ, isRevoked, requiredClaims = [], now = Date.now } = options;
  const timeout = milliseconds(factory, 'timeout', options.timeout ?? '1s', 60_000);
  const algorithms = checkAlgorithms(factory, options.algorithms);
  const keyOf = keySource(factory, options, algorithms, now);
  const issuer = texts(factory, 'issuer', options.issuer);
  const audience = texts(factory, 'audience', options.audience);
  const tolerance = toleranceOf(factory, options.clockTolerance);
  const principalOf = principalMaker(factory, scheme, options.subject, options.scopes);
  const remembered = cacheOf(factory, options.cache, now);
  texts(factory, 'requiredClaims', requiredClaims.length === 0 ? undefined : requiredClaims);
  for (const [name, value] of Object.entries({ isRevoked, now })) {
    if (value !== undefined && typeof value !== 'function') throw badOption(factory, name, 'must be a function', value);
  }
  if (typ !== undefined && (typeof typ !== 'string' || typ === '')) {
    throw badOption(factory, 'typ', 'must be a non-empty string', typ);
  }
  const checks = {
    algorithms: [...algorithms],
    requiredClaims: ['exp', ...requiredClaims],
    clockTolerance: tolerance / 1000,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
    ...(typ === undefined ? {} : { typ }),
  };

  function verify(token: string, exchange: Exchange): Verdict | Promise<Verdict> {
    if (!token.includes('.')) return ABSENT;
    const known = remembered?.get(token);
    return known === undefined ? verifyAnew(token, exchange) : judge(known, exchange);
  }

  async function verifyAnew(token: string, exchange: Exchange): Promise<Verdict> {
    const decoded = decodeToken(token, algorithms);
    if (typeof decoded === 'string') return invalid(decoded);
    const { header, claims } = decoded;
    let keyUntil: number;
    try {
      const { key, until } = await keyOf(header as unknown as JWTHeaderParameters, (error) => exchange.fault(error));
      keyUntil = until;
      await jwtVerify(token, key, { ...checks, currentDate: new Date(now()) });
    } catch (error) {
      return failure(error);
    }
    const { exp, nbf, iat, jti } = claims;
    if (!Number.isFinite(exp)) return invalid('exp is no time');
    if (iat !== undefined && !(typeof iat === 'number' && iat * 1000 <= now() + tolerance))
      return invalid('iat is in the future');
    if (jti !== undefined && (typeof jti !== 'string' || jti === '')) return invalid('malformed jti');
    const principal = principalOf(claims, header);
    if (principal === undefined) return NO_SUBJECT;
    const verified: Verified = {
      verdict: Object.freeze({ kind: 'authenticated', principal }),
      claims,
      jti,
      from: nbf === undefined ? 0 : (nbf as number) * 1000 - tolerance,
      until: Math.min((exp as number) * 1000 + tolerance, keyUntil),
    };
    const verdict = await judge(verified, exchange);
    if (verdict.kind === 'authenticated') remembered?.set(token, verified);
    return verdict;
  }

  /** What changes while a token is remembered: time, and whether it has been taken back. */
  function judge({ verdict, claims, jti, from, until }: Verified, exchange: Exchange): Verdict | Promise<Verdict> {
    const time = now();
    // Asked this way round, a clock that gives NaN refuses.
    if (!(time < until)) return EXPIRED;
    if (!(time >= from)) return NOT_YET;
    if (isRevoked === undefined) return verdict;
    if (jti === undefined) return NO_JTI;
    try {
      const revoked: unknown = isRevoked(jti, claims);
      if (!isThenable(revoked)) return revocation(revoked, verdict);
      return withTimeout(Promise.resolve(revoked), timeout, () => noAnswer('isRevoked', timeout))
        .then((late: unknown) => revocation(late, verdict))
        .catch((error: unknown) => unknownRevocation(error, exchange));
    } catch (error) {
      return unknownRevocation(error, exchange);
    }
  }

  return { scheme, challenge, read, verify };
}

/** Anything but a clear no keeps the token out. */
function revocation(revoked: unknown, verdict: Verdict): Verdict {
  if (typeof revoked !== 'boolean') throw new TypeError('gatewarden: isRevoked must give true or false');
  return revoked ? REVOKED : verdict;
}

function unknownRevocation(error: unknown, exchange: Exchange): Verdict {
  exchange.fault(error);
  return REVOCATION_UNKNOWN;
}

function failure(error: unknown): Verdict {
  if (error instanceof KeysUnavailable) return KEYS_UNAVAILABLE;
  if (error instanceof UnknownKey) return invalid('unknown key');
  if (error instanceof errors.JWTExpired) return EXPIRED;
  if (error instanceof errors.JWTClaimValidationFailed) return invalid(`claim ${error.claim}`);
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('signature');
  // Whatever else jose says of a token. Its words may hold a part of it.
  if (error instanceof errors.JOSEError || error instanceof TypeError) return invalid('malformed');
  throw error;
}

function cacheOf(
  factory: string,
  cache: JwtOptions['cache'] = {},
  now: () => number,
): LRUCache<string, Verified> | undefined {
  if (cache === false) return undefined;
  checkOptionNames(`${factory} "cache"`, cache, ['maxEntries', 'maxAge']);
  return new LRUCache({
    max: positiveInteger(factory, 'cache.maxEntries', cache.maxEntries ?? 1000, 1_000_000),
    ttl: milliseconds(factory, 'cache.maxAge', cache.maxAge ?? '1m', 3_600_000),
    perf: { now },
    // Otherwise it looks at the clock once in a millisecond of its own.
    ttlResolution: 0,
  });
}

function toleranceOf(factory: string, tolerance: Duration = '0s'): number {
  return milliseconds(factory, 'clockTolerance', tolerance, MAX_TOLERANCE, 0);
}

function texts(factory: string, option: string, value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || !list.every((text) => typeof text === 'string' && text !== '')) {
    throw badOption(factory, option, 'must be a non-empty string, or a list of them', value);
  }
  return list as string[];
}
