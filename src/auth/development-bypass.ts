import { badOption, checkOptionNames, OptionError } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { ABSENT, type Authenticator } from './authenticator.js';
import { openScopes } from './scope.js';

/** What `developmentBypass` takes. */
export interface DevelopmentBypassOptions {
  readonly enabled: boolean;
  /** `principal.id` of whoever is let in. Default `development`. */
  readonly clientId?: string;
  /** Scopes of that principal; `admin` and what begins with it cannot be bypassed. Default none. */
  readonly scopes?: readonly string[];
  /** Where to look for `NODE_ENV` and `ENVIRONMENT`. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const NOT_IN = /^\s*prod/i;

/**
 * Lets in callers without credentials while a service is being developed. Where it stands beside other authenticators,
 * bad credentials are still refused. The principal is marked `bypassed`. Warns at start when enabled.
 *
 * ```ts
 * authenticate(key ? apiKeys({ keys: [key] }) : developmentBypass({ enabled: process.env.ENVIRONMENT === 'development' }))
 * ```
 * @throws OptionError when enabled while `NODE_ENV` or `ENVIRONMENT` says production, and for an admin scope
 */
export function developmentBypass(options: DevelopmentBypassOptions): Authenticator {
  checkOptionNames('developmentBypass', options, ['enabled', 'clientId', 'scopes', 'env']);
  const { enabled, clientId = 'development', scopes = [], env = process.env } = options;
  if (typeof enabled !== 'boolean') throw badOption('developmentBypass', 'enabled', 'must be true or false', enabled);
  if (typeof clientId !== 'string' || clientId === '') {
    throw badOption('developmentBypass', 'clientId', 'must be a non-empty string', clientId);
  }
  const granted = openScopes('developmentBypass', scopes);
  for (const name of ['NODE_ENV', 'ENVIRONMENT']) {
    if (enabled && NOT_IN.test(env[name] ?? '')) {
      throw new OptionError(
        `gatewarden: developmentBypass must not be enabled in production, which ${name} says this is`,
      );
    }
  }
  if (enabled) {
    process.emitWarning('developmentBypass lets callers in without credentials', {
      code: 'GATEWARDEN_DEVELOPMENT_BYPASS',
    });
  }
  const principal: Principal | undefined = enabled
    ? Object.freeze({
        id: clientId,
        scheme: 'development-bypass',
        scopes: granted,
        credentialId: 'none',
        bypassed: true,
      })
    : undefined;

  return {
    scheme: 'development-bypass',
    challenge: 'Bearer',
    read: () => ABSENT,
    verify: () => ABSENT,
    anonymous: () => principal,
  };
}
