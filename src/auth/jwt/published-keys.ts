import type { JSONWebKeySet, JWK } from 'jose';
import { hasWeakExponent, jwkRestriction } from './jwk.js';
import type { JwtAlgorithm } from './key.js';

const MAX_KEYS = 100;

/**
 * The keys of a provider's answer that may verify tokens with one of these algorithms. A key for another purpose is
 * skipped. A key with which anyone could sign is skipped and reported.
 * @throws Error for an answer that is not a key set, and for a set with a secret or a private key: it was not meant to be
 * published and must not be trusted
 */
export function usableKeys(
  answer: unknown,
  algorithms: readonly JwtAlgorithm[],
  report: (error: unknown) => void,
): JSONWebKeySet {
  const { keys } = (answer ?? {}) as { readonly keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('the answer of the provider is not a key set');
  if (keys.length > MAX_KEYS) throw new Error(`the key set has more than ${MAX_KEYS} keys`);
  for (const key of keys) {
    if (typeof key !== 'object' || key === null || typeof key.kty !== 'string') {
      throw new Error('the key set has an entry that is not a key');
    }
    if (key.kty === 'oct' || 'd' in key || 'k' in key) throw new Error('the key set contains a private key');
  }
  const forTokens = (keys as readonly JWK[]).filter((key) => jwkRestriction(key, algorithms, 'verify') === undefined);
  const usable = forTokens.filter((key) => !hasWeakExponent(key));
  if (usable.length < forTokens.length) {
    report(
      new Error("gatewarden: a key in the provider's key set is not used: its RSA exponent must be odd and at least 3"),
    );
  }
  return { keys: usable };
}
