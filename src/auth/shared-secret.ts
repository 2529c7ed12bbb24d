import { checkOptionNames, type OptionNames } from '../core/option.js';
import type { Authenticator } from './authenticator.js';
import { BEARER_TOKEN, readBearer } from './bearer.js';
import { type SharedSecretEntry, secretSet } from './secret-set.js';

/** Options of `sharedSecret`. */
export interface SharedSecretOptions {
  /**
   * All accepted secrets, each of at least 32 characters: the current one, and earlier ones until all callers have the
   * new one. An `undefined` item, of an environment variable that is not set, is an `OptionError`.
   */
  readonly secrets: readonly (string | undefined | SharedSecretEntry)[];
  /** `principal.id` of callers with a secret. Default `shared-secret`. */
  readonly clientId?: string | undefined;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const FACTORY = 'sharedSecret';
const OPTIONS: OptionNames<SharedSecretOptions> = { secrets: true, clientId: true, scopes: true, now: true };
const MIN_LENGTH = 32;

/**
 * Authenticates callers that send `Authorization: Bearer <secret>` (RFC 6750). The token is compared with every secret
 * in constant time, by digests of equal length.
 *
 * ```ts
 * authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY] }))
 * ```
 * @throws OptionError if the list is empty, or a secret is not set, has under 32 characters, contains a character that
 * a bearer token cannot have, or is listed twice. The message names the position in the list and never shows the
 * secret.
 */
export function sharedSecret(options: SharedSecretOptions): Authenticator {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { secrets, clientId = 'shared-secret', scopes, now } = options;
  const verify = secretSet(secrets, {
    factory: FACTORY,
    option: 'secrets',
    scheme: 'shared-secret',
    clientId,
    scopes,
    minLength: MIN_LENGTH,
    form: BEARER_TOKEN,
    formRule: 'must have only the characters of a bearer token: letters, digits and -._~+/, with = only at the end',
    now,
  });
  return { scheme: 'shared-secret', challenge: 'Bearer', read: readBearer, verify };
}
