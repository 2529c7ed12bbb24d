import { checkOptionNames } from '../core/option.js';
import type { Authenticator } from './authenticator.js';
import { BEARER_TOKEN, readBearer } from './bearer.js';
import { type SharedSecretEntry, secretSet } from './secret-set.js';

/** What `sharedSecret` takes. */
export interface SharedSecretOptions {
  /** All accepted secrets: the current one, and earlier ones while callers change over. */
  readonly secrets: readonly (string | SharedSecretEntry)[];
  /** `principal.id` of whoever knows a secret. Default `shared-secret`. */
  readonly clientId?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** Default `Date.now`. */
  readonly now?: () => number;
}

const MIN_LENGTH = 32;

/**
 * Lets in whoever sends `Authorization: Bearer <secret>` (RFC 6750). The token is compared with every secret in constant
 * time, over digests of one length.
 *
 * ```ts
 * authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY ?? ''] }))
 * ```
 * @throws OptionError for an empty list, a secret under 32 characters or with one that a bearer token may not hold, and
 * for one that is listed twice. The message gives the place in the list, never the secret.
 */
export function sharedSecret(options: SharedSecretOptions): Authenticator {
  checkOptionNames('sharedSecret', options, ['secrets', 'clientId', 'scopes', 'now']);
  const { secrets, clientId = 'shared-secret', scopes = [], now = Date.now } = options;
  const verify = secretSet(secrets, {
    factory: 'sharedSecret',
    option: 'secrets',
    scheme: 'shared-secret',
    clientId,
    scopes,
    minLength: MIN_LENGTH,
    form: BEARER_TOKEN,
    formRule: 'may hold only what a bearer token may: letters, digits and -._~+/, = at its end',
    now,
  });
  return { scheme: 'shared-secret', challenge: 'Bearer', read: readBearer, verify };
}
