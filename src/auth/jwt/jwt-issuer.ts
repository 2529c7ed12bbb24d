import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, checkOptionNames } from '../../core/option.js';
import { checkAlgorithms, importKey, type JwtAlgorithm, type JwtKey } from './key.js';

/** What `jwtIssuer` takes. */
export interface JwtIssuerOptions {
  readonly algorithm: JwtAlgorithm;
  /** The HMAC secret, or the private key. */
  readonly key: JwtKey;
  /** Names the key in the header, where `jwt({ keys })` has several. */
  readonly kid?: string;
  /** `iss`. */
  readonly issuer?: string;
  /** `aud`. */
  readonly audience?: string | readonly string[];
  /** How long a token is good. At most 400 days. */
  readonly expiresIn: Duration;
  /** `typ` of the header. Default `JWT`. */
  readonly typ?: string;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** Made by `jwtIssuer`. */
export interface JwtIssuer {
  /**
   * A signed token with these claims, such as `sub` and `scope`, and with `iat`, `exp`, `jti` (a random UUID), `iss` and
   * `aud` of its own.
   * @throws TypeError where the claims hold one of those
   */
  issue(claims: Readonly<Record<string, unknown>>): Promise<string>;
}

const MAX_LIFETIME = 400 * 86_400_000;
const OWN_CLAIMS = ['iat', 'exp', 'jti', 'iss', 'aud'];

/**
 * Issues tokens that `jwt` takes.
 *
 * ```ts
 * const issuer = jwtIssuer({ algorithm: 'HS256', key: process.env.JWT_SECRET ?? '', expiresIn: '24h' })
 * const token = await issuer.issue({ sub: 'alice', scope: 'generate' })
 * ```
 * @throws OptionError for a weak key, one of another kind, or a bad option. No message shows a key.
 */
export function jwtIssuer(options: JwtIssuerOptions): JwtIssuer {
  const factory = 'jwtIssuer';
  const names = ['algorithm', 'key', 'kid', 'issuer', 'audience', 'expiresIn', 'typ', 'now'];
  checkOptionNames(factory, options, names);
  const { algorithm, kid, issuer, audience, typ = 'JWT', now = Date.now } = options;
  const [alg] = checkAlgorithms(factory, [algorithm]) as readonly [JwtAlgorithm];
  const key = importKey(factory, 'key', options.key, [alg], 'sign');
  const lifetime = milliseconds(factory, 'expiresIn', options.expiresIn, MAX_LIFETIME);
  for (const [name, value] of Object.entries({ kid, issuer, typ })) {
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw badOption(factory, name, 'must be a non-empty string', value);
    }
  }
  if (typeof now !== 'function') throw badOption(factory, 'now', 'must be a function', now);
  const header = { alg, typ, ...(kid === undefined ? {} : { kid }) };

  return {
    async issue(claims) {
      const own = OWN_CLAIMS.find((name) => Object.hasOwn(claims, name));
      if (own !== undefined) throw new TypeError(`gatewarden: jwtIssuer sets the claim "${own}" itself`);
      const time = now();
      const token = new SignJWT({ ...claims })
        .setProtectedHeader(header)
        .setIssuedAt(Math.floor(time / 1000))
        .setExpirationTime(Math.floor((time + lifetime) / 1000))
        .setJti(randomUUID());
      if (issuer !== undefined) token.setIssuer(issuer);
      if (audience !== undefined) token.setAudience(typeof audience === 'string' ? audience : [...audience]);
      return token.sign(key);
    },
  };
}
