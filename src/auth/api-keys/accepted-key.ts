import { badSecret, type OptionNames } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';
import { epochMilliseconds, TIME_RULE } from '../../core/time.js';
import { invalid, type Verdict } from '../authenticator.js';
import { digestBytes } from '../digest.js';
import { checkEntryMembers } from '../entry-members.js';
import { unshownScopeList } from '../scope.js';
import type { ApiKeyDigest, ApiKeyRecord, ApiKeyRow } from './record.js';

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

const RECORD_MEMBERS: OptionNames<ApiKeyRecord> = {
  id: true,
  clientId: true,
  name: true,
  digests: true,
  scopes: true,
  enabled: true,
  limits: true,
  metadata: true,
};
const DIGEST_MEMBERS: OptionNames<ApiKeyDigest> = { digest: true, notBefore: true, expiresAt: true };
const DIGEST = /^[0-9a-f]{64}$/;
/** 1 to 128 characters without control characters and line ends, and without white space around them. */
const PRINTABLE = /^(?=\S)[^\p{Cc}\p{Zl}\p{Zp}]{1,128}(?<=\S)$/u;

/** The verdict on a key at a time. Written so that NaN refuses. */
export function verdictOf(key: AcceptedKey, now: number): Verdict {
  if (key.enabled && now >= key.notBefore && now < key.expiresAt) return key.accepted;
  const owner = { credentialId: key.principal.credentialId, clientId: key.principal.id };
  if (!key.enabled) return invalid('disabled', owner);
  return invalid(now < key.notBefore ? 'not yet valid' : 'expired', owner);
}

/**
 * The keys of a record. No message shows a value of the record, because it may be a key by mistake. `option` is the
 * path of the record, or '' if its members are options themselves.
 * @throws OptionError
 */
export function acceptedKeys(factory: string, option: string, record: ApiKeyRow): readonly AcceptedKey[] {
  checkEntryMembers(factory, option, record, RECORD_MEMBERS);
  const { id, clientId, name, digests } = record;
  // A database that has null for `enabled` does not say that the key may be used, so it is refused.
  const enabled = record.enabled === undefined || (record.enabled ?? false);
  checkPrintable(factory, memberOf(option, 'clientId'), clientId);
  checkPrintable(factory, memberOf(option, 'id'), id);
  if (name !== undefined && name !== null) checkPrintable(factory, memberOf(option, 'name'), name);
  if (typeof enabled !== 'boolean') throw badSecret(factory, memberOf(option, 'enabled'), 'must be true or false');
  if (!Array.isArray(digests) || digests.length === 0) {
    throw badSecret(factory, memberOf(option, 'digests'), 'must be a list of at least one digest');
  }
  const client = {
    id: clientId,
    scheme: 'api-key',
    scopes: unshownScopeList(factory, memberOf(option, 'scopes'), record.scopes ?? undefined),
    credentialId: id,
    ...limitsOf(factory, option, record),
    ...metadataOf(factory, option, record),
  };
  const keys = digests.map((entry: ApiKeyRow['digests'][number], i) => {
    const { digest, notBefore, expiresAt } = checkDigest(factory, memberOf(option, `digests[${i}]`), entry);
    const principal: Principal = Object.freeze({ ...client, ...(expiresAt === undefined ? {} : { expiresAt }) });
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

function checkPrintable(factory: string, option: string, value: unknown): void {
  if (typeof value === 'string' && PRINTABLE.test(value)) return;
  throw badSecret(factory, option, 'must be 1 to 128 printable characters, without white space around them');
}

function checkDigest(factory: string, option: string, entry: ApiKeyRow['digests'][number]) {
  checkEntryMembers(factory, option, entry, DIGEST_MEMBERS);
  const { digest } = entry;
  if (typeof digest !== 'string' || !DIGEST.test(digest)) {
    throw badSecret(
      factory,
      memberOf(option, 'digest'),
      'must be 64 lower-case hexadecimal digits, as digestApiKey returns them',
    );
  }
  const notBefore = optionalTime(factory, memberOf(option, 'notBefore'), entry.notBefore);
  const expiresAt = optionalTime(factory, memberOf(option, 'expiresAt'), entry.expiresAt);
  if (notBefore !== undefined && expiresAt !== undefined && notBefore >= expiresAt) {
    throw badSecret(factory, memberOf(option, 'expiresAt'), 'must be later than notBefore');
  }
  return { digest, notBefore, expiresAt };
}

/** `time` of the core, but no message shows the value. */
function optionalTime(factory: string, option: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const time = epochMilliseconds(value);
  if (time === undefined) throw badSecret(factory, option, TIME_RULE);
  return time;
}

function limitsOf(factory: string, option: string, { limits }: ApiKeyRow): Pick<Principal, 'limits'> {
  if (limits === undefined || limits === null) return {};
  const isObject = typeof limits === 'object' && !Array.isArray(limits);
  if (!isObject || !Object.values(limits).every((limit) => Number.isFinite(limit) && limit >= 0)) {
    throw badSecret(factory, memberOf(option, 'limits'), 'must be an object of finite numbers, each at least 0');
  }
  return { limits: Object.freeze({ ...limits }) };
}

/** A copy, frozen throughout, because all requests of the client share it. */
function metadataOf(factory: string, option: string, { metadata }: ApiKeyRow): Pick<Principal, 'metadata'> {
  if (metadata === undefined || metadata === null) return {};
  try {
    return { metadata: JSON.parse(JSON.stringify(metadata), (_name, value: unknown) => Object.freeze(value)) };
  } catch {
    throw badSecret(factory, memberOf(option, 'metadata'), 'must be a JSON value');
  }
}

function memberOf(option: string, member: string): string {
  return option === '' ? member : `${option}.${member}`;
}
