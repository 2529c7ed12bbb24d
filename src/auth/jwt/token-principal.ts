import { badOption, callback } from '../../core/option.js';
import type { Principal } from '../../core/principal.js';

/** The claims of a verified token. Deeply frozen. */
export type Claims = Readonly<Record<string, unknown>>;

export const MAX_SUBJECT_LENGTH = 512;

/** Whether a claim can name a client. */
export function isSubject(id: unknown): id is string {
  return typeof id === 'string' && id !== '' && id.length <= MAX_SUBJECT_LENGTH;
}

/**
 * Returns a function from verified claims to a principal. It returns undefined if the claims do not name the client.
 */
export function principalMaker(
  factory: string,
  scheme: string,
  subject: string | ((claims: Claims) => string | undefined) = 'sub',
  scopes: (claims: Claims) => readonly string[] = scopesOf,
) {
  if (typeof subject !== 'function' && (typeof subject !== 'string' || subject === '')) {
    throw badOption(factory, 'subject', 'must be the name of a claim or a function', subject);
  }
  callback(factory, 'scopes', scopes);
  return (claims: Claims, { kid }: Claims): Principal | undefined => {
    const id: unknown =
      typeof subject === 'function' ? subject(claims) : Object.hasOwn(claims, subject) ? claims[subject] : undefined;
    if (!isSubject(id)) return undefined;
    const granted: unknown = scopes(claims);
    if (!Array.isArray(granted) || !granted.every((scope) => typeof scope === 'string')) {
      throw new TypeError(`gatewarden: ${factory} "scopes" must return a list of strings`);
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

/** The `scope` claim (RFC 8693 section 4.2), or the lists that some providers send instead. */
function scopesOf({ scope, scp, scopes }: Claims): readonly string[] {
  if (typeof scope === 'string') return scope.split(' ').filter((word) => word !== '');
  if (typeof scp === 'string') return scp.split(' ').filter((word) => word !== '');
  const list = Array.isArray(scp) ? scp : scopes;
  return Array.isArray(list) ? list.filter((word): word is string => typeof word === 'string') : [];
}
