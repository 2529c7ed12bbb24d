import { errors, type JWTHeaderParameters, jwtVerify } from 'jose';
import { milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { clock, text } from '../../core/option.js';
import { ABSENT, type Authenticator, invalid, type Verdict } from '../authenticator.js';
import { decodeToken } from './compact.js';
import { checkJwtOptions, type JwtOptions, texts } from './jwt-options.js';
import { checkAlgorithms, type JwtAlgorithm } from './key.js';
import { KeysUnavailable, UnknownKey } from './remote-keys.js';
import { revocationCheck } from './revocation.js';
import { tokenCache, type VerifiedToken } from './token-cache.js';
import { principalMaker } from './token-principal.js';
import { keySource } from './verification-keys.js';

const MAX_TOLERANCE = 300_000;

const EXPIRED = invalid('expired');
const NOT_YET_VALID = invalid('not yet valid');
const MISSING_SUBJECT = invalid('missing subject');
const NOT_ALLOWED = invalid('algorithm not allowed');
const KEYS_UNAVAILABLE: Verdict = Object.freeze({ kind: 'unavailable', reason: 'key set unavailable' });

/** `jwt` under another scheme name, with another place for the token. @throws OptionError */
export function jwtAuthenticator(
  factory: string,
  scheme: string,
  challenge: string,
  read: Authenticator['read'],
  options: JwtOptions,
): Authenticator {
  checkJwtOptions(factory, options);
  const { typ, requiredClaims = [], clockTolerance = '0s', cache: cacheOptions = {} } = options;
  const now = clock(factory, options.now);
  const algorithms = checkAlgorithms(factory, options.algorithms);
  const keyOf = keySource(factory, options, algorithms, now);
  const issuer = texts(factory, 'issuer', options.issuer);
  const audience = texts(factory, 'audience', options.audience);
  const tolerance = milliseconds(factory, 'clockTolerance', clockTolerance, MAX_TOLERANCE, 0);
  const principalOf = principalMaker(factory, scheme, options.subject, options.scopes);
  const cache = tokenCache(factory, cacheOptions, now);
  const checkRevocation = revocationCheck(factory, options.isRevoked, options.timeout);
  texts(factory, 'requiredClaims', requiredClaims.length === 0 ? undefined : requiredClaims);
  if (typ !== undefined) text(factory, 'typ', typ);
  const checks = {
    requiredClaims: ['exp', ...requiredClaims],
    clockTolerance: tolerance / 1000,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
    ...(typ === undefined ? {} : { typ }),
  };

  function verify(token: string, exchange: Exchange): Verdict | Promise<Verdict> {
    if (!token.includes('.')) return ABSENT;
    const cached = cache?.get(token);
    return cached === undefined ? verifyUncached(token, exchange) : currentVerdict(cached, exchange);
  }

  async function verifyUncached(token: string, exchange: Exchange): Promise<Verdict> {
    const decoded = decodeToken(token, algorithms);
    if (typeof decoded === 'string') return invalid(decoded);
    const { header, claims } = decoded;
    let keyValidUntil: number;
    try {
      const key = await keyOf(header as unknown as JWTHeaderParameters, (error) => exchange.fault(error));
      if (!key.algorithms.includes(header.alg as JwtAlgorithm)) return NOT_ALLOWED;
      keyValidUntil = key.validUntil;
      await jwtVerify(token, key.key, { ...checks, algorithms: [...key.algorithms], currentDate: new Date(now()) });
    } catch (error) {
      return failure(error);
    }
    const { exp, nbf, iat, jti } = claims;
    if (!Number.isFinite(exp)) return invalid('exp is not a number');
    if (iat !== undefined && !(typeof iat === 'number' && iat * 1000 <= now() + tolerance))
      return invalid('iat is in the future');
    if (jti !== undefined && (typeof jti !== 'string' || jti === '')) return invalid('malformed jti');
    const principal = principalOf(claims, header);
    if (principal === undefined) return MISSING_SUBJECT;
    const verified: VerifiedToken = {
      verdict: Object.freeze({ kind: 'authenticated', principal }),
      claims,
      jti,
      validFrom: nbf === undefined ? 0 : (nbf as number) * 1000 - tolerance,
      validUntil: Math.min((exp as number) * 1000 + tolerance, keyValidUntil),
    };
    const verdict = await currentVerdict(verified, exchange);
    if (verdict.kind === 'authenticated') cache?.set(token, verified);
    return verdict;
  }

  /** Checks what can change while a token is cached: the time, and whether the token is revoked. */
  function currentVerdict(token: VerifiedToken, exchange: Exchange): Verdict | Promise<Verdict> {
    const time = now();
    // Written so that a clock that returns NaN refuses.
    if (!(time < token.validUntil)) return EXPIRED;
    if (!(time >= token.validFrom)) return NOT_YET_VALID;
    return checkRevocation === undefined ? token.verdict : checkRevocation(token, exchange);
  }

  return { scheme, challenge, read, verify };
}

function failure(error: unknown): Verdict {
  if (error instanceof KeysUnavailable) return KEYS_UNAVAILABLE;
  if (error instanceof UnknownKey) return invalid('unknown key');
  if (error instanceof errors.JWTExpired) return EXPIRED;
  if (error instanceof errors.JWTClaimValidationFailed) {
    const isTooEarly = error.claim === 'nbf' && error.reason === 'check_failed';
    return isTooEarly ? NOT_YET_VALID : invalid(`invalid claim ${error.claim}`);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('invalid signature');
  // The message is dropped because jose may quote a part of the token in it.
  if (error instanceof errors.JOSEError || error instanceof TypeError) return invalid('malformed');
  throw error;
}
