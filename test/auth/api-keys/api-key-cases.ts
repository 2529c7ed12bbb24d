import { apiKeyRecord } from '../../../src/auth/api-keys/api-key-record.js';
import { base62 } from '../../../src/auth/api-keys/base62.js';
import { crc32 } from '../../../src/auth/api-keys/crc32.js';
import { generateApiKey } from '../../../src/auth/api-keys/generate.js';
import type { ApiKeyRecord } from '../../../src/auth/api-keys/record.js';
import type { HeaderLine } from '../../exchange-fixture.js';
import { bearer, header, NOW } from './key-fixture.js';

const earlier = () => NOW - 1000;
const acme = generateApiKey({ clientId: 'acme', now: earlier });
const other = generateApiKey({ clientId: 'other', now: earlier });
const expired = generateApiKey({ clientId: 'expired', expiresAt: NOW, now: earlier });
const expiring = generateApiKey({ clientId: 'expiring', expiresAt: NOW + 1, now: earlier });
const early = generateApiKey({ clientId: 'early', now: earlier });
const begun = generateApiKey({ clientId: 'begun', now: earlier });
const disabled = generateApiKey({ clientId: 'disabled', now: earlier });

/** A key that was not generated, with characters that a bearer token cannot have. */
const LEGACY = 'legacy;c4n4ry|key/of.2019?';
const notBefore = ({ digests, ...record }: ApiKeyRecord, time: number): ApiKeyRecord => ({
  ...record,
  digests: digests.map((entry) => ({ ...entry, notBefore: time })),
});

/** The records of the service under test, at `NOW`. */
export const RECORDS: readonly ApiKeyRecord[] = [
  acme.record,
  other.record,
  expired.record,
  expiring.record,
  notBefore(early.record, NOW + 1),
  notBefore(begun.record, NOW),
  { ...disabled.record, enabled: false },
  apiKeyRecord(LEGACY, { clientId: '__proto__' }),
];

export interface ApiKeyCase {
  readonly what: string;
  readonly headers: readonly HeaderLine[];
  readonly url?: string;
  /** 200 if the handler runs. */
  readonly status: number;
  /** `WWW-Authenticate` after the realm; undefined if the answer has no such header. */
  readonly challenge: '' | ', error="invalid_request"' | ', error="invalid_token"' | undefined;
  /** The number of digests computed and looked up. */
  readonly lookups: 0 | 1;
  /** The reason in the audit. */
  readonly reason: string;
  /** The client in the audit, if the credential is known. */
  readonly clientId?: string;
}

const accepted = (what: string, clientId: string, ...headers: HeaderLine[]): ApiKeyCase => ({
  what,
  headers,
  status: 200,
  challenge: undefined,
  lookups: 1,
  reason: 'verified',
  clientId,
});
const missing = (what: string, ...headers: HeaderLine[]): ApiKeyCase => ({
  what,
  headers,
  status: 401,
  challenge: '',
  lookups: 0,
  reason: 'missing',
});
const malformed = (what: string, reason: string, ...headers: HeaderLine[]): ApiKeyCase => ({
  what,
  headers,
  status: 400,
  challenge: ', error="invalid_request"',
  lookups: 0,
  reason,
});
const refused = (what: string, reason: string, ...headers: HeaderLine[]): ApiKeyCase => ({
  what,
  headers,
  status: 401,
  challenge: ', error="invalid_token"',
  lookups: reason === 'checksum' || reason === 'unrecognized' ? 0 : 1,
  reason,
});

const K = acme.key;
const PREFIX_LENGTH = 'gk_live_'.length;
const ID_END = PREFIX_LENGTH + 12;
const SECRET_END = ID_END + 43;

/** What must never be shown. The id in a generated key is the id of its record, and not secret. */
export const SECRETS: readonly string[] = [acme, other, expired, expiring, early, begun, disabled]
  .map(({ key }) => key.slice(ID_END))
  .concat(LEGACY);

/** The key with the first letter from `from` on in its other case. */
function flipped(key: string, from: number): string {
  const at = from + key.slice(from).search(/[A-Za-z]/);
  const char = key.charAt(at);
  const lower = char.toLowerCase();
  return key.slice(0, at) + (char === lower ? char.toUpperCase() : lower) + key.slice(at + 1);
}

/** The key with a correct checksum: an attacker knows how to compute it. */
function withChecksum(key: string): string {
  const body = key.slice(0, SECRET_END);
  return body + base62(crc32(body), 6);
}

/** Requests with keys in `X-API-Key` and in bearer tokens. */
export const API_KEY_CASES: readonly ApiKeyCase[] = [
  accepted('a key in X-API-Key', 'acme', header(K)),
  accepted('a key in x-api-key, with white space around it', 'acme', ['x-api-key', `  ${K}\t`]),
  accepted('a key as a bearer token', 'acme', bearer(K)),
  accepted('the same key in both headers', 'acme', header(K), bearer(K)),
  accepted('a key next to Basic credentials', 'acme', header(K), ['Authorization', 'Basic eDp5']),
  accepted('a key one millisecond before it expires', 'expiring', header(expiring.key)),
  accepted('a key exactly at its notBefore', 'begun', header(begun.key)),
  accepted('an opaque key', '__proto__', header(LEGACY)),

  refused('a key without its last character', 'checksum', header(K.slice(0, -1))),
  refused('a key with one more character', 'checksum', header(`${K}0`)),
  refused('a key without one character of its secret', 'checksum', header(K.slice(0, ID_END) + K.slice(ID_END + 1))),
  refused('a key without its checksum', 'checksum', header(K.slice(0, SECRET_END))),
  refused('a key with a letter of its id in the other case', 'checksum', header(flipped(K, PREFIX_LENGTH))),
  refused('a key with a letter of its secret in the other case', 'checksum', header(flipped(K, ID_END))),
  refused('a key with a wrong checksum', 'checksum', header(K.slice(0, SECRET_END) + base62(0, 6))),
  refused('a key with a wrong checksum as a bearer token', 'checksum', bearer(K.slice(0, SECRET_END) + base62(0, 6))),
  refused('the prefix without a key', 'checksum', header('gk_live_')),
  refused('the prefix with 8,000 characters', 'checksum', header(`gk_live_${'0'.repeat(8000)}`)),
  refused('a key with its prefix in the other case', 'unknown', header(K.replace('gk_live_', 'GK_LIVE_'))),
  refused('a key with another prefix', 'unknown', header(K.replace('gk_live_', 'gk_test_'))),
  refused('a key without its prefix', 'unknown', header(K.slice(PREFIX_LENGTH))),
  refused('a changed secret with a correct checksum', 'unknown', header(withChecksum(flipped(K, ID_END)))),
  refused(
    "another key's secret with this id",
    'unknown',
    header(withChecksum(K.slice(0, ID_END) + other.key.slice(ID_END))),
  ),
  refused(
    "this key's secret with another id",
    'unknown',
    header(withChecksum(other.key.slice(0, ID_END) + K.slice(ID_END))),
  ),
  refused('the id of a key', 'unknown', header(acme.record.id)),
  refused("the client's id", 'unknown', header('acme')),
  refused('the digest of a key', 'unknown', header(acme.record.digests[0]?.digest ?? '')),
  refused('an opaque key in the other case', 'unknown', header(LEGACY.toUpperCase())),
  refused('__proto__', 'unknown', header('__proto__')),
  refused('__proto__ as a bearer token', 'unknown', bearer('__proto__')),
  refused('constructor', 'unknown', header('constructor')),
  refused('constructor as a bearer token', 'unknown', bearer('constructor')),
  refused('a JWT in X-API-Key', 'unknown', header('eyJhbGciOiJub25lIn0.e30.')),
  refused('a JWT that no scheme accepts', 'unrecognized', bearer('eyJhbGciOiJub25lIn0.e30.')),
  { ...refused('a key exactly when it expires', 'expired', header(expired.key)), clientId: 'expired' },
  { ...refused('a key before its notBefore', 'not yet valid', header(early.key)), clientId: 'early' },
  { ...refused('a disabled key', 'disabled', bearer(disabled.key)), clientId: 'disabled' },

  malformed('X-API-Key twice', 'repeated', header(K), header(K)),
  malformed('X-API-Key twice, the first one blank', 'repeated', header(''), header(K)),
  malformed('X-API-Key twice, and a bearer token', 'repeated', header(K), header(K), bearer(K)),
  malformed('two keys in one line', 'malformed', header(`${K}, ${K}`)),
  malformed('a key with a space', 'malformed', header(`${K.slice(0, 20)} ${K.slice(20)}`)),
  malformed('a key with a character outside ASCII', 'malformed', header(`${K}\u00e9`)),
  malformed('two Authorization lines', 'repeated', bearer(K), bearer(K)),
  malformed('an opaque key with characters that a bearer token cannot have', 'malformed', bearer(LEGACY)),
  malformed('two keys, one in each header', 'conflicting', header(K), bearer(other.key)),
  malformed('a key in the header and nonsense as the bearer token', 'conflicting', header(K), bearer('nonsense')),
  malformed('nonsense in the header and a key as the bearer token', 'conflicting', header('nonsense'), bearer(K)),
  malformed('a key and a JWT', 'conflicting', header(K), bearer('eyJhbGciOiJub25lIn0.e30.')),
  malformed('a key and Bearer without a token', 'malformed', header(K), ['Authorization', 'Bearer']),
  {
    what: 'a key of 12 KB',
    headers: [header('x'.repeat(12_288))],
    status: 431,
    challenge: undefined,
    lookups: 0,
    reason: 'too large',
  },
  missing('a request without credentials'),
  missing('a blank X-API-Key', header('')),
  missing('an X-API-Key of white space', header(' \t ')),
  missing('Basic credentials', ['Authorization', `Basic ${Buffer.from(`x:${K}`).toString('base64')}`]),
  missing('a key in a cookie', ['Cookie', `X-API-Key=${K}`]),
  missing('a key in a header of another name', ['API-Key', K], ['X-Api-Key-Id', K]),
  { ...missing('a key in the query'), url: `/?api_key=${K}&X-API-Key=${K}` },
];
