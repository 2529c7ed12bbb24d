import { badOption, badSecret } from '../core/option.js';

/** `scope-token` of RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

const RULE = 'must be a list of scopes without spaces (RFC 6749 section 3.3)';

export function isScope(value: unknown): value is string {
  return typeof value === 'string' && SCOPE.test(value);
}

/**
 * A frozen copy of an option's list of scopes.
 * @throws OptionError for a value that is not a list of scopes: `['a b']` would never match a scope that is asked for
 */
export function scopeList(factory: string, option: string, scopes: readonly string[] = []): readonly string[] {
  if (!Array.isArray(scopes) || !scopes.every(isScope)) throw badOption(factory, option, RULE, scopes);
  return Object.freeze([...scopes]);
}

/** `scopeList` for a place where a secret may have been put by mistake: the value is not shown. */
export function unshownScopeList(factory: string, option: string, scopes: readonly string[] = []): readonly string[] {
  if (!Array.isArray(scopes) || !scopes.every(isScope)) throw badSecret(factory, option, RULE);
  return Object.freeze([...scopes]);
}

/** Scopes that nobody has without credentials. */
const ADMIN = /^admin/i;

/**
 * `scopeList` for a principal that needs no credentials.
 * @throws OptionError also for `admin` and whatever begins with it
 */
export function openScopes(factory: string, scopes: readonly string[] = []): readonly string[] {
  const granted = scopeList(factory, 'scopes', scopes);
  if (!granted.some((scope) => ADMIN.test(scope))) return granted;
  throw badOption(factory, 'scopes', 'must not hold an admin scope, as callers need no credentials', scopes);
}
