import type { KeyObject } from 'node:crypto';
import type { JWK } from 'jose';

/**
 * A key in a form that jose accepts: as it is, or as a JWK on a runtime that cannot turn a `KeyObject` into a `CryptoKey`.
 * jose would fail there, since it asks for the method only.
 */
export function joseKey(key: KeyObject): KeyObject | JWK {
  return key.type === 'secret' || isConvertible(key) ? key : (key.export({ format: 'jwk' }) as JWK);
}

/** Workers have the method, and it throws. Without arguments it throws everywhere, with another code. */
function isConvertible(key: KeyObject): boolean {
  const convert: unknown = Reflect.get(key, 'toCryptoKey');
  if (typeof convert !== 'function') return true;
  try {
    Reflect.apply(convert, key, []);
    return true;
  } catch (error) {
    return (error as { readonly code?: unknown }).code !== 'ERR_METHOD_NOT_IMPLEMENTED';
  }
}
