import type { Exchange } from '../core/exchange.js';
import type { Principal } from '../core/principal.js';
import type { RequestView } from '../core/request-view.js';

/** What a request shows to one scheme, before anything is verified. */
export type Credentials =
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'present'; readonly token: string };

/**
 * What verifying a token came to.
 * - `absent`: the token is of another scheme's kind; the next scheme may look at it.
 * - `invalid`: it is this scheme's, and not accepted; no other scheme is asked.
 * - `unavailable`: it could not be checked; the caller gets 503.
 * - `content-too-large`: the body that it speaks for is more than the scheme reads; the caller gets 413.
 *
 * `reason` and the ids are for the audit; the client never sees them.
 */
export type Verdict =
  | { readonly kind: 'absent' }
  | { readonly kind: 'authenticated'; readonly principal: Principal }
  | ({ readonly kind: 'invalid'; readonly reason: string } & Suspect)
  | ({ readonly kind: 'unavailable'; readonly reason: string } & Suspect)
  | ({ readonly kind: 'content-too-large' } & Suspect);

/** Whose credential it would be, where that is known. */
interface Suspect {
  readonly credentialId?: string;
  readonly clientId?: string;
}

/**
 * One way in. Reading is apart from verifying, so that `authenticate` sees two contradicting credentials, or one that is
 * too long, before any of them is hashed or looked up. A `verify` that throws counts as a fault.
 */
export interface Authenticator {
  /** Name of the scheme, as principals carry it. */
  readonly scheme: string;
  /** The authentication scheme for `WWW-Authenticate` (RFC 9110 section 11.3), such as `Bearer`. */
  readonly challenge: string;
  /** Finds the credentials; does no I/O and throws nothing. */
  read(request: RequestView): Credentials;
  verify(token: string, exchange: Exchange): Verdict | Promise<Verdict>;
  /** Who a caller is that shows no credentials at all, where the scheme is set to let such in. */
  anonymous?(exchange: Exchange): Principal | undefined;
}

export const ABSENT = Object.freeze({ kind: 'absent' } as const);

export function invalid(reason: string, suspect: Suspect = {}): Verdict & { kind: 'invalid' } {
  return Object.freeze({ kind: 'invalid', reason, ...suspect } as const);
}

export function malformed(reason: string): Credentials & { kind: 'malformed' } {
  return Object.freeze({ kind: 'malformed', reason } as const);
}
