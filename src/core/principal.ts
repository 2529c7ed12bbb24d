/** The client that has authenticated. Limits, usage and ownership depend on `id`, so rotating a key changes nothing. */
export interface Principal {
  /** The client, not the key that it used. */
  readonly id: string;
  /** The authenticator that accepted the credentials. */
  readonly scheme: string;
  readonly scopes: readonly string[];
  /** Names the credential that was used. Never the credential itself or a part of it. */
  readonly credentialId: string;
  /** When the credential expires, in epoch milliseconds. */
  readonly expiresAt?: number | undefined;
  /** The client's own limits, under names that the service chose, for `limit({ policies: (exchange) => ... })`. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
  /** What the service stores with the client. */
  readonly metadata?: unknown | undefined;
  /** The claims of a verified token. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** True if the caller was let in without credentials, by `developmentBypass` or an open `ingestToken`. */
  readonly bypassed?: true | undefined;
}

/**
 * The principal of an authenticated exchange. Never undefined.
 *
 * ```ts
 * app.get('/me', guard(authenticate(...)), (req, res) => res.json({ id: principalOf(req.exchange).id }))
 * ```
 * @throws if there is no principal: no `authenticate` ran before, or it was optional and the request had no credentials
 */
export function principalOf(exchange: { readonly principal: Principal | undefined }): Principal {
  if (exchange.principal === undefined) {
    throw new Error('gatewarden: there is no principal; put authenticate(...) before this, without "optional"');
  }
  return exchange.principal;
}
