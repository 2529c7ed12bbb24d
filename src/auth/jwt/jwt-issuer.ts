import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { type Duration, milliseconds } from '../../core/duration.js';
import { checkOptionNames, clock, type OptionNames, text } from '../../core/option.js';
import { checkAlgorithms, importKey, type JwtAlgorithm, type JwtKey } from './key.js';
import { isSubject, MAX_SUBJECT_LENGTH } from './token-principal.js';

/** The options of `jwtIssuer`. */
export interface JwtIssuerOptions<Subject extends string = string> {
  /** The algorithm that signs the tokens. */
  readonly algorithm: JwtAlgorithm;
  /** The HMAC secret, or the private key. */
  readonly key: JwtKey;
  /** The key's id, for the token header. `jwt({ keys })` needs it. Default none. */
  readonly kid?: string | undefined;
  /** The `iss` claim. Default none. */
  readonly issuer?: string;
  /** The `aud` claim. Default none. */
  readonly audience?: string | readonly string[];
  /** The claim that names the client, as in the option `subject` of `jwt`. Every token must have it. Default `sub`. */
  readonly subject?: Subject | undefined;
  /** How long a token is valid. At most 400 days. */
  readonly expiresIn: Duration;
  /** `typ` in the token header. Default `JWT`. */
  readonly typ?: string | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Signs tokens. Created by `jwtIssuer`. */
export interface JwtIssuer<Subject extends string = 'sub'> {
  /**
   * Returns a signed token with these claims: the subject, and others such as `scope`. The issuer adds `iat`, `exp`,
   * `jti` (a random UUID), `iss` and `aud`.
   *
   * ```ts
   * const token = await issuer.issue({ sub: 'alice', scope: 'generate' })
   * ```
   * @throws TypeError if the claims contain one of those five, or no subject of 1 to 512 characters, without which `jwt`
   * refuses the token
   */
  issue(claims: Readonly<Record<Subject, string>> & Readonly<Record<string, unknown>>): Promise<string>;
}

const OPTIONS: OptionNames<JwtIssuerOptions> = {
  algorithm: true,
  key: true,
  kid: true,
  issuer: true,
  audience: true,
  subject: true,
  expiresIn: true,
  typ: true,
  now: true,
};
const MAX_LIFETIME = 400 * 86_400_000;
const RESERVED_CLAIMS = ['iat', 'exp', 'jti', 'iss', 'aud'];

/**
 * Creates an issuer of tokens that `jwt` accepts.
 *
 * ```ts
 * const issuer = jwtIssuer({ algorithm: 'HS256', key: process.env.JWT_SECRET ?? '', expiresIn: '24h' })
 * const token = await issuer.issue({ sub: 'alice', scope: 'generate' })
 * ```
 * @throws OptionError for a key that is too weak or does not fit the algorithm, or for a bad option. No message
 * contains the key.
 */
export function jwtIssuer<const Subject extends string = 'sub'>(
  options: JwtIssuerOptions<Subject>,
): JwtIssuer<Subject> {
  const factory = 'jwtIssuer';
  checkOptionNames(factory, options, OPTIONS);
  const { algorithm, kid, issuer, audience, typ = 'JWT', subject = 'sub' } = options;
  const [alg] = checkAlgorithms(factory, [algorithm]) as readonly [JwtAlgorithm];
  const { key } = importKey(factory, 'key', options.key, [alg], 'sign');
  const lifetime = milliseconds(factory, 'expiresIn', options.expiresIn, MAX_LIFETIME);
  for (const [name, value] of Object.entries({ kid, issuer, typ, subject })) {
    if (value !== undefined) text(factory, name, value);
  }
  const now = clock(factory, options.now);
  const header = { alg, typ, ...(kid === undefined ? {} : { kid }) };

  return {
    async issue(claims) {
      const reserved = RESERVED_CLAIMS.find((name) => Object.hasOwn(claims, name));
      if (reserved !== undefined) throw new TypeError(`gatewarden: jwtIssuer sets the claim "${reserved}" itself`);
      const id: unknown = Object.hasOwn(claims, subject) ? Reflect.get(claims, subject) : undefined;
      if (!isSubject(id)) {
        throw new TypeError(
          `gatewarden: jwtIssuer needs the claim "${subject}", a string of 1 to ${MAX_SUBJECT_LENGTH} characters: jwt refuses tokens without it`,
        );
      }
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
