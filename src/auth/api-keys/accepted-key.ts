import { badSecret } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';
import { epochMilliseconds, TIME_RULE } from '../../core/time.js';
import { invalid, type Verdict } from '../authenticator.js';
import { digestBytes } from '../digest.js';
import { unshownScopeList } from '../scope.js';
import type { ApiKeyDigest, ApiKeyRecord } from './record.js';

/** One key of a record, ready for use. */
export interface AcceptedKey {
  readonly digest: string;
  readonly bytes: Buffer;
  readonly enabled: boolean;
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly principal: Principal;
  readonly accepted: Verdict;
}

const RECORD_NAMES: readonly string[] = [
  'id',
  'clientId',
  'name',
  'digests',
  'scopes',
  'enabled',
  'limits',
  'metadata',
] satisfies (keyof ApiKeyRecord)[];
const DIGEST_NAMES: readonly string[] = ['digest', 'notBefore', 'expiresAt'] satisfies (keyof ApiKeyDigest)[];
const DIGEST = /^[0-9a-f]{64}$/;
/** 1 to 128 characters without control characters, line ends included; no white space around them. */
const ID = /^(?=\S)[^\p{Cc}\p{Zl}\p{Zp}]{1,128}(?<=\S)$/u;

/** What the key comes to at this time. Asked this way round, a clock that gives NaN refuses. */
export function verdictOf(key: AcceptedKey, now: number): Verdict {
  if (key.enabled && now >= key.notBefore && now < key.expiresAt) return key.accepted;
  const whose = { credentialId: key.principal.credentialId, clientId: key.principal.id };
  if (!key.enabled) return invalid('disabled', whose);
  return invalid(now < key.notBefore ? 'not yet valid' : 'expired', whose);
}

/**
 * The keys of a record. Nothing of the record is shown when it is bad: a key may stand there by mistake. `option` is where
 * the record stands, '' where its members are options themselves.
 * @throws OptionError
 */
export function acceptedKeys(factory: string, option: string, record: ApiKeyRecord): readonly AcceptedKey[] {
  if (!isObject(record)) throw badSecret(factory, option, 'must be a record of API keys');
  // A misspelt `expiresAt` or `enabled` would keep a key alive for ever.
  if (!hasOnly(record, RECORD_NAMES)) throw badSecret(factory, option, `knows only ${RECORD_NAMES.join(', ')}`);
  const { id, clientId, name, digests, enabled = true } = record;
  for (const [member, value] of Object.entries({ clientId, id, ...(name === undefined ? {} : { name }) })) {
    if (typeof value !== 'string' || !ID.test(value)) {
      throw badSecret(
        factory,
        memberOf(option, member),
        'must be 1 to 128 printable characters, no white space around',
      );
    }
  }
  if (typeof enabled !== 'boolean') throw badSecret(factory, memberOf(option, 'enabled'), 'must be true or false');
  if (!Array.isArray(digests) || digests.length === 0) {
    throw badSecret(factory, memberOf(option, 'digests'), 'must be a list of at least one digest');
  }
  const about = {
    id: clientId,
    scheme: 'api-key',
    scopes: unshownScopeList(factory, memberOf(option, 'scopes'), record.scopes),
    credentialId: id,
    ...limitsOf(factory, option, record),
    ...metadataOf(factory, option, record),
  };
  const keys = digests.map((entry: ApiKeyDigest, i) => {
    const { digest, notBefore, expiresAt } = checkDigest(factory, memberOf(option, `digests[${i}]`), entry);
    const principal: Principal = Object.freeze({ ...about, ...(expiresAt === undefined ? {} : { expiresAt }) });
    return {
      digest,
      bytes: digestBytes(digest),
      enabled,
      notBefore: notBefore ?? Number.NEGATIVE_INFINITY,
      expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
      principal,
      accepted: Object.freeze({ kind: 'authenticated', principal } as const),
    };
  });
  if (new Set(keys.map(({ digest }) => digest)).size < keys.length) {
    throw badSecret(factory, memberOf(option, 'digests'), 'must not list a digest twice');
  }
  return keys;
}

function checkDigest(factory: string, option: string, entry: ApiKeyDigest) {
  if (!isObject(entry) || !hasOnly(entry, DIGEST_NAMES)) {
    throw badSecret(factory, option, `must be an object and knows only ${DIGEST_NAMES.join(', ')}`);
  }
  const { digest } = entry;
  if (typeof digest !== 'string' || !DIGEST.test(digest)) {
    throw badSecret(
      factory,
      memberOf(option, 'digest'),
      'must be 64 lower-case hexadecimal digits, as digestApiKey gives them',
    );
  }
  const [notBefore, expiresAt] = (['notBefore', 'expiresAt'] as const).map((member) => {
    const time = epochMilliseconds(entry[member]);
    if (entry[member] !== undefined && time === undefined) {
      throw badSecret(factory, memberOf(option, member), TIME_RULE);
    }
    return time;
  });
  if (notBefore !== undefined && expiresAt !== undefined && notBefore >= expiresAt) {
    throw badSecret(factory, memberOf(option, 'expiresAt'), 'must be after notBefore');
  }
  return { digest, notBefore, expiresAt };
}

function limitsOf(factory: string, option: string, { limits }: ApiKeyRecord): Pick<Principal, 'limits'> {
  if (limits === undefined) return {};
  if (!isObject(limits) || !Object.values(limits).every((limit) => Number.isFinite(limit) && limit >= 0)) {
    throw badSecret(factory, memberOf(option, 'limits'), 'must be an object of numbers, finite and not negative');
  }
  return { limits: Object.freeze({ ...limits }) };
}

/** A copy, frozen throughout: every request of the client sees the same. */
function metadataOf(factory: string, option: string, { metadata }: ApiKeyRecord): Pick<Principal, 'metadata'> {
  if (metadata === undefined) return {};
  try {
    return { metadata: JSON.parse(JSON.stringify(metadata), (_name, value: unknown) => Object.freeze(value)) };
  } catch {
    throw badSecret(factory, memberOf(option, 'metadata'), 'must be what JSON can hold');
  }
}

function memberOf(option: string, member: string): string {
  return option === '' ? member : `${option}.${member}`;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasOnly(value: object, names: readonly string[]): boolean {
  return Object.keys(value).every((name) => names.includes(name));
}
