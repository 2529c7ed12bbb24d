import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { badOption, badSecret } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';
import { type Time, time } from '../../core/time.js';
import { scopeList } from '../scope.js';
import { KEY_ID, MIN_SECRET_LENGTH } from './canonical.js';

/** One key that clients sign with. */
export interface SigningKeyEntry {
  /** What the client sends as `X-Key-Id`: letters, digits and `._-`, 64 at most. Also `principal.credentialId`. */
  readonly id: string;
  /** Shared with the client: at least 32 characters. Its UTF-8 bytes are the HMAC key. */
  readonly secret: string;
  /** `principal.id`. Keys of one client have one: that is how a key is changed for another. Default the key's `id`. */
  readonly clientId?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** From this moment on the key is refused. Default never. */
  readonly expiresAt?: Time;
}

/** A key, ready for use. */
export interface SigningKey {
  readonly principal: Principal;
  readonly expiresAt: number;
}

/** Finds the key that made a signature. */
export interface SigningKeys {
  /** Takes the same time whether or not there is a key of that id. `signature` is 64 hexadecimal digits. */
  verify(keyId: string, text: string, signature: string): SigningKey | 'unknown' | 'wrong';
}

interface Entry extends SigningKey {
  readonly secret: KeyObject;
}

const FACTORY = 'signedRequest';
const ENTRY_NAMES: readonly string[] = ['id', 'secret', 'clientId', 'scopes', 'expiresAt'];

/** @throws OptionError */
export function signingKeys(keys: readonly SigningKeyEntry[]): SigningKeys {
  if (!Array.isArray(keys) || keys.length === 0) {
    throw badSecret(FACTORY, 'keys', 'must be a list of at least one key');
  }
  const entries = new Map<string, Entry>();
  const secrets = new Set<string>();
  keys.forEach((key, index) => {
    const entry = entryOf(key, `keys[${index}]`);
    if (entries.has(key.id)) throw badOption(FACTORY, `keys[${index}].id`, 'must not be listed twice', key.id);
    // Whoever knows one of two keys could else sign as the other.
    if (secrets.has(key.secret)) throw badSecret(FACTORY, `keys[${index}].secret`, 'must not be listed twice');
    entries.set(key.id, entry);
    secrets.add(key.secret);
  });
  const nobody = createSecretKey(randomBytes(MIN_SECRET_LENGTH));

  return {
    verify(keyId, text, signature) {
      const entry = entries.get(keyId);
      const expected = createHmac('sha256', entry?.secret ?? nobody)
        .update(text)
        .digest();
      const right = timingSafeEqual(expected, Buffer.from(signature, 'hex'));
      if (entry === undefined) return 'unknown';
      return right ? entry : 'wrong';
    },
  };
}

function entryOf(key: SigningKeyEntry, option: string): Entry {
  if (typeof key !== 'object' || key === null) throw badSecret(FACTORY, option, 'must be an object');
  if (Object.keys(key).some((name) => !ENTRY_NAMES.includes(name))) {
    // A misspelt `expiresAt` would keep an old key alive for ever.
    throw badSecret(FACTORY, option, `knows only ${ENTRY_NAMES.join(', ')}`);
  }
  const { id, secret, clientId = id, scopes, expiresAt } = key;
  if (typeof secret !== 'string' || secret.length < MIN_SECRET_LENGTH) {
    throw badSecret(FACTORY, `${option}.secret`, `must be a string of at least ${MIN_SECRET_LENGTH} characters`);
  }
  // Not shown: what stands here by mistake may be the secret.
  if (typeof id !== 'string' || !KEY_ID.test(id) || id === secret) {
    throw badSecret(FACTORY, `${option}.id`, 'must be 1 to 64 letters, digits or ._- and not the secret');
  }
  if (typeof clientId !== 'string' || clientId === '' || clientId === secret) {
    throw badSecret(FACTORY, `${option}.clientId`, 'must be a non-empty string, and not the secret');
  }
  const granted = scopeList(FACTORY, `${option}.scopes`, scopes);
  const ends = expiresAt === undefined ? {} : { expiresAt: time(FACTORY, `${option}.expiresAt`, expiresAt) };
  return {
    secret: createSecretKey(secret, 'utf8'),
    expiresAt: ends.expiresAt ?? Number.POSITIVE_INFINITY,
    principal: Object.freeze({
      id: clientId,
      scheme: 'signed-request',
      scopes: granted,
      credentialId: id,
      ...ends,
    }),
  };
}
