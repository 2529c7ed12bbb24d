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
const ended = generateApiKey({ clientId: 'ended', expiresAt: NOW, now: earlier });
const ending = generateApiKey({ clientId: 'ending', expiresAt: NOW + 1, now: earlier });
const early = generateApiKey({ clientId: 'early', now: earlier });
const begun = generateApiKey({ clientId: 'begun', now: earlier });
const disabled = generateApiKey({ clientId: 'disabled', now: earlier });

/** A key from before there were generated ones, with characters that no bearer token may hold. */
const LEGACY = 'legacy;c4n4ry|key/of.2019?';
const notBefore = ({ digests, ...record }: ApiKeyRecord, time: number): ApiKeyRecord => ({
  ...record,
  digests: digests.map((entry) => ({ ...entry, notBefore: time })),
});

/** What the attacked service takes, at `NOW`. */
export const RECORDS: readonly ApiKeyRecord[] = [
  acme.record,
  other.record,
  ended.record,
  ending.record,
  notBefore(early.record, NOW + 1),
  notBefore(begun.record, NOW),
  { ...disabled.record, enabled: false },
  apiKeyRecord(LEGACY, { clientId: '__proto__' }),
];

export interface ApiKeyCase {
  readonly what: string;
  readonly headers: readonly HeaderLine[];
  readonly url?: string;
  /** 200 where it is no attack. */
  readonly status: number;
  /** `WWW-Authenticate` after the realm; absent where there is no such header. */
  readonly challenge: '' | ', error="invalid_request"' | ', error="invalid_token"' | undefined;
  /** Digests computed, and looked up. */
  readonly lookups: 0 | 1;
  /** As the audit has it. */
  readonly reason: string;
  /** As the audit has it, where a refused credential is known. */
  readonly clientId?: string;
}

const good = (what: string, clientId: string, ...headers: HeaderLine[]): ApiKeyCase => ({
  what,
  headers,
  status: 200,
  challenge: undefined,
  lookups: 1,
  reason: 'verified',
  clientId,
});
const bare = (what: string, ...headers: HeaderLine[]): ApiKeyCase => ({
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
  lookups: reason === 'checksum' || reason === 'of no scheme' ? 0 : 1,
  reason,
});

const K = acme.key;
const PREFIX_LENGTH = 'gk_live_'.length;
const ID_END = PREFIX_LENGTH + 12;
const SECRET_END = ID_END + 43;

/** What may never be shown. The id that stands in a generated key is its record's: the name of it, no secret. */
export const SECRETS: readonly string[] = [acme, other, ended, ending, early, begun, disabled]
  .map(({ key }) => key.slice(ID_END))
  .concat(LEGACY);

/** The first letter from there on, in its other case. */
function flipped(key: string, from: number): string {
  const at = from + key.slice(from).search(/[A-Za-z]/);
  const char = key.charAt(at);
  const lower = char.toLowerCase();
  return key.slice(0, at) + (char === lower ? char.toUpperCase() : lower) + key.slice(at + 1);
}

/** With a checksum that is right: what an attacker would do, who knows how it is made. */
function whole(key: string): string {
  const body = key.slice(0, SECRET_END);
  return body + base62(crc32(body), 6);
}

/** What comes over HTTP at keys in `X-API-Key` and in bearer tokens. */
export const API_KEY_CASES: readonly ApiKeyCase[] = [
  good('a key in X-API-Key', 'acme', header(K)),
  good('a key in x-api-key, with white space around', 'acme', ['x-api-key', `  ${K}\t`]),
  good('a key as a bearer token', 'acme', bearer(K)),
  good('a key in both', 'acme', header(K), bearer(K)),
  good('a key beside Basic credentials', 'acme', header(K), ['Authorization', 'Basic eDp5']),
  good('a key one millisecond before its end', 'ending', header(ending.key)),
  good('a key exactly from its beginning', 'begun', header(begun.key)),
  good('an opaque key', '__proto__', header(LEGACY)),

  refused('a key less its last character', 'checksum', header(K.slice(0, -1))),
  refused('a key and one character more', 'checksum', header(`${K}0`)),
  refused('a key less a character of its secret', 'checksum', header(K.slice(0, ID_END) + K.slice(ID_END + 1))),
  refused('a key less its checksum', 'checksum', header(K.slice(0, SECRET_END))),
  refused('a key with a letter of its id in the other case', 'checksum', header(flipped(K, PREFIX_LENGTH))),
  refused('a key with a letter of its secret in the other case', 'checksum', header(flipped(K, ID_END))),
  refused('a key with a bad checksum', 'checksum', header(K.slice(0, SECRET_END) + base62(0, 6))),
  refused('a key with a bad checksum as a bearer token', 'checksum', bearer(K.slice(0, SECRET_END) + base62(0, 6))),
  refused('the prefix alone', 'checksum', header('gk_live_')),
  refused('the prefix and 8,000 characters', 'checksum', header(`gk_live_${'0'.repeat(8000)}`)),
  refused('the prefix in the other case', 'unknown', header(K.replace('gk_live_', 'GK_LIVE_'))),
  refused('another prefix', 'unknown', header(K.replace('gk_live_', 'gk_test_'))),
  refused('no prefix', 'unknown', header(K.slice(PREFIX_LENGTH))),
  refused('a changed secret, its checksum made right', 'unknown', header(whole(flipped(K, ID_END)))),
  refused("another key's secret under this id", 'unknown', header(whole(K.slice(0, ID_END) + other.key.slice(ID_END)))),
  refused("this key's secret under another id", 'unknown', header(whole(other.key.slice(0, ID_END) + K.slice(ID_END)))),
  refused('the id', 'unknown', header(acme.record.id)),
  refused("the client's id", 'unknown', header('acme')),
  refused('the digest', 'unknown', header(acme.record.digests[0]?.digest ?? '')),
  refused('an opaque key in the other case', 'unknown', header(LEGACY.toUpperCase())),
  refused('__proto__', 'unknown', header('__proto__')),
  refused('__proto__ as a bearer token', 'unknown', bearer('__proto__')),
  refused('constructor', 'unknown', header('constructor')),
  refused('constructor as a bearer token', 'unknown', bearer('constructor')),
  refused('a signed token where keys belong', 'unknown', header('eyJhbGciOiJub25lIn0.e30.')),
  refused('a signed token, of no scheme here', 'of no scheme', bearer('eyJhbGciOiJub25lIn0.e30.')),
  { ...refused('a key exactly at its end', 'expired', header(ended.key)), clientId: 'ended' },
  { ...refused('a key before its beginning', 'not yet valid', header(early.key)), clientId: 'early' },
  { ...refused('a disabled key', 'disabled', bearer(disabled.key)), clientId: 'disabled' },

  malformed('X-API-Key twice', 'repeated', header(K), header(K)),
  malformed('X-API-Key twice, once blank', 'repeated', header(''), header(K)),
  malformed('X-API-Key twice, and a bearer token', 'repeated', header(K), header(K), bearer(K)),
  malformed('two keys in one line', 'malformed', header(`${K}, ${K}`)),
  malformed('a key with a space', 'malformed', header(`${K.slice(0, 20)} ${K.slice(20)}`)),
  malformed('a key beyond ASCII', 'malformed', header(`${K}\u00e9`)),
  malformed('two Authorization lines', 'repeated', bearer(K), bearer(K)),
  malformed('an opaque key that no bearer token can be', 'malformed', bearer(LEGACY)),
  malformed('two keys, one a way', 'contradicting', header(K), bearer(other.key)),
  malformed('a key and nonsense', 'contradicting', header(K), bearer('nonsense')),
  malformed('nonsense and a key', 'contradicting', header('nonsense'), bearer(K)),
  malformed('a key and a signed token', 'contradicting', header(K), bearer('eyJhbGciOiJub25lIn0.e30.')),
  malformed('a key and Bearer without a token', 'malformed', header(K), ['Authorization', 'Bearer']),
  {
    what: 'a key of 12 KB',
    headers: [header('x'.repeat(12_288))],
    status: 431,
    challenge: undefined,
    lookups: 0,
    reason: 'too large',
  },
  bare('nothing'),
  bare('X-API-Key blank', header('')),
  bare('X-API-Key of white space', header(' \t ')),
  bare('Basic', ['Authorization', `Basic ${Buffer.from(`x:${K}`).toString('base64')}`]),
  bare('a key in a cookie', ['Cookie', `X-API-Key=${K}`]),
  bare('a key in a header of another name', ['API-Key', K], ['X-Api-Key-Id', K]),
  { ...bare('a key in the query'), url: `/?api_key=${K}&X-API-Key=${K}` },
];
