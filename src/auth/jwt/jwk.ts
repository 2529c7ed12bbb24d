import { type JsonWebKey, KeyObject } from 'node:crypto';

/** What a key is needed for. */
export type KeyPurpose = 'verify' | 'sign';

/** The members of a JWK that restrict its use (RFC 7517 section 4), before they are checked. */
export interface JwkRestrictions {
  readonly use?: unknown;
  readonly key_ops?: unknown;
  readonly alg?: unknown;
}

/** Whether a key is a JWK, and no key in another form. */
export function isJwk(key: unknown): key is JsonWebKey & JwkRestrictions {
  return typeof key === 'object' && key !== null && !(key instanceof KeyObject) && !(key instanceof Uint8Array);
}

/**
 * Why a JWK must not be used for this purpose, as the end of a sentence that begins with the key. Undefined if it may be
 * used. The text contains no part of the key.
 */
export function jwkRestriction(
  { use, key_ops: operations, alg }: JwkRestrictions,
  algorithms: readonly string[],
  purpose: KeyPurpose,
): string | undefined {
  if (use !== undefined && use !== 'sig') return 'must be a key for signatures: its "use" must be "sig" or absent';
  if (operations !== undefined && !allows(operations, purpose)) {
    return `must be a key to ${purpose} with: its "key_ops" must contain "${purpose}" or be absent`;
  }
  if (alg !== undefined && !algorithms.some((name) => name === alg)) {
    return `must be a key for ${algorithms.join(' or ')}: its "alg" must say so or be absent`;
  }
  return undefined;
}

/** `key_ops` is a list of texts, and none of them appears twice (RFC 7517 section 4.3). */
function allows(operations: unknown, purpose: KeyPurpose): boolean {
  return (
    Array.isArray(operations) &&
    operations.includes(purpose) &&
    operations.every((operation, i) => typeof operation === 'string' && operations.indexOf(operation) === i)
  );
}

/** The algorithms that a JWK may be used with. Its `alg` is the only one. */
export function algorithmsOf<A extends string>({ alg }: JwkRestrictions, algorithms: readonly A[]): readonly A[] {
  return alg === undefined ? algorithms : algorithms.filter((name) => name === alg);
}

/**
 * Whether a public exponent of RSA can be used: odd, and at least 3. With 1, every text is its own signature, so that
 * anyone can sign.
 */
export function isUsableExponent(exponent: bigint | undefined): boolean {
  return exponent !== undefined && exponent >= 3n && exponent % 2n === 1n;
}

/** Whether a JWK is an RSA key whose exponent cannot be used. Read here because some runtimes read no such key at all. */
export function hasWeakExponent({ kty, e }: { readonly kty?: unknown; readonly e?: unknown }): boolean {
  if (kty !== 'RSA' || typeof e !== 'string') return false;
  return !isUsableExponent(BigInt(`0x0${Buffer.from(e, 'base64url').toString('hex')}`));
}
