import type { JWTHeaderParameters } from 'jose';
import { badOption, checkOptionNames, OptionError } from '../../core/option.js';
import { importKey, isHmac, type JwtAlgorithm, type JwtKey } from './key.js';
import { type JwksOptions, RemoteKeys, type Report, UnknownKey } from './remote-keys.js';

/** One of several keys, told by the token's `kid`. */
export interface JwtKeyEntry {
  readonly kid: string;
  readonly key: JwtKey;
  /** From this moment on the key is not used any more. Default never. */
  readonly expiresAt?: Date;
}

/** Where the keys are. */
interface KeyOptions {
  readonly key?: JwtKey;
  readonly keys?: readonly JwtKeyEntry[];
  readonly jwksUrl?: string;
  readonly jwks?: JwksOptions;
}

/** A key, and until when it is good, in epoch milliseconds. */
export interface VerificationKey {
  readonly key: Awaited<ReturnType<RemoteKeys['find']>> | ReturnType<typeof importKey>;
  readonly until: number;
}

/** The key for a token's header; rejects with `UnknownKey` or `KeysUnavailable`. */
export type KeySource = (header: JWTHeaderParameters, report: Report) => Promise<VerificationKey>;

/** @throws OptionError unless exactly one source of keys is given, and its keys are good for the algorithms */
export function keySource(
  factory: string,
  options: KeyOptions,
  algorithms: readonly JwtAlgorithm[],
  now: () => number,
): KeySource {
  const { key, keys, jwksUrl, jwks = {} } = options;
  if ([key, keys, jwksUrl].filter((source) => source !== undefined).length !== 1) {
    throw new OptionError(`gatewarden: ${factory} needs one of "key", "keys" and "jwksUrl"`);
  }
  if (jwksUrl !== undefined) {
    if (isHmac(algorithms))
      throw new OptionError(`gatewarden: ${factory} "jwksUrl" gives public keys, not HMAC secrets`);
    checkOptionNames(`${factory} "jwks"`, jwks, ['timeout', 'maxAge', 'staleIfError', 'cooldown']);
    const remote = new RemoteKeys(factory, jwksUrl, jwks, now);
    return async (header, report) => ({ key: await remote.find(header, report), until: Number.POSITIVE_INFINITY });
  }
  if (keys === undefined) {
    const only = { key: importKey(factory, 'key', key, algorithms, 'verify'), until: Number.POSITIVE_INFINITY };
    return async () => only;
  }
  if (!Array.isArray(keys) || keys.length === 0) {
    throw new OptionError(`gatewarden: ${factory} "keys" must be a list of at least one { kid, key }`);
  }
  const byKid = new Map<string, VerificationKey>();
  keys.forEach((entry: JwtKeyEntry, i) => {
    const option = `keys[${i}]`;
    checkOptionNames(`${factory} "${option}"`, entry, ['kid', 'key', 'expiresAt']);
    const { kid, expiresAt } = entry;
    if (typeof kid !== 'string' || kid === '' || byKid.has(kid)) {
      throw badOption(factory, `${option}.kid`, 'must be a non-empty string, each its own', kid);
    }
    if (expiresAt !== undefined && !(expiresAt instanceof Date && Number.isFinite(expiresAt.getTime()))) {
      throw badOption(factory, `${option}.expiresAt`, 'must be a valid Date', expiresAt);
    }
    const imported = importKey(factory, `${option}.key`, entry.key, algorithms, 'verify');
    byKid.set(kid, { key: imported, until: expiresAt?.getTime() ?? Number.POSITIVE_INFINITY });
  });
  return async ({ kid }) => {
    const found = kid === undefined ? undefined : byKid.get(kid);
    if (found === undefined || !(now() < found.until)) throw new UnknownKey();
    return found;
  };
}
