import { badOption, badSecret } from '../core/option.js';

/** `scope-token` of RFC 6749 section 3.3: printable ASCII without space, `"` and `\`. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const RULE = 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)';

/** Scopes that a principal without credentials never gets. */
const ADMIN = /^admin/i;

export function isScope(value: unknown): value is string {
  return typeof value === 'string' && SCOPE.test(value);
}

/**
 * A frozen copy of an option's list of scopes.
 * @throws OptionError for anything else: `['a b']` would never match a required scope
 */
export function scopeList(factory: string, option: string, scopes: unknown = []): readonly string[] {
  const checked = checkedScopes(scopes);
  if (checked === undefined) throw badOption(factory, option, RULE, scopes);
  return checked;
}

/** `scopeList` for an option that may hold a secret by mistake: the error does not show the value. */
export function unshownScopeList(factory: string, option: string, scopes: unknown = []): readonly string[] {
  const checked = checkedScopes(scopes);
  if (checked === undefined) throw badSecret(factory, option, RULE);
  return checked;
}

/**
 * `scopeList` for a principal without credentials.
 * @throws OptionError also for a scope that begins with `admin`, in any case
 */
export function openScopes(factory: string, option: string, scopes: unknown = []): readonly string[] {
  const granted = scopeList(factory, option, scopes);
  if (!granted.some((scope) => ADMIN.test(scope))) return granted;
  throw badOption(factory, option, 'must not include an admin scope, because callers need no credentials', scopes);
}

/**
 * The scopes that a guard requires: one scope or a list of them, at least one.
 * @throws OptionError
 */
export function requiredScopes(factory: string, option: string, scopes: unknown): readonly string[] {
  const checked = checkedScopes(typeof scopes === 'string' ? [scopes] : scopes);
  if (checked === undefined || checked.length === 0) {
    throw badOption(factory, option, 'must be a scope or a list of scopes (RFC 6749 section 3.3)', scopes);
  }
  return checked;
}

function checkedScopes(scopes: unknown): readonly string[] | undefined {
  return Array.isArray(scopes) && scopes.every(isScope) ? Object.freeze([...scopes]) : undefined;
}
