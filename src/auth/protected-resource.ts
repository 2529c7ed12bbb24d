import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, checkOptionNames, type OptionNames, text } from '../core/option.js';
import { jsonReply, type Reply } from '../core/reply.js';
import { scopeList } from './scope.js';

/** Options of `protectedResource`. */
export interface ProtectedResourceOptions {
  /**
   * The URL of the service or of a part of it, as clients know it, such as `https://api.example.com/mcp`. Tokens for it
   * have this URL as their audience.
   */
  readonly resource: string;
  /** The issuers whose tokens the service accepts, such as `https://auth.example.com`. At least one. */
  readonly authorizationServers: readonly string[];
  /** The scopes that clients may ask for. Default: none are named. */
  readonly scopes?: readonly string[] | undefined;
  /** A name for people. Default none. */
  readonly name?: string | undefined;
  /** The URL of a page for developers. Default none. */
  readonly documentation?: string | undefined;
}

/** Made by `protectedResource`. */
export interface ProtectedResource extends Guard {
  /** The URL of the metadata, for `authenticate({ resourceMetadata })` if the guard itself is elsewhere. */
  readonly metadataUrl: string;
}

const FACTORY = 'protectedResource';
const OPTIONS: OptionNames<ProtectedResourceOptions> = {
  resource: true,
  authorizationServers: true,
  scopes: true,
  name: true,
  documentation: true,
};
const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const LOCAL_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];
/** The scheme and authority of a request target in absolute form (RFC 9112 section 3.2.2), and a query. */
const NOT_PATH = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?]*|\?.*$/g;

/**
 * Tells clients how they get a token for this service (RFC 9728), as MCP clients expect it. The guard serves the metadata
 * at `/.well-known/oauth-protected-resource`, followed by the path of `resource`. In the challenges of every `authenticate`
 * and `requireScope` after it, bearer schemes name the URL of the metadata (`resource_metadata`) and the scopes (`scope`).
 * Put it before `authenticate` and before the routes, because the metadata must be readable without a token.
 *
 * ```ts
 * app.use(
 *   guard(
 *     protectedResource({
 *       resource: 'https://api.example.com/mcp',
 *       authorizationServers: ['https://auth.example.com'],
 *       scopes: ['generate'],
 *     }),
 *   ),
 * )
 * ```
 * @throws OptionError for a URL that is not https, or http on this machine, or has a query or a fragment
 */
export function protectedResource(options: ProtectedResourceOptions): ProtectedResource {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { resource, authorizationServers, name, documentation } = options;
  const { origin, pathname } = checkUrl('resource', resource);
  if (!Array.isArray(authorizationServers) || authorizationServers.length === 0) {
    throw badOption(FACTORY, 'authorizationServers', 'must be a list of at least one URL', authorizationServers);
  }
  authorizationServers.forEach((server, i) => void checkUrl(`authorizationServers[${i}]`, server));
  const scopes = scopeList(FACTORY, 'scopes', options.scopes);
  if (name !== undefined) text(FACTORY, 'name', name);
  if (documentation !== undefined) checkUrl('documentation', documentation);
  // RFC 9728 section 3.1: a slash that ends the authority goes, that of a longer path stays.
  const path = WELL_KNOWN + (pathname === '/' ? '' : pathname);
  const metadataUrl = origin + path;
  const metadata = Object.freeze({ url: metadataUrl, scopes });
  const reply = jsonReply(
    200,
    {
      resource,
      authorization_servers: [...authorizationServers],
      ...(scopes.length === 0 ? {} : { scopes_supported: scopes }),
      bearer_methods_supported: ['header'],
      ...(name === undefined ? {} : { resource_name: name }),
      ...(documentation === undefined ? {} : { resource_documentation: documentation }),
    },
    [['Cache-Control', 'public, max-age=3600']],
  );

  function protectedResource(exchange: Exchange): Reply | undefined {
    checkExchange('protectedResource', exchange);
    exchange.resourceMetadata = metadata;
    const { method, url } = exchange.request;
    if (!url.includes(WELL_KNOWN) || url.replace(NOT_PATH, '') !== path) return undefined;
    return method === 'GET' || method === 'HEAD' ? reply : undefined;
  }
  const guard = Object.assign(protectedResource, { metadataUrl });
  const why = 'the metadata must be readable without a token, and challenges must name it';
  return inOrder(guard, { name: FACTORY, before: { authenticate: why } });
}

/** Checks the URL of a resource, an issuer or its metadata (RFC 9728 section 1.2, RFC 8414 section 2). @throws OptionError */
export function checkUrl(option: string, value: unknown, factory = FACTORY): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const isHttp = url?.protocol === 'http:' && LOCAL_HOSTS.includes(url.hostname);
  if (url === undefined || !(url.protocol === 'https:' || isHttp)) {
    throw badOption(factory, option, 'must be a URL with https, or with http on this machine', value);
  }
  if (/[?#\s]/.test(String(value)) || url.username !== '' || url.password !== '') {
    // Not shown: it may have a password.
    throw badOption(factory, option, 'must not have a query, a fragment, white space or credentials', url.origin);
  }
  return url;
}
