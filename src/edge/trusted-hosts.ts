import { isIPv4 } from 'node:net';
import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { badOption, boolean, checkOptionNames, type OptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { refuse } from '../core/reply.js';
import { type Authority, parseAuthority } from './authority.js';

/** The options of `trustedHosts`. */
export interface TrustedHostsOptions {
  /**
   * The hosts that this service serves, such as `api.example.com`, `*.example.com` (all subdomains), `127.0.0.1` or
   * `[::1]`. `api.example.com:8443` allows that port only; without a port, any port is allowed. Behind a proxy that
   * terminates TLS, do not write a default port: on a socket without TLS, a `Host` without a port means port 80.
   */
  readonly hosts: readonly string[];
  /**
   * Whether `X-Forwarded-Host` from a trusted proxy replaces `Host`. Needs `clientIp({ trust: [...] })` before this
   * guard. `X-Forwarded-Host` has no default port. Default false.
   */
  readonly forwardedHost?: boolean | undefined;
}

const OPTIONS: OptionNames<TrustedHostsOptions> = { hosts: true, forwardedHost: true };
const REFUSED = refuse(problem('host-untrusted'));
/**
 * The URL standard parses such a host as an IPv4 address ("ends in a number"). Browsers send it as four numbers or
 * refuse it.
 */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;
const ABSOLUTE_TARGET = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/;

/**
 * Refuses requests for any other host with 400 `host-untrusted`. This prevents DNS rebinding, in which the name of a
 * foreign site resolves to this machine, and links or caches that are poisoned by a false `Host`. `Host` must appear
 * once and agree with a target in absolute form (RFC 9112 sections 3.2 and 3.2.2). Case, a trailing dot and default
 * ports make no difference.
 *
 * ```ts
 * guard(trustedHosts({ hosts: ['localhost', '127.0.0.1', '[::1]'] }))
 * ```
 * @throws OptionError for an empty list, or an entry that is not a host
 */
export function trustedHosts(options: TrustedHostsOptions): Guard {
  checkOptionNames('trustedHosts', options, OPTIONS);
  const { hosts, forwardedHost = false } = options;
  boolean('trustedHosts', 'forwardedHost', forwardedHost);
  if (!Array.isArray(hosts) || hosts.length === 0) {
    throw badOption('trustedHosts', 'hosts', "must be a list of at least one host, such as ['api.example.com']", hosts);
  }
  const matchers = hosts.map(hostMatcher);

  /** The requested host. Undefined if the request does not name exactly one. */
  function requestedHost({ request, peerIsTrusted }: Exchange): Authority | undefined {
    const lines = request.fieldLines('host');
    // HTTP/2 sends the host in `:authority` (RFC 9113 section 8.3.1).
    const [hostLine] = lines.length === 0 ? request.fieldLines(':authority') : lines;
    if (lines.length > 1 || hostLine === undefined) return undefined;
    const defaultPort = request.encrypted ? 443 : 80;
    const host = parseAuthority(hostLine, defaultPort);
    const target = ABSOLUTE_TARGET.exec(request.url);
    if (target !== null) {
      const targetHost = parseAuthority(target[1] ?? '', defaultPort);
      if (targetHost === undefined || targetHost.name !== host?.name || targetHost.port !== host.port) return undefined;
    }
    if (host === undefined || !forwardedHost || !peerIsTrusted) return host;
    const forwarded = request.fieldLines('x-forwarded-host');
    if (forwarded.length === 0) return host;
    // Several lines may come from several proxies, and it is not configured which of them counts.
    return forwarded.length === 1 ? parseAuthority(forwarded[0] ?? '', undefined) : undefined;
  }

  return named('trustedHosts', (exchange) => {
    checkExchange('trustedHosts', exchange);
    const host = requestedHost(exchange);
    if (host === undefined) return REFUSED;
    for (const matches of matchers) if (matches(host)) return undefined;
    return REFUSED;
  });
}

function hostMatcher(entry: string): (host: Authority) => boolean {
  const wildcard = typeof entry === 'string' && entry.startsWith('*.');
  const parsed = typeof entry === 'string' ? parseAuthority(wildcard ? entry.slice(2) : entry, undefined) : undefined;
  if (parsed === undefined || !isAllowedName(parsed.name, wildcard)) {
    throw badOption(
      'trustedHosts',
      'hosts',
      "must hold hosts such as 'api.example.com', '*.example.com' or '[::1]'",
      entry,
    );
  }
  const { name, port } = parsed;
  const suffix = `.${name}`;
  return (host) =>
    (wildcard ? host.name.endsWith(suffix) : host.name === name) && (port === undefined || host.port === port);
}

/** Addresses have no subdomains, and are accepted in canonical form only. */
function isAllowedName(name: string, wildcard: boolean): boolean {
  if (name.startsWith('[')) return !wildcard;
  return !ENDS_IN_NUMBER.test(name) || (!wildcard && isIPv4(name));
}
