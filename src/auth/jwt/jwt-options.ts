import type { Duration } from '../../core/duration.js';
import { badOption, checkOptionNames, type OptionNames, unsetCheck } from '../../core/option.js';
import type { JwtAlgorithm, JwtKey } from './key.js';
import type { JwksOptions } from './remote-keys.js';
import type { JwtCacheOptions } from './token-cache.js';
import type { Claims } from './token-principal.js';
import type { JwtKeyEntry } from './verification-keys.js';

/** The options of `jwt`. Exactly one of `key`, `keys` and `jwksUrl` is required. */
export interface JwtOptions {
  /** The algorithms that may sign a token: one or more of one family. There is no default. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** The key that verifies all tokens. */
  readonly key?: JwtKey | undefined;
  /** Several keys, for example during a rotation. The `kid` of a token selects its key. */
  readonly keys?: readonly JwtKeyEntry[] | undefined;
  /** The URL of a provider's public keys. Must be https, or http to this machine. */
  readonly jwksUrl?: string | undefined;
  /** How the keys of `jwksUrl` are fetched and cached. */
  readonly jwks?: JwksOptions | undefined;
  /** The `iss` claim must be this, or one of these. Leave it out only if the key signs for one purpose. */
  readonly issuer?: string | readonly string[];
  /** The `aud` claim must contain this, or one of these. Leave it out only if the key signs for one service. */
  readonly audience?: string | readonly string[];
  /** `typ` in the token header must be this, such as `at+jwt` (RFC 9068). Default: any. */
  readonly typ?: string;
  /** How far the issuer's clock may be off, for `exp`, `nbf` and `iat`. Default `'0s'`, at most 5 minutes. */
  readonly clockTolerance?: Duration | undefined;
  /** Claims that a token must have, in addition to `exp` and the subject. */
  readonly requiredClaims?: readonly string[];
  /** The claim that becomes `principal.id`, or a function that returns the id. Default `sub`. */
  readonly subject?: string | ((claims: Claims) => string | undefined) | undefined;
  /** Returns `principal.scopes`. Default: the words of `scope`, or the list in `scp` or `scopes`. */
  readonly scopes?: ((claims: Claims) => readonly string[]) | undefined;
  /**
   * Whether the token with this `jti` is revoked. Called on every request, also for a cached token. With it, a token
   * without `jti` is refused. If it throws, takes longer than `timeout` or does not return a boolean, the answer is 503
   * and a fault is reported.
   */
  readonly isRevoked?: (jti: string, claims: Claims) => boolean | Promise<boolean>;
  /** How long `isRevoked` may take. Default `'1s'`, at most 60 s. */
  readonly timeout?: Duration | undefined;
  /**
   * How many verified tokens are cached, and for how long. A cached token is valid until it expires, but a key that the
   * provider withdraws is accepted for up to `maxAge` longer. Default `{ maxEntries: 1000, maxAge: '1m' }`. `false`
   * turns the cache off.
   */
  readonly cache?: JwtCacheOptions | false | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<JwtOptions> = {
  algorithms: true,
  key: true,
  keys: true,
  jwksUrl: true,
  jwks: true,
  issuer: true,
  audience: true,
  typ: true,
  clockTolerance: true,
  requiredClaims: true,
  subject: true,
  scopes: true,
  isRevoked: true,
  timeout: true,
  cache: true,
  now: true,
};
/** Each of these turns a check on. `audience: process.env.AUDIENCE` with an unset variable must not turn it off. */
const NEVER_UNDEFINED = ['issuer', 'audience', 'typ', 'requiredClaims', 'isRevoked'] as const;

/** Checks the names of the options, and that no check is turned off by `undefined`. @throws OptionError */
export function checkJwtOptions(factory: string, options: JwtOptions): void {
  checkOptionNames(factory, options, OPTIONS);
  for (const name of NEVER_UNDEFINED) {
    if (name in options && options[name] === undefined) {
      throw unsetCheck(factory, name);
    }
  }
}

/** Checks an optional string or list of strings. @throws OptionError */
export function texts(factory: string, option: string, value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || !list.every((item) => typeof item === 'string' && item !== '')) {
    throw badOption(factory, option, 'must be a non-empty string or a list of them', value);
  }
  return list as string[];
}
