import { checkOptionNames, type OptionNames, oneOf, text } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { warn } from '../core/warning.js';
import { ABSENT, type Authenticator } from './authenticator.js';
import { FIELD_TOKEN, fieldName, readFieldToken } from './field-token.js';
import { openScopes } from './scope.js';
import { type SharedSecretEntry, secretSet } from './secret-set.js';

/** Options of `ingestToken`. */
export interface IngestTokenOptions {
  /**
   * All accepted tokens, each of at least 16 characters: the current one, and earlier ones until all senders have the
   * new one. An `undefined` item, of an environment variable that is not set, is always an `OptionError`.
   */
  readonly tokens: readonly (string | undefined | SharedSecretEntry)[];
  /** The header that carries the token. Default `X-Ingest-Token`. */
  readonly header?: string | undefined;
  /**
   * What happens if no token is set, that is, `tokens` is empty or has only empty strings. `refuse` throws an
   * `OptionError`; `open` admits every request. Default `refuse`.
   */
  readonly whenUnset?: 'refuse' | 'open' | undefined;
  /** `principal.id` of callers with a token. Default `ingest`. */
  readonly clientId?: string | undefined;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const FACTORY = 'ingestToken';
const OPTIONS: OptionNames<IngestTokenOptions> = {
  tokens: true,
  header: true,
  whenUnset: true,
  clientId: true,
  scopes: true,
  now: true,
};
const MIN_LENGTH = 16;

/**
 * Authenticates callers that send one of the tokens in its own header. With `whenUnset: 'open'` and no token set, every
 * request is admitted and its principal is marked `bypassed`; the warning `GATEWARDEN_INGEST_OPEN` is emitted at start.
 *
 * ```ts
 * authenticate(ingestToken({ tokens: [process.env.INGEST_TOKEN] }))
 * ```
 * @throws OptionError if no token is set, unless open; if a token has under 16 characters, or a character that is not
 * visible ASCII; or if one is listed twice. The message names the position in the list and never shows the token.
 */
export function ingestToken(options: IngestTokenOptions): Authenticator {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { tokens, clientId = 'ingest', scopes, now } = options;
  const headerName = options.header ?? 'X-Ingest-Token';
  const field = fieldName(FACTORY, 'header', headerName);
  const whenUnset = oneOf(FACTORY, 'whenUnset', options.whenUnset ?? 'refuse', ['refuse', 'open']);
  const isUnset = Array.isArray(tokens) && tokens.every((token) => token === '');
  if (isUnset && whenUnset === 'open') return openToAll(clientId, scopes, headerName);
  const verify = secretSet(tokens, {
    factory: FACTORY,
    option: 'tokens',
    scheme: 'ingest-token',
    clientId,
    scopes,
    minLength: MIN_LENGTH,
    form: FIELD_TOKEN,
    formRule: 'must have only visible ASCII characters',
    now,
  });
  return { scheme: 'ingest-token', challenge: headerName, read: (request) => readFieldToken(request, field), verify };
}

function openToAll(clientId: string, scopes: readonly string[] | undefined, headerName: string): Authenticator {
  text(FACTORY, 'clientId', clientId);
  const granted = openScopes(FACTORY, 'scopes', scopes);
  warn('ingestToken has no token and admits everybody; set a token to require one', {
    code: 'GATEWARDEN_INGEST_OPEN',
  });
  const principal: Principal = Object.freeze({
    id: clientId,
    scheme: 'ingest-token',
    scopes: granted,
    credentialId: 'none',
    bypassed: true,
  });
  return {
    scheme: 'ingest-token',
    challenge: headerName,
    read: () => ABSENT,
    verify: () => ABSENT,
    anonymous: () => principal,
  };
}
