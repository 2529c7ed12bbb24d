import type { AuthenticationDecision } from '../core/authentication-decision.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, badSecret, checkOptionNames, OptionError } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { ABSENT, type Authenticator, invalid, type Verdict } from './authenticator.js';
import { challenge, checkRealm } from './challenge.js';

/** Slows down guessing: made by `failedAuthLimit`. */
export interface FailureLimit {
  /** Refuses a caller whose credentials failed too often, before any are verified. */
  check(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
  /** Counts a failure; refuses where others came in at the same time and filled the limit. */
  failed(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
}

/** What `authenticate` takes beside its authenticators. */
export interface AuthenticateOptions {
  /** Lets a request without any credentials pass, without a principal. Bad ones are still refused. Default false. */
  readonly optional?: boolean;
  /** The protection space named in `WWW-Authenticate` (RFC 9110 section 11.5). Default `api`. */
  readonly realm?: string;
  /** Refuses callers whose credentials keep failing, with 429 and before anything is looked up. Default none. */
  readonly failedAuthLimit?: FailureLimit;
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
 * | failed too often from here | 429 `authentication-throttled`, `Retry-After` |
 * | cannot be checked now | 503 `authentication-unavailable`, `Retry-After` |
 *
 * @throws OptionError for an empty list, something that is no authenticator, or a realm that is no printable text
 */
export function authenticate(
  authenticators: Authenticator | readonly Authenticator[],
  options: AuthenticateOptions = {},
): Guard {
  checkOptionNames('authenticate', options, ['optional', 'realm', 'failedAuthLimit']);
  const { optional = false, realm = 'api', failedAuthLimit: failures } = options;
  const schemes: readonly Authenticator[] = Array.isArray(authenticators) ? [...authenticators] : [authenticators];
  if (schemes.length === 0) throw new OptionError('gatewarden: authenticate needs at least one authenticator');
  for (const scheme of schemes) {
    if (typeof scheme?.read !== 'function' || typeof scheme.verify !== 'function') {
      // Not shown: what stands here by mistake may be a secret, or options that hold one.
      throw badSecret('authenticate', 'authenticators', 'must be made by sharedSecret(...) or the like');
    }
  }
  if (typeof optional !== 'boolean') throw badOption('authenticate', 'optional', 'must be true or false', optional);
  if (failures !== undefined && (typeof failures?.check !== 'function' || typeof failures.failed !== 'function')) {
    throw badOption('authenticate', 'failedAuthLimit', 'must be made by failedAuthLimit(...)', failures);
  }
  checkRealm('authenticate', realm);
  const replies = repliesOf(schemes, realm);

  function authenticate(exchange: Exchange): ReturnType<Guard> {
    let token: string | undefined;
    let first = 0;
    for (let i = 0; i < schemes.length; i++) {
      const credentials = schemes[i]?.read(exchange.request) ?? ABSENT;
      if (credentials.kind === 'absent') continue;
      if (credentials.kind === 'malformed') {
        return refused(exchange, replies.malformed, credentials.reason, { scheme: schemes[i]?.scheme });
      }
      if (credentials.token.length > MAX_TOKEN_LENGTH) {
        return refused(exchange, replies.tooLarge, 'too large', { scheme: schemes[i]?.scheme });
      }
      if (token !== undefined && token !== credentials.token) {
        return refused(exchange, replies.malformed, 'contradicting', { scheme: schemes[i]?.scheme });
      }
      if (token === undefined) first = i;
      token = credentials.token;
    }
    if (token === undefined) return withoutCredentials(exchange);
    return failures === undefined
      ? verify(exchange, token, first)
      : verifyUnless(failures.check(exchange), exchange, token, first);
  }

  function verifyUnless(
    reply: Reply | undefined | Promise<Reply | undefined>,
    exchange: Exchange,
    token: string,
    i: number,
  ): ReturnType<Guard> {
    if (reply === undefined) return verify(exchange, token, i);
    if (isThenable(reply)) return Promise.resolve(reply).then((late) => verifyUnless(late, exchange, token, i));
    return refused(exchange, reply, 'throttled', { scheme: schemes[i]?.scheme, token });
  }

  function withoutCredentials(exchange: Exchange): Reply | undefined {
    for (const scheme of schemes) {
      const principal = scheme.anonymous?.(exchange);
      if (principal !== undefined) return allow(exchange, principal, 'bypassed', undefined);
    }
    if (!optional) return refused(exchange, replies.missing, 'missing');
    exchange.authenticationListener?.({ outcome: 'allowed', reason: 'optional' }, exchange);
    return undefined;
  }

  function verify(exchange: Exchange, token: string, i: number): ReturnType<Guard> {
    const verdict = schemes[i]?.verify(token, exchange) ?? ABSENT;
    if (isThenable(verdict)) return Promise.resolve(verdict).then((late) => weigh(exchange, token, i, late));
    return weigh(exchange, token, i, verdict);
  }

  function weigh(exchange: Exchange, token: string, i: number, verdict: Verdict): ReturnType<Guard> {
    if (verdict.kind !== 'absent') return decide(exchange, token, schemes[i], verdict);
    for (let next = i + 1; next < schemes.length; next++) {
      if (schemes[next]?.read(exchange.request).kind === 'present') return verify(exchange, token, next);
    }
    return decide(exchange, token, undefined, NO_SCHEME);
  }

  function decide(
    exchange: Exchange,
    token: string,
    scheme: Authenticator | undefined,
    verdict: Exclude<Verdict, { kind: 'absent' }>,
  ): ReturnType<Guard> {
    if (verdict.kind === 'authenticated') {
      return allow(exchange, verdict.principal, 'verified', token);
    }
    const about = { scheme: scheme?.scheme, credentialId: verdict.credentialId, clientId: verdict.clientId, token };
    if (verdict.kind === 'unavailable') return refused(exchange, replies.unavailable, verdict.reason, about);
    if (verdict.kind === 'content-too-large') return refused(exchange, replies.contentTooLarge, verdict.kind, about);
    // Whatever else a scheme of JavaScript's may give.
    refused(exchange, replies.invalid, verdict.reason, about);
    const throttled = failures?.failed(exchange);
    if (isThenable(throttled)) return Promise.resolve(throttled).then((late) => late ?? replies.invalid);
    return throttled ?? replies.invalid;
  }

  return authenticate;
}

const NO_SCHEME = invalid('of no scheme');

function allow(exchange: Exchange, principal: Principal, reason: string, token: string | undefined): undefined {
  // A scheme of JavaScript's may give anything: a promise, or scopes in one string, of which every part would count.
  if (typeof principal?.id !== 'string' || principal.id === '' || !Array.isArray(principal.scopes)) {
    throw new TypeError('gatewarden: a principal needs an id and a list of scopes');
  }
  exchange.principal = principal;
  const { scheme, credentialId, id: clientId } = principal;
  exchange.authenticationListener?.({ outcome: 'allowed', reason, scheme, credentialId, clientId, token }, exchange);
}

function refused(exchange: Exchange, reply: Reply, reason: string, about: Partial<AuthenticationDecision> = {}): Reply {
  exchange.authenticationListener?.(
    { ...about, outcome: reply.status >= 500 ? 'unavailable' : 'refused', reason },
    exchange,
  );
  return reply;
}

function repliesOf(schemes: readonly Authenticator[], realm: string) {
  const names = [...new Set(schemes.map((scheme) => scheme.challenge))];
  const challenges = (error?: string): Reply['headers'] => [
    ['WWW-Authenticate', names.map((name) => challenge(name, realm, error)).join(', ')],
  ];
  return {
    missing: refuse(problem('credentials-missing'), challenges()),
    malformed: refuse(problem('credentials-malformed'), challenges('invalid_request')),
    invalid: refuse(problem('credentials-invalid'), challenges('invalid_token')),
    tooLarge: refuse(problem('credentials-too-large')),
    contentTooLarge: refuse(problem('content-too-large')),
    unavailable: refuse(problem('authentication-unavailable'), [['Retry-After', RETRY_AFTER_SECONDS]]),
  };
}
