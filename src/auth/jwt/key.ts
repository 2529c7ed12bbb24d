import { createPrivateKey, createPublicKey, createSecretKey, type JsonWebKey, KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import { badOption, badSecret } from '../../core/option.js';
import { joseKey } from './jose-key.js';
import { algorithmsOf, hasWeakExponent, isJwk, isUsableExponent, jwkRestriction, type KeyPurpose } from './jwk.js';

/** The signature algorithms (RFC 7518 section 3.1, RFC 8037). `none` is not one of them. */
export type JwtAlgorithm =
  | 'HS256'
  | 'HS384'
  | 'HS512'
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'EdDSA';

/**
 * A key. For HMAC, a secret: a string (its UTF-8 bytes), bytes, a JWK of type `oct` or a `KeyObject`. For the other
 * algorithms, a public key to verify with or a private key to sign with: PEM, a JWK or a `KeyObject`. A JWK whose `use`,
 * `key_ops` or `alg` says something else is refused.
 */
export type JwtKey = string | Uint8Array | KeyObject | JsonWebKey;

interface Kind {
  readonly family: 'HMAC' | 'RSA' | 'EC' | 'EdDSA';
  /** The minimum length of an HMAC secret (RFC 7518 section 3.2). */
  readonly bytes?: number;
  /** The curve that an EC algorithm needs (RFC 7518 section 3.4). */
  readonly curve?: string;
}

const KINDS: Readonly<Record<JwtAlgorithm, Kind>> = {
  HS256: { family: 'HMAC', bytes: 32 },
  HS384: { family: 'HMAC', bytes: 48 },
  HS512: { family: 'HMAC', bytes: 64 },
  RS256: { family: 'RSA' },
  RS384: { family: 'RSA' },
  RS512: { family: 'RSA' },
  PS256: { family: 'RSA' },
  PS384: { family: 'RSA' },
  PS512: { family: 'RSA' },
  ES256: { family: 'EC', curve: 'prime256v1' },
  ES384: { family: 'EC', curve: 'secp384r1' },
  ES512: { family: 'EC', curve: 'secp521r1' },
  EdDSA: { family: 'EdDSA' },
};
const MIN_RSA_BITS = 2048;

/**
 * Checks a list of algorithms. They must be of one family, so that a public key is never used as an HMAC secret.
 * @throws OptionError
 */
export function checkAlgorithms(factory: string, algorithms: unknown): readonly JwtAlgorithm[] {
  const names = Object.keys(KINDS);
  if (!Array.isArray(algorithms) || algorithms.length === 0 || !algorithms.every((name) => names.includes(name))) {
    throw badOption(factory, 'algorithms', `must list one or more of ${names.join(', ')}`, algorithms);
  }
  const list = [...(algorithms as JwtAlgorithm[])];
  if (new Set(list.map((name) => KINDS[name].family)).size > 1) {
    throw badOption(factory, 'algorithms', 'must be of one family (HS*, RS* and PS*, ES*, or EdDSA)', algorithms);
  }
  return list;
}

/** Whether these algorithms use a secret rather than a key pair. */
export function isHmac(algorithms: readonly JwtAlgorithm[]): boolean {
  return algorithms.some((name) => KINDS[name].family === 'HMAC');
}

/** A key that has been checked. */
export interface ImportedKey {
  /** In the form that jose accepts. */
  readonly key: KeyObject | JWK;
  /** The algorithms that it may be used with. The `alg` of a JWK leaves only one. */
  readonly algorithms: readonly JwtAlgorithm[];
}

/**
 * Checks a key.
 * @throws OptionError if the key does not fit all of these algorithms, or if it is a JWK whose `use`, `key_ops` or `alg`
 * says something else. The message contains no part of the key.
 */
export function importKey(
  factory: string,
  option: string,
  key: unknown,
  algorithms: readonly JwtAlgorithm[],
  purpose: KeyPurpose,
): ImportedKey {
  if (!isJwk(key)) return { key: joseKey(checkedKey(factory, option, key, algorithms, purpose)), algorithms };
  const restriction = jwkRestriction(key, algorithms, purpose);
  if (restriction !== undefined) throw badSecret(factory, option, restriction);
  const allowed = algorithmsOf(key, algorithms);
  return { key: joseKey(checkedKey(factory, option, key, allowed, purpose)), algorithms: allowed };
}

function checkedKey(
  factory: string,
  option: string,
  key: unknown,
  algorithms: readonly JwtAlgorithm[],
  purpose: KeyPurpose,
): KeyObject {
  const [first] = algorithms;
  if (first !== undefined && KINDS[first].family === 'RSA' && isJwk(key) && hasWeakExponent(key))
    throw badSecret(factory, option, weakExponent(first));
  const imported = isHmac(algorithms) ? secretKey(factory, option, key) : asymmetricKey(factory, option, key, purpose);
  const { asymmetricKeyType: type } = imported;
  const details = detailsOf(imported);
  for (const name of algorithms) {
    const { family, bytes = 0, curve } = KINDS[name];
    if (family === 'HMAC' && (imported.symmetricKeySize ?? 0) < bytes) {
      throw badSecret(factory, option, `must be at least ${bytes} bytes long for ${name}`);
    }
    if (family === 'RSA' && (type !== 'rsa' || (details?.modulusLength ?? 0) < MIN_RSA_BITS)) {
      throw badSecret(factory, option, `must be an RSA key of at least ${MIN_RSA_BITS} bits for ${name}`);
    }
    if (family === 'RSA' && !isUsableExponent(details?.publicExponent)) {
      throw badSecret(factory, option, weakExponent(name));
    }
    if (family === 'EC' && (type !== 'ec' || details?.namedCurve !== curve)) {
      throw badSecret(factory, option, `must be an EC key on the curve ${curve} for ${name}`);
    }
    if (family === 'EdDSA' && type !== 'ed25519')
      throw badSecret(factory, option, `must be an Ed25519 key for ${name}`);
  }
  return imported;
}

/** Undefined as well if the runtime cannot read them, as Workers cannot of an exponent of 0. Such a key fits nothing. */
function detailsOf(key: KeyObject): KeyObject['asymmetricKeyDetails'] {
  try {
    return key.asymmetricKeyDetails;
  } catch {
    return undefined;
  }
}

function weakExponent(name: JwtAlgorithm): string {
  return `must be an RSA key with an odd exponent of at least 3 for ${name}`;
}

function secretKey(factory: string, option: string, key: unknown): KeyObject {
  const rule = 'must be an HMAC secret: a string, bytes, a secret KeyObject or a JWK of type oct';
  if (key instanceof KeyObject) {
    if (key.type !== 'secret') throw badSecret(factory, option, rule);
    return key;
  }
  const bytes = secretBytes(key);
  if (bytes === undefined) throw badSecret(factory, option, rule);
  // A public key as an HMAC secret would let everyone who knows that key sign tokens.
  if (Buffer.from(bytes).includes('-----BEGIN '))
    throw badSecret(factory, option, 'must be an HMAC secret, not a PEM key');
  if (bytes.length === 0) throw badSecret(factory, option, 'must not be empty');
  return createSecretKey(bytes);
}

function secretBytes(key: unknown): Uint8Array | undefined {
  if (typeof key === 'string') return Buffer.from(key, 'utf8');
  if (key instanceof Uint8Array) return key;
  if (typeof key !== 'object' || key === null) return undefined;
  const { kty, k } = key as JsonWebKey;
  return kty === 'oct' && typeof k === 'string' ? Buffer.from(k, 'base64url') : undefined;
}

function asymmetricKey(factory: string, option: string, key: unknown, purpose: KeyPurpose): KeyObject {
  const type = purpose === 'sign' ? 'private' : 'public';
  const rule = `must be a ${type} key: PEM, a JWK or a KeyObject`;
  try {
    if (key instanceof KeyObject) {
      if (key.type === type) return key;
      if (purpose === 'verify' && key.type === 'private') return createPublicKey(key);
    } else if (typeof key === 'string' || isJwk(key)) {
      const source = typeof key === 'string' ? key : { key, format: 'jwk' as const };
      return purpose === 'sign' ? createPrivateKey(source) : createPublicKey(source);
    }
  } catch {
    // The message of the cause is dropped because it may contain a part of the key.
  }
  throw badSecret(factory, option, rule);
}
