import type { Exchange, Principal, RequestView } from '../exchange.js';

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
 *
 * `reason` is for the audit; the client never sees it.
 */
export type Verdict =
  | { readonly kind: 'absent' }
  | { readonly kind: 'authenticated'; readonly principal: Principal }
  | { readonly kind: 'invalid'; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

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
}

export const ABSENT = Object.freeze({ kind: 'absent' } as const);

export function invalid(reason: string): Verdict & { kind: 'invalid' } {
  return Object.freeze({ kind: 'invalid', reason } as const);
}

export function malformed(reason: string): Credentials & { kind: 'malformed' } {
  return Object.freeze({ kind: 'malformed', reason } as const);
}
