/** Who was let in. Limits, usage and ownership hang on `id`, so that rotating a key changes nothing. */
export interface Principal {
  /** The client, not the key it used. */
  readonly id: string;
  /** The authenticator that let it in. */
  readonly scheme: string;
  readonly scopes: readonly string[];
  /** Which credential was used; never the credential or a part of it. */
  readonly credentialId: string;
  /** When the credential ends, in epoch milliseconds. */
  readonly expiresAt?: number;
  /** The client's own figures, by a name that the service chose: what `limit({ policies: (exchange) => ... })` may read. */
  readonly limits?: Readonly<Record<string, number>>;
  /** What the service keeps with the client. */
  readonly metadata?: unknown;
  /** The claims of a verified token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Let in without credentials, because the service is set so: by `developmentBypass`, or an open `ingestToken`. */
  readonly bypassed?: true;
}

/**
 * The principal of an authenticated exchange. Never undefined.
 * @throws when no `authenticate` let the caller in: none stood before, or it was optional and found no credentials.
 */
export function principalOf(exchange: { readonly principal: Principal | undefined }): Principal {
  if (exchange.principal === undefined) {
    throw new Error('gatewarden: no principal: put authenticate(...), not optional, before what calls principalOf');
  }
  return exchange.principal;
}
