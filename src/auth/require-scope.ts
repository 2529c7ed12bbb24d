import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { principalOf } from '../core/principal.js';
import { problem } from '../core/problem.js';
import { refuse } from '../core/reply.js';
import { challenge, checkRealm } from './challenge.js';
import { isScope } from './scope.js';

/** What `requireScope` takes beside the scopes. */
export interface RequireScopeOptions {
  /** As in `authenticate`. Default `api`. */
  readonly realm?: string;
}

/**
 * Lets a principal pass that has all of these scopes, and refuses any other with 403 `scope-insufficient` and the error
 * `insufficient_scope` (RFC 6750 section 3.1). Without an `authenticate` before it, it is a fault.
 *
 * ```ts
 * guard(authenticate(apiKeys({ keys })), requireScope('admin'))
 * ```
 * @throws OptionError for no scope, or one that is no scope token
 */
export function requireScope(scopes: string | readonly string[], options: RequireScopeOptions = {}): Guard {
  checkOptionNames('requireScope', options, ['realm']);
  const needed: readonly string[] = typeof scopes === 'string' ? [scopes] : scopes;
  if (!Array.isArray(needed) || needed.length === 0 || !needed.every(isScope)) {
    throw badOption('requireScope', 'scopes', 'must be a scope (RFC 6749 section 3.3) or a list of them', scopes);
  }
  const { realm = 'api' } = options;
  checkRealm('requireScope', realm);
  const refusal = refuse(problem('scope-insufficient'), [
    ['WWW-Authenticate', challenge('Bearer', realm, 'insufficient_scope', needed.join(' '))],
  ]);

  return function requireScope(exchange) {
    const { id: clientId, scheme, credentialId, scopes: granted } = principalOf(exchange);
    for (const scope of needed) {
      if (granted.includes(scope)) continue;
      exchange.authenticationListener?.(
        { outcome: 'refused', reason: 'insufficient scope', scheme, credentialId, clientId },
        exchange,
      );
      return refusal;
    }
    return undefined;
  };
}
