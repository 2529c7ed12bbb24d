import { type Exchange, type Guard, type Reply, refuse } from '../exchange.js';
import { badOption, badSecret, checkOptionNames, OptionError } from '../option.js';
import { problem } from '../problem.js';
import { ABSENT, type Authenticator, type Verdict } from './authenticator.js';

/** What `authenticate` takes beside its authenticators. */
export interface AuthenticateOptions {
  /** Lets a request without any credentials pass, without a principal. Bad ones are still refused. Default false. */
  readonly optional?: boolean;
  /** The protection space named in `WWW-Authenticate` (RFC 9110 section 11.5). Default `api`. */
  readonly realm?: string;
}

/** Credentials beyond this many characters are refused before anything is computed from them. */
const MAX_TOKEN_LENGTH = 8192;
const RETRY_AFTER_SECONDS = '5';

/**
 * Writes `exchange.principal`, or refuses. The first scheme that knows the credentials decides: there is no falling
 * through from one that refuses them to a weaker one. Answers follow RFC 6750 section 3.1 and RFC 9110 section 15.5.2:
 *
 * | credentials | answer |
 * |---|---|
 * | none | 401 `credentials-missing`, bare challenge |
 * | malformed, repeated, or two that differ | 400 `credentials-malformed`, `invalid_request` |
 * | over 8192 characters | 431 `credentials-too-large` |
 * | unknown, expired, revoked, disabled: always alike | 401 `credentials-invalid`, `invalid_token` |
 * | cannot be checked now | 503 `authentication-unavailable`, `Retry-After` |
 *
 * @throws OptionError for an empty list, something that is no authenticator, or a realm that is no printable text
 */
export function authenticate(
  authenticators: Authenticator | readonly Authenticator[],
  options: AuthenticateOptions = {},
): Guard {
  checkOptionNames('authenticate', options, ['optional', 'realm']);
  const { optional = false, realm = 'api' } = options;
  const schemes: readonly Authenticator[] = Array.isArray(authenticators) ? [...authenticators] : [authenticators];
  if (schemes.length === 0) throw new OptionError('gatewarden: authenticate needs at least one authenticator');
  for (const scheme of schemes) {
    if (typeof scheme?.read !== 'function' || typeof scheme.verify !== 'function') {
      // Not shown: what stands here by mistake may be a secret, or options that hold one.
      throw badSecret('authenticate', 'authenticators', 'must be made by sharedSecret(...) or the like');
    }
  }
  if (typeof optional !== 'boolean') throw badOption('authenticate', 'optional', 'must be true or false', optional);
  if (typeof realm !== 'string' || !/^[\x20-\x7e]*$/.test(realm)) {
    throw badOption('authenticate', 'realm', 'must be printable ASCII text', realm);
  }
  const replies = repliesOf(schemes, realm);

  function authenticate(exchange: Exchange): ReturnType<Guard> {
    let token: string | undefined;
    let first = 0;
    for (let i = 0; i < schemes.length; i++) {
      const credentials = schemes[i]?.read(exchange.request) ?? ABSENT;
      if (credentials.kind === 'absent') continue;
      if (credentials.kind === 'malformed') return replies.malformed;
      if (credentials.token.length > MAX_TOKEN_LENGTH) return replies.tooLarge;
      if (token !== undefined && token !== credentials.token) return replies.malformed;
      if (token === undefined) first = i;
      token = credentials.token;
    }
    if (token === undefined) return optional ? undefined : replies.missing;
    return verify(exchange, token, first);
  }

  function verify(exchange: Exchange, token: string, i: number): ReturnType<Guard> {
    const verdict = schemes[i]?.verify(token, exchange) ?? ABSENT;
    if (verdict instanceof Promise) {
      return verdict.then((late) =>
        late.kind === 'absent' ? verifyAfter(exchange, token, i) : decide(exchange, late),
      );
    }
    return verdict.kind === 'absent' ? verifyAfter(exchange, token, i) : decide(exchange, verdict);
  }

  function verifyAfter(exchange: Exchange, token: string, i: number): ReturnType<Guard> {
    for (let next = i + 1; next < schemes.length; next++) {
      if (schemes[next]?.read(exchange.request).kind === 'present') return verify(exchange, token, next);
    }
    return replies.invalid;
  }

  function decide(exchange: Exchange, verdict: Verdict): Reply | undefined {
    switch (verdict.kind) {
      case 'authenticated':
        if (verdict.principal === undefined) throw new TypeError('gatewarden: authenticated, but as nobody');
        exchange.principal = verdict.principal;
        return undefined;
      case 'unavailable':
        return replies.unavailable;
      default:
        return replies.invalid;
    }
  }

  return authenticate;
}

function repliesOf(schemes: readonly Authenticator[], realm: string) {
  const quotedRealm = realm.replace(/["\\]/g, '\\$&');
  const names = [...new Set(schemes.map((scheme) => scheme.challenge))];
  const challenges = (error?: string): Reply['headers'] => {
    const suffix = error === undefined ? '' : `, error="${error}"`;
    return [['WWW-Authenticate', names.map((name) => `${name} realm="${quotedRealm}"${suffix}`).join(', ')]];
  };
  return {
    missing: refuse(problem('credentials-missing'), challenges()),
    malformed: refuse(problem('credentials-malformed'), challenges('invalid_request')),
    invalid: refuse(problem('credentials-invalid'), challenges('invalid_token')),
    tooLarge: refuse(problem('credentials-too-large')),
    unavailable: refuse(problem('authentication-unavailable'), [['Retry-After', RETRY_AFTER_SECONDS]]),
  };
}
