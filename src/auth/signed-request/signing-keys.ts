import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { badOption, badSecret, type OptionNames } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';
import { type Time, time } from '../../core/time.js';
import { checkEntryMembers } from '../entry-members.js';
import { scopeList } from '../scope.js';
import { checkSecret } from '../secret.js';
import { KEY_ID, MIN_SECRET_LENGTH } from './canonical.js';

/**
 * One key that clients sign with.
 *
 * ```ts
 * const key: SigningKeyEntry = { id: 'main-2026', secret: process.env.SIGNING_SECRET, clientId: 'main-server' }
 * ```
 */
export interface SigningKeyEntry {
  /** The client sends it as `X-Key-Id`. Up to 64 letters, digits, `.`, `_` or `-`. Also `principal.credentialId`. */
  readonly id: string;
  /**
   * The secret that the client also has: at least 32 characters. Its UTF-8 bytes are the HMAC key. An `undefined`
   * value, of an environment variable that is not set, is an `OptionError`.
   */
  readonly secret: string | undefined;
  /** `principal.id`. Give an old and a new key of one client the same value. Default the key's `id`. */
  readonly clientId?: string | undefined;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** The key is refused from this time on. Default never. */
  readonly expiresAt?: Time;
}

/** A key, ready for use. */
export interface SigningKey {
  readonly principal: Principal;
  readonly expiresAt: number;
}

/** Verifies signatures against a set of keys. */
export interface SigningKeys {
  /** Takes the same time whether or not the key id exists. `signature` is 64 hexadecimal digits. */
  verify(keyId: string, text: string, signature: string): SigningKey | 'unknown' | 'wrong';
}

interface AcceptedKey extends SigningKey {
  readonly secret: KeyObject;
}

const FACTORY = 'signedRequest';
const ENTRY_MEMBERS: OptionNames<SigningKeyEntry> = {
  id: true,
  secret: true,
  clientId: true,
  scopes: true,
  expiresAt: true,
};

/** @throws OptionError */
export function signingKeys(entries: readonly SigningKeyEntry[]): SigningKeys {
  if (!Array.isArray(entries) || entries.length === 0) {
    throw badSecret(FACTORY, 'keys', 'must be a list of at least one key, { id, secret }');
  }
  const keys = new Map<string, AcceptedKey>();
  const secrets = new Set<string>();
  for (const [index, entry] of (entries as readonly SigningKeyEntry[]).entries()) {
    const option = `keys[${index}]`;
    const secret = checkEntrySecret(entry, option);
    const key = acceptedKey(entry, secret, option);
    if (keys.has(entry.id)) throw badOption(FACTORY, `${option}.id`, 'must not be listed twice', entry.id);
    // Otherwise the owner of one key could sign as the owner of the other.
    if (secrets.has(secret)) throw badSecret(FACTORY, `${option}.secret`, 'must not be listed twice');
    keys.set(entry.id, key);
    secrets.add(secret);
  }
  // It needs not be secret, because the result of the comparison is not used.
  const unknownKeySecret = createSecretKey(Buffer.alloc(MIN_SECRET_LENGTH));

  return {
    verify(keyId, text, signature) {
      const key = keys.get(keyId);
      const expected = createHmac('sha256', key?.secret ?? unknownKeySecret)
        .update(text)
        .digest();
      const matches = timingSafeEqual(expected, Buffer.from(signature, 'hex'));
      if (key === undefined) return 'unknown';
      return matches ? key : 'wrong';
    },
  };
}

function checkEntrySecret(entry: SigningKeyEntry, option: string): string {
  checkEntryMembers(FACTORY, option, entry, ENTRY_MEMBERS);
  return checkSecret(FACTORY, `${option}.secret`, entry.secret, MIN_SECRET_LENGTH);
}

function acceptedKey(entry: SigningKeyEntry, secret: string, option: string): AcceptedKey {
  const { id, clientId = id } = entry;
  // The id is not shown: it may be the secret by mistake.
  if (typeof id !== 'string' || !KEY_ID.test(id) || id === secret) {
    throw badSecret(FACTORY, `${option}.id`, 'must be 1 to 64 letters, digits, ".", "_" or "-", and not the secret');
  }
  if (typeof clientId !== 'string' || clientId === '' || clientId === secret) {
    throw badSecret(FACTORY, `${option}.clientId`, 'must be a non-empty string, and not the secret');
  }
  const scopes = scopeList(FACTORY, `${option}.scopes`, entry.scopes);
  const expiresAt = time(FACTORY, `${option}.expiresAt`, entry.expiresAt);
  return {
    secret: createSecretKey(secret, 'utf8'),
    expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
    principal: Object.freeze({
      id: clientId,
      scheme: 'signed-request',
      scopes,
      credentialId: id,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    }),
  };
}
