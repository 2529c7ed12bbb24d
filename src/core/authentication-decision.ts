/** What was decided about the credentials of a request. */
export interface AuthenticationDecision {
  readonly outcome: 'allowed' | 'refused' | 'unavailable';
  /** The reason, such as `missing`, `malformed`, `expired` or `throttled`. The client does not see it. */
  readonly reason: string;
  readonly scheme?: string | undefined;
  readonly credentialId?: string | undefined;
  readonly clientId?: string | undefined;
  /** The credentials themselves. They must not be stored or shown. */
  readonly token?: string | undefined;
}
