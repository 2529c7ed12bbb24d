import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { callback } from '../../core/option.js';
import { isThenable } from '../../core/thenable.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { invalid, type Verdict } from '../authenticator.js';
import type { VerifiedToken } from './token-cache.js';
import type { Claims } from './token-principal.js';

/** The verdict on a verified token after its revocation was checked. */
export type RevocationCheck = (token: VerifiedToken, exchange: Exchange) => Verdict | Promise<Verdict>;

const REVOKED = invalid('revoked');
const MISSING_JTI = invalid('missing jti');
const REVOCATION_UNKNOWN: Verdict = Object.freeze({ kind: 'unavailable', reason: 'revocation check failed' });

/** Undefined without `isRevoked`. The check is synchronous if `isRevoked` is. @throws OptionError */
export function revocationCheck(
  factory: string,
  isRevoked: ((jti: string, claims: Claims) => boolean | Promise<boolean>) | undefined,
  timeoutOption: Duration = '1s',
): RevocationCheck | undefined {
  const timeout = milliseconds(factory, 'timeout', timeoutOption, 60_000);
  callback(factory, 'isRevoked', isRevoked);
  if (isRevoked === undefined) return undefined;
  return ({ verdict, claims, jti }, exchange) => {
    if (jti === undefined) return MISSING_JTI;
    try {
      const revoked: unknown = isRevoked(jti, claims);
      if (!isThenable(revoked)) return verdictFor(revoked, verdict);
      return withTimeout(Promise.resolve(revoked), timeout, () => noAnswer('isRevoked', timeout))
        .then((answer: unknown) => verdictFor(answer, verdict))
        .catch((error: unknown) => unknownRevocation(error, exchange));
    } catch (error) {
      return unknownRevocation(error, exchange);
    }
  };
}

/** Only `false` lets the token pass. */
function verdictFor(revoked: unknown, verdict: Verdict): Verdict {
  if (typeof revoked !== 'boolean') throw new TypeError('gatewarden: isRevoked must return true or false');
  return revoked ? REVOKED : verdict;
}

function unknownRevocation(error: unknown, exchange: Exchange): Verdict {
  exchange.fault(error);
  return REVOCATION_UNKNOWN;
}
