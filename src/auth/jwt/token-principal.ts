import { badOption } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';

export type Claims = Readonly<Record<string, unknown>>;

const MAX_SUBJECT_LENGTH = 512;

/** Makes principals of verified claims; none where they do not say who it is. */
export function principalMaker(
  factory: string,
  scheme: string,
  subject: string | ((claims: Claims) => string | undefined) = 'sub',
  scopes: (claims: Claims) => readonly string[] = scopesOf,
) {
  if (typeof subject !== 'function' && (typeof subject !== 'string' || subject === '')) {
    throw badOption(factory, 'subject', 'must be the name of a claim, or a function', subject);
  }
  if (typeof scopes !== 'function') throw badOption(factory, 'scopes', 'must be a function', scopes);
  return (claims: Claims, { kid }: Claims): Principal | undefined => {
    const id: unknown =
      typeof subject === 'function' ? subject(claims) : Object.hasOwn(claims, subject) ? claims[subject] : undefined;
    if (typeof id !== 'string' || id === '' || id.length > MAX_SUBJECT_LENGTH) return undefined;
    const granted: unknown = scopes(claims);
    if (!Array.isArray(granted) || !granted.every((scope) => typeof scope === 'string')) {
      throw new TypeError('gatewarden: "scopes" of jwt must give a list of strings');
    }
    const { jti, exp } = claims;
    return Object.freeze({
      id,
      scheme,
      scopes: Object.freeze([...granted]),
      credentialId: typeof jti === 'string' ? jti : typeof kid === 'string' ? kid : 'none',
      expiresAt: (exp as number) * 1000,
      claims,
    });
  };
}

/** `scope` of RFC 8693 section 4.2, or the lists that providers have instead. */
function scopesOf({ scope, scp, scopes }: Claims): readonly string[] {
  if (typeof scope === 'string') return scope.split(' ').filter((word) => word !== '');
  if (typeof scp === 'string') return scp.split(' ').filter((word) => word !== '');
  const list = Array.isArray(scp) ? scp : scopes;
  return Array.isArray(list) ? list.filter((word): word is string => typeof word === 'string') : [];
}
