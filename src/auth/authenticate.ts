import type { AuthenticationDecision } from '../core/authentication-decision.js';
import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, badSecret, boolean, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import type { Reply } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { ABSENT, type Authenticator, invalid, type Verdict } from './authenticator.js';
import { authenticationRefusals } from './refusals.js';

/** Limits failed attempts, to slow down guessing. `failedAuthLimit` makes one. */
export interface FailureLimit {
  /** Whether it counts by the address that `clientIp` finds. */
  readonly byClientIp?: boolean;
  /** Refuses a caller whose credentials failed too often, before any credentials are verified. */
  check(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
  /** Counts a failure. Refuses if requests at the same time have reached the limit. */
  failed(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
}

/** Options of `authenticate`. */
export interface AuthenticateOptions {
  /**
   * Admits a request without any credentials, and without a principal. Invalid credentials are still refused. Default
   * false.
   */
  readonly optional?: boolean | undefined;
  /** The protection space in `WWW-Authenticate` (RFC 9110 section 11.5). Default `api`. */
  readonly realm?: string | undefined;
  /**
   * Refuses callers whose credentials keep failing, with 429, before any credentials are verified. Default no limit.
   */
  readonly failedAuthLimit?: FailureLimit;
  /**
   * The URL of the metadata that says how a client gets a token (RFC 9728), for the challenges of bearer schemes. Default:
   * that of a `protectedResource` guard before, if there is one.
   */
  readonly resourceMetadata?: string | undefined;
  /** The scopes that a client should ask for, for the same challenges. Default: those of `protectedResource`. */
  readonly scopes?: readonly string[] | undefined;
}

const OPTIONS: OptionNames<AuthenticateOptions> = {
  optional: true,
  realm: true,
  failedAuthLimit: true,
  resourceMetadata: true,
  scopes: true,
};
/** Longer credentials are refused before anything is computed from them. In characters. */
const MAX_TOKEN_LENGTH = 8192;
/** Every scheme that read the credentials left them to another scheme. */
const UNRECOGNIZED = invalid('unrecognized');

/**
 * Sets `exchange.principal`, or refuses. The first scheme that recognizes the credentials decides; if it refuses them,
 * no weaker scheme is tried. The answers follow RFC 6750 section 3.1 and RFC 9110 section 15.5.2:
 *
 * | credentials | answer |
 * |---|---|
 * | none | 401 `credentials-missing`, challenge without an error |
 * | malformed, repeated, or two that differ | 400 `credentials-malformed`, `invalid_request` |
 * | over 8192 characters | 431 `credentials-too-large` |
 * | unknown, expired, revoked or disabled: the same answer for each | 401 `credentials-invalid`, `invalid_token` |
 * | too many failures from this caller | 429 `authentication-throttled`, `Retry-After` |
 * | cannot be checked now | 503 `authentication-unavailable`, `Retry-After` |
 *
 * ```ts
 * guard(authenticate([apiKeys({ keys }), sharedSecret({ secrets: [process.env.SECRET_KEY] })]))
 * ```
 * @throws OptionError for an empty list, an item that is not an authenticator, or a realm that is not printable ASCII
 */
export function authenticate(
  authenticators: Authenticator | readonly Authenticator[],
  options: AuthenticateOptions = {},
): Guard {
  checkOptionNames('authenticate', options, OPTIONS);
  const { optional = false, realm = 'api', failedAuthLimit } = options;
  boolean('authenticate', 'optional', optional);
  const schemes: readonly Authenticator[] = Array.isArray(authenticators) ? [...authenticators] : [authenticators];
  if (schemes.length === 0) {
    throw new OptionError('gatewarden: authenticate needs at least one authenticator, such as apiKeys(...)');
  }
  for (const scheme of schemes) {
    if (typeof scheme?.read !== 'function' || typeof scheme.verify !== 'function') {
      // Not shown: it may be a secret, or options with a secret.
      throw badSecret(
        'authenticate',
        'authenticators',
        'must be an authenticator, such as sharedSecret(...) or apiKeys(...), or a list of them',
      );
    }
  }
  if (
    failedAuthLimit !== undefined &&
    (typeof failedAuthLimit?.check !== 'function' || typeof failedAuthLimit.failed !== 'function')
  ) {
    throw badOption('authenticate', 'failedAuthLimit', 'must come from failedAuthLimit(...)', failedAuthLimit);
  }
  const refusals = authenticationRefusals(schemes, realm, options);

  function authenticate(exchange: Exchange): ReturnType<Guard> {
    checkExchange('authenticate', exchange);
    let token: string | undefined;
    let first = 0;
    for (let i = 0; i < schemes.length; i++) {
      const credentials = schemes[i]?.read(exchange.request) ?? ABSENT;
      if (credentials.kind === 'absent') continue;
      if (credentials.kind === 'malformed') {
        return refused(exchange, refusals(exchange).malformed, credentials.reason, {
          scheme: schemes[i]?.scheme,
        });
      }
      if (credentials.token.length > MAX_TOKEN_LENGTH) {
        return refused(exchange, refusals(exchange).tooLarge, 'too large', {
          scheme: schemes[i]?.scheme,
        });
      }
      if (token !== undefined && token !== credentials.token) {
        return refused(exchange, refusals(exchange).malformed, 'conflicting', {
          scheme: schemes[i]?.scheme,
        });
      }
      if (token === undefined) first = i;
      token = credentials.token;
    }
    if (token === undefined) return withoutCredentials(exchange);
    return failedAuthLimit === undefined
      ? verify(exchange, token, first)
      : verifyUnlessThrottled(failedAuthLimit.check(exchange), exchange, token, first);
  }

  function verifyUnlessThrottled(
    reply: Reply | undefined | Promise<Reply | undefined>,
    exchange: Exchange,
    token: string,
    i: number,
  ): ReturnType<Guard> {
    if (reply === undefined) return verify(exchange, token, i);
    if (isThenable(reply)) {
      return Promise.resolve(reply).then((resolved) => verifyUnlessThrottled(resolved, exchange, token, i));
    }
    return refused(exchange, reply, 'throttled', { scheme: schemes[i]?.scheme, token });
  }

  function withoutCredentials(exchange: Exchange): Reply | undefined {
    for (const scheme of schemes) {
      const principal = scheme.anonymous?.(exchange);
      if (principal !== undefined) return allow(exchange, principal, 'bypassed', undefined);
    }
    if (!optional) return refused(exchange, refusals(exchange).missing, 'missing');
    exchange.authenticationListener?.({ outcome: 'allowed', reason: 'optional' }, exchange);
    return undefined;
  }

  function verify(exchange: Exchange, token: string, i: number): ReturnType<Guard> {
    const verdict = schemes[i]?.verify(token, exchange) ?? ABSENT;
    if (isThenable(verdict)) {
      return Promise.resolve(verdict).then((resolved) => decideOrTryNext(exchange, token, i, resolved));
    }
    return decideOrTryNext(exchange, token, i, verdict);
  }

  function decideOrTryNext(exchange: Exchange, token: string, i: number, verdict: Verdict): ReturnType<Guard> {
    if (verdict.kind !== 'absent') return decide(exchange, token, schemes[i], verdict);
    for (let next = i + 1; next < schemes.length; next++) {
      if (schemes[next]?.read(exchange.request).kind === 'present') return verify(exchange, token, next);
    }
    return decide(exchange, token, undefined, UNRECOGNIZED);
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
    const { credentialId, clientId } = verdict;
    const details = { scheme: scheme?.scheme, credentialId, clientId, token };
    if (verdict.kind === 'unavailable')
      return refused(exchange, refusals(exchange).unavailable, verdict.reason, details);
    if (verdict.kind === 'content-too-large')
      return refused(exchange, refusals(exchange).contentTooLarge, verdict.kind, details);
    // Any other kind, which a scheme in plain JavaScript may return, is refused as well.
    refused(exchange, refusals(exchange).invalid, verdict.reason, details);
    const throttled = failedAuthLimit?.failed(exchange);
    if (isThenable(throttled))
      return Promise.resolve(throttled).then((resolved) => resolved ?? refusals(exchange).invalid);
    return throttled ?? refusals(exchange).invalid;
  }

  const order =
    failedAuthLimit?.byClientIp === true
      ? { after: { clientIp: 'failed attempts are counted by the address that clientIp finds' } }
      : {};
  return inOrder(authenticate, { name: 'authenticate', ...order });
}

function allow(exchange: Exchange, principal: Principal, reason: string, token: string | undefined): undefined {
  // A scheme in plain JavaScript may return anything, such as a promise, or scopes in one string, of which
  // `includes` would find every part.
  if (typeof principal?.id !== 'string' || principal.id === '' || !Array.isArray(principal.scopes)) {
    throw new TypeError(
      'gatewarden: an authenticator returned an invalid principal; it needs a non-empty "id" and a list of "scopes"',
    );
  }
  exchange.principal = principal;
  const { scheme, credentialId, id: clientId } = principal;
  exchange.authenticationListener?.({ outcome: 'allowed', reason, scheme, credentialId, clientId, token }, exchange);
}

function refused(
  exchange: Exchange,
  reply: Reply,
  reason: string,
  details: Partial<AuthenticationDecision> = {},
): Reply {
  exchange.authenticationListener?.(
    { ...details, outcome: reply.status >= 500 ? 'unavailable' : 'refused', reason },
    exchange,
  );
  return reply;
}
