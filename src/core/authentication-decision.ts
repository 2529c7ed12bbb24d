/** What was decided about the credentials of a request. */
export interface AuthenticationDecision {
  readonly outcome: 'allowed' | 'refused' | 'unavailable';
  /** Why: `missing`, `malformed`, `expired`, `throttled` and so on. Not for the client. */
  readonly reason: string;
  readonly scheme?: string | undefined;
  readonly credentialId?: string | undefined;
  readonly clientId?: string | undefined;
  /** The credentials themselves. Never to be kept or shown. */
  readonly token?: string | undefined;
}
