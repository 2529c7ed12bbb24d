import { boolean, checkOptionNames, OptionError, type OptionNames, text } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { warn } from '../core/warning.js';
import { ABSENT, type Authenticator } from './authenticator.js';
import { openScopes } from './scope.js';

/** Options of `developmentBypass`. */
export interface DevelopmentBypassOptions {
  /** Whether requests without credentials are admitted. */
  readonly enabled: boolean;
  /** `principal.id` of such requests. Default `development`. */
  readonly clientId?: string | undefined;
  /** Scopes of the principal. A scope that begins with `admin` is refused. Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** The environment to read `NODE_ENV` and `ENVIRONMENT` from. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

const FACTORY = 'developmentBypass';
const OPTIONS: OptionNames<DevelopmentBypassOptions> = { enabled: true, clientId: true, scopes: true, env: true };
const PRODUCTION = /^\s*prod/i;

/**
 * Admits requests without credentials while a service is being developed. Next to other authenticators, invalid
 * credentials are still refused. The principal is marked `bypassed`. When enabled, it emits the warning
 * `GATEWARDEN_DEVELOPMENT_BYPASS` at start.
 *
 * ```ts
 * authenticate(key ? apiKeys({ keys: [key] }) : developmentBypass({ enabled: process.env.ENVIRONMENT === 'development' }))
 * ```
 * @throws OptionError if it is enabled while `NODE_ENV` or `ENVIRONMENT` says production, or for an admin scope
 */
export function developmentBypass(options: DevelopmentBypassOptions): Authenticator {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { enabled, clientId = 'development', scopes, env = process.env } = options;
  boolean(FACTORY, 'enabled', enabled);
  text(FACTORY, 'clientId', clientId);
  const granted = openScopes(FACTORY, 'scopes', scopes);
  for (const name of ['NODE_ENV', 'ENVIRONMENT']) {
    if (enabled && PRODUCTION.test(env[name] ?? '')) {
      throw new OptionError(
        `gatewarden: ${FACTORY} must not be enabled in production, and ${name} says production; set "enabled" to false`,
      );
    }
  }
  if (enabled) {
    warn('developmentBypass admits callers without credentials; disable it in production', {
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
