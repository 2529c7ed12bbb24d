import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { checkOptionNames, type OptionNames } from '../core/option.js';
import { principalOf } from '../core/principal.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { challenge, checkRealm, repliesByMetadata } from './challenge.js';
import { checkUrl } from './protected-resource.js';
import { requiredScopes } from './scope.js';

/** Options of `requireScope`. */
export interface RequireScopeOptions {
  /** The same realm as in `authenticate`. Default `api`. */
  readonly realm?: string | undefined;
  /** The same as in `authenticate`. Default: that of a `protectedResource` guard before, if there is one. */
  readonly resourceMetadata?: string | undefined;
}

const OPTIONS: OptionNames<RequireScopeOptions> = { realm: true, resourceMetadata: true };

/**
 * Admits a principal that has all of these scopes. Any other principal is refused with 403 `scope-insufficient` and the
 * error `insufficient_scope` (RFC 6750 section 3.1). Put it after `authenticate`; without a principal it is a fault
 * (500).
 *
 * ```ts
 * guard(authenticate(apiKeys({ keys })), requireScope('admin'))
 * ```
 * @throws OptionError if there is no scope, or one is not a scope token (RFC 6749 section 3.3)
 */
export function requireScope(scopes: string | readonly string[], options: RequireScopeOptions = {}): Guard {
  checkOptionNames('requireScope', options, OPTIONS);
  const required = requiredScopes('requireScope', 'scopes', scopes);
  const { realm = 'api', resourceMetadata } = options;
  checkRealm('requireScope', realm);
  if (resourceMetadata !== undefined) checkUrl('resourceMetadata', resourceMetadata, 'requireScope');
  const refusalFor = repliesByMetadata((found) =>
    refuse(problem('scope-insufficient'), [
      [
        'WWW-Authenticate',
        challenge('Bearer', realm, {
          error: 'insufficient_scope',
          scopes: required,
          resourceMetadata: resourceMetadata ?? found?.url,
        }),
      ],
    ]),
  );

  return inOrder(
    function requireScope(exchange: Exchange): Reply | undefined {
      checkExchange('requireScope', exchange);
      const { id: clientId, scheme, credentialId, scopes: granted } = principalOf(exchange);
      for (const scope of required) {
        if (granted.includes(scope)) continue;
        exchange.authenticationListener?.(
          { outcome: 'refused', reason: 'insufficient scope', scheme, credentialId, clientId },
          exchange,
        );
        return refusalFor(exchange.resourceMetadata);
      }
      return undefined;
    },
    { name: 'requireScope', after: { authenticate: 'scopes belong to a principal' } },
  );
}
