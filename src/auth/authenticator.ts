import type { Exchange } from '../core/exchange.js';
import type { Principal } from '../core/principal.js';
import type { RequestView } from '../core/request-view.js';

/** The credentials that one scheme finds in a request, before they are verified. */
export type Credentials =
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'present'; readonly token: string };

/**
 * The result of verifying a token.
 * - `absent`: the token belongs to another scheme. The next scheme may verify it.
 * - `authenticated`: the token is valid.
 * - `invalid`: the token belongs to this scheme and is refused. No other scheme is asked.
 * - `unavailable`: the token cannot be checked now. The client gets 503.
 * - `content-too-large`: the token signs a body that is larger than the scheme reads. The client gets 413.
 *
 * `reason` and the ids are for the audit. The client never sees them.
 */
export type Verdict =
  | { readonly kind: 'absent' }
  | { readonly kind: 'authenticated'; readonly principal: Principal }
  | ({ readonly kind: 'invalid'; readonly reason: string } & CredentialOwner)
  | ({ readonly kind: 'unavailable'; readonly reason: string } & CredentialOwner)
  | ({ readonly kind: 'content-too-large' } & CredentialOwner);

/** The credential and the client that a refused token belongs to, if they are known. */
interface CredentialOwner {
  readonly credentialId?: string | undefined;
  readonly clientId?: string | undefined;
}

/**
 * One way to authenticate. Reading is separate from verifying: `authenticate` refuses two different credentials, or one
 * that is too long, before any of them is hashed or looked up. An error that `verify` throws is a fault.
 *
 * ```ts
 * const scheme: Authenticator = {
 *   scheme: 'session',
 *   challenge: 'Session',
 *   read: (request) => readSessionCookie(request),
 *   verify: async (token) => {
 *     const user = await sessions.get(token)
 *     if (user === undefined) return { kind: 'invalid', reason: 'unknown' }
 *     return { kind: 'authenticated', principal: { id: user, scheme: 'session', scopes: [], credentialId: 'session' } }
 *   },
 * }
 * ```
 */
export interface Authenticator {
  /** The scheme's name, which becomes `principal.scheme`. */
  readonly scheme: string;
  /** The authentication scheme in `WWW-Authenticate` (RFC 9110 section 11.3), such as `Bearer`. */
  readonly challenge: string;
  /** Finds the credentials. It does no I/O and never throws. */
  read(request: RequestView): Credentials;
  /** Verifies a token that `read` returned. */
  verify(token: string, exchange: Exchange): Verdict | Promise<Verdict>;
  /** The principal of a request without any credentials, if the scheme admits such requests. */
  anonymous?(exchange: Exchange): Principal | undefined;
}

export const ABSENT = Object.freeze({ kind: 'absent' } as const);

export function invalid(reason: string, owner: CredentialOwner = {}): Verdict & { kind: 'invalid' } {
  return Object.freeze({ kind: 'invalid', reason, ...owner } as const);
}

export function malformed(reason: string): Credentials & { kind: 'malformed' } {
  return Object.freeze({ kind: 'malformed', reason } as const);
}
