import { badOption, checkOptionNames, oneOf } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { ABSENT, type Authenticator } from './authenticator.js';
import { FIELD_TOKEN, fieldName, readFieldToken } from './field-token.js';
import { openScopes } from './scope.js';
import { type SharedSecretEntry, secretSet } from './secret-set.js';

/** What `ingestToken` takes. */
export interface IngestTokenOptions {
  /** All accepted tokens, of at least 16 characters: the current one, and earlier ones while senders change over. */
  readonly tokens: readonly (string | SharedSecretEntry)[];
  /** The header that carries the token. Default `X-Ingest-Token`. */
  readonly header?: string;
  /** What to do where no token is set (an empty list, or one of empty strings). Default `refuse`: the start fails. */
  readonly whenUnset?: 'refuse' | 'open';
  /** `principal.id` of whoever knows a token. Default `ingest`. */
  readonly clientId?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** Default `Date.now`. */
  readonly now?: () => number;
}

const MIN_LENGTH = 16;

/**
 * Lets in whoever sends one of the tokens in a header of its own. With `whenUnset: 'open'` and no token set, everybody
 * comes in, marked `bypassed`, and a warning says so at start.
 *
 * ```ts
 * authenticate(ingestToken({ tokens: [process.env.INGEST_TOKEN ?? ''], whenUnset: 'open' }))
 * ```
 * @throws OptionError for no token, unless open; one under 16 characters or with white space or beyond ASCII; one listed
 * twice. The message gives the place in the list, never the token.
 */
export function ingestToken(options: IngestTokenOptions): Authenticator {
  checkOptionNames('ingestToken', options, ['tokens', 'header', 'whenUnset', 'clientId', 'scopes', 'now']);
  const { tokens, clientId = 'ingest', scopes = [], now = Date.now } = options;
  const name = options.header ?? 'X-Ingest-Token';
  const header = fieldName('ingestToken', 'header', name);
  const whenUnset = oneOf('ingestToken', 'whenUnset', options.whenUnset ?? 'refuse', ['refuse', 'open']);
  const unset = Array.isArray(tokens) && tokens.every((token) => token === '');
  if (unset && whenUnset === 'open') return openToAll(clientId, scopes, name);
  const verify = secretSet(tokens, {
    factory: 'ingestToken',
    option: 'tokens',
    scheme: 'ingest-token',
    clientId,
    scopes,
    minLength: MIN_LENGTH,
    form: FIELD_TOKEN,
    formRule: 'may hold only visible ASCII characters',
    now,
  });
  return { scheme: 'ingest-token', challenge: name, read: (request) => readFieldToken(request, header), verify };
}

function openToAll(clientId: string, scopes: readonly string[], header: string): Authenticator {
  if (typeof clientId !== 'string' || clientId === '') {
    throw badOption('ingestToken', 'clientId', 'must be a non-empty string', clientId);
  }
  const granted = openScopes('ingestToken', scopes);
  process.emitWarning('ingestToken has no token set and lets everybody in', { code: 'GATEWARDEN_INGEST_OPEN' });
  const principal: Principal = Object.freeze({
    id: clientId,
    scheme: 'ingest-token',
    scopes: granted,
    credentialId: 'none',
    bypassed: true,
  });
  return {
    scheme: 'ingest-token',
    challenge: header,
    read: () => ABSENT,
    verify: () => ABSENT,
    anonymous: () => principal,
  };
}
