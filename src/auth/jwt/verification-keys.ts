import type { JWTHeaderParameters } from 'jose';
import { badOption, checkOptionNames, OptionError, type OptionNames } from '../../core/option.js';
import { type Time, time } from '../../core/time.js';
import { type ImportedKey, importKey, isHmac, type JwtAlgorithm, type JwtKey } from './key.js';
import { type JwksOptions, RemoteKeys, type Report, UnknownKey } from './remote-keys.js';

/** One of several keys. The `kid` of a token selects it. */
export interface JwtKeyEntry {
  /** The key's id. Must be unique in the list. */
  readonly kid: string;
  /** The key that verifies tokens with this `kid`. */
  readonly key: JwtKey;
  /** From this moment on the key is no longer accepted. Default never. */
  readonly expiresAt?: Time;
}

/** The options that say where the keys come from. */
interface KeyOptions {
  readonly key?: JwtKey | undefined;
  readonly keys?: readonly JwtKeyEntry[] | undefined;
  readonly jwksUrl?: string | undefined;
  readonly jwks?: JwksOptions | undefined;
}

/** A key that verifies tokens. */
export interface VerificationKey {
  readonly key: Awaited<ReturnType<RemoteKeys['find']>> | ImportedKey['key'];
  /** The algorithms that may sign a token with this key. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** The epoch milliseconds until which the key is accepted. */
  readonly validUntil: number;
}

/** Finds the key for a token's header. Rejects with `UnknownKey` or `KeysUnavailable`. */
export type KeySource = (header: JWTHeaderParameters, report: Report) => Promise<VerificationKey>;

const ENTRY_OPTIONS: OptionNames<JwtKeyEntry> = { kid: true, key: true, expiresAt: true };

/** @throws OptionError unless exactly one source of keys is given, and its keys fit the algorithms */
export function keySource(
  factory: string,
  options: KeyOptions,
  algorithms: readonly JwtAlgorithm[],
  now: () => number,
): KeySource {
  const { key, keys, jwksUrl, jwks = {} } = options;
  if ([key, keys, jwksUrl].filter((source) => source !== undefined).length !== 1) {
    throw new OptionError(`gatewarden: ${factory} needs exactly one of "key", "keys" and "jwksUrl"`);
  }
  if (jwksUrl !== undefined) {
    if (isHmac(algorithms)) {
      throw new OptionError(
        `gatewarden: ${factory} "jwksUrl" provides public keys; HMAC algorithms need a secret in "key" or "keys"`,
      );
    }
    const remote = new RemoteKeys(factory, jwksUrl, jwks, algorithms, now);
    return async (header, report) => ({
      key: await remote.find(header, report),
      algorithms,
      validUntil: Number.POSITIVE_INFINITY,
    });
  }
  if (keys !== undefined) return keysById(factory, keys, algorithms, now);
  const only = { ...importKey(factory, 'key', key, algorithms, 'verify'), validUntil: Number.POSITIVE_INFINITY };
  return async () => only;
}

function keysById(
  factory: string,
  keys: readonly JwtKeyEntry[],
  algorithms: readonly JwtAlgorithm[],
  now: () => number,
): KeySource {
  if (!Array.isArray(keys) || keys.length === 0) {
    throw new OptionError(`gatewarden: ${factory} "keys" must be a list of at least one { kid, key }`);
  }
  const byId = new Map<string, VerificationKey>();
  keys.forEach((entry: JwtKeyEntry, i) => {
    const option = `keys[${i}]`;
    checkOptionNames(`${factory} "${option}"`, entry, ENTRY_OPTIONS);
    const { kid } = entry;
    if (typeof kid !== 'string' || kid === '' || byId.has(kid)) {
      throw badOption(factory, `${option}.kid`, 'must be a non-empty string that no other key has', kid);
    }
    const validUntil = time(factory, `${option}.expiresAt`, entry.expiresAt) ?? Number.POSITIVE_INFINITY;
    byId.set(kid, { ...importKey(factory, `${option}.key`, entry.key, algorithms, 'verify'), validUntil });
  });
  return async ({ kid }) => {
    const key = kid === undefined ? undefined : byId.get(kid);
    if (key === undefined || !(now() < key.validUntil)) throw new UnknownKey();
    return key;
  };
}
