import { createPrivateKey, createPublicKey, createSecretKey, type JsonWebKey, KeyObject } from 'node:crypto';
import { badOption, badSecret } from '../../core/option.js';

/** Signature algorithms of RFC 7518 section 3.1 and RFC 8037, those that a token may be verified by. */
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
 * A key: of HMAC a secret (a string is its UTF-8 bytes), of the others a public key in PEM, a JWK, or Node's `KeyObject`.
 */
export type JwtKey = string | Uint8Array | KeyObject | JsonWebKey;

interface Kind {
  readonly family: 'HMAC' | 'RSA' | 'EC' | 'EdDSA';
  /** Least bytes of a secret (RFC 7518 section 3.2), or the curve. */
  readonly bytes?: number;
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

/** Checks a list of algorithms: of one family, so that a key can never be taken for one of another. */
export function checkAlgorithms(factory: string, algorithms: unknown): readonly JwtAlgorithm[] {
  const known = Object.keys(KINDS);
  if (!Array.isArray(algorithms) || algorithms.length === 0 || !algorithms.every((name) => known.includes(name))) {
    throw badOption(factory, 'algorithms', `must be a list of one or more of ${known.join(', ')}`, algorithms);
  }
  const list = [...(algorithms as JwtAlgorithm[])];
  if (new Set(list.map((name) => KINDS[name].family)).size > 1) {
    throw badOption(factory, 'algorithms', 'must be of one family: HS*, RS* and PS*, ES*, or EdDSA', algorithms);
  }
  return list;
}

export function isHmac(algorithms: readonly JwtAlgorithm[]): boolean {
  return algorithms.some((name) => KINDS[name].family === 'HMAC');
}

/**
 * The key as jose takes it, if it is good for all of these algorithms.
 * @throws OptionError that shows nothing of it
 */
export function importKey(
  factory: string,
  option: string,
  key: unknown,
  algorithms: readonly JwtAlgorithm[],
  use: 'verify' | 'sign',
): KeyObject {
  const imported = isHmac(algorithms) ? secretKey(factory, option, key) : asymmetricKey(factory, option, key, use);
  for (const name of algorithms) {
    const { family, bytes, curve } = KINDS[name];
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = imported;
    if (family === 'HMAC' && (imported.symmetricKeySize ?? 0) < (bytes ?? 0)) {
      throw badSecret(factory, option, `must be at least ${bytes} bytes for ${name}`);
    }
    if (family === 'RSA' && (type !== 'rsa' || (details?.modulusLength ?? 0) < MIN_RSA_BITS)) {
      throw badSecret(factory, option, `must be an RSA key of at least ${MIN_RSA_BITS} bits for ${name}`);
    }
    if (family === 'EC' && (type !== 'ec' || details?.namedCurve !== curve)) {
      throw badSecret(factory, option, `must be a key of the curve ${curve} for ${name}`);
    }
    if (family === 'EdDSA' && type !== 'ed25519')
      throw badSecret(factory, option, `must be an Ed25519 key for ${name}`);
  }
  return imported;
}

function secretKey(factory: string, option: string, key: unknown): KeyObject {
  const rule = 'must be a secret: a string, bytes, a secret KeyObject, or a JWK of type oct';
  if (key instanceof KeyObject) {
    if (key.type !== 'secret') throw badSecret(factory, option, rule);
    return key;
  }
  const bytes = secretBytes(key);
  if (bytes === undefined) throw badSecret(factory, option, rule);
  // Whoever knows a public key could sign with it.
  if (Buffer.from(bytes).includes('-----BEGIN ')) throw badSecret(factory, option, 'must be a secret, not a PEM key');
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

function asymmetricKey(factory: string, option: string, key: unknown, use: 'verify' | 'sign'): KeyObject {
  const wanted = use === 'sign' ? 'private' : 'public';
  const rule = `must be a ${wanted} key: PEM, a JWK, or a KeyObject`;
  try {
    if (key instanceof KeyObject) {
      if (key.type === wanted) return key;
      if (use === 'verify' && key.type === 'private') return createPublicKey(key);
    } else if (typeof key === 'string' || (typeof key === 'object' && key !== null && !(key instanceof Uint8Array))) {
      const source = typeof key === 'string' ? key : { key: key as JsonWebKey, format: 'jwk' as const };
      return use === 'sign' ? createPrivateKey(source) : createPublicKey(source);
    }
  } catch {
    // Node's own message may show what stood there.
  }
  throw badSecret(factory, option, rule);
}
