import { isIPv4 } from 'node:net';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { refuse } from '../core/reply.js';
import { type Authority, parseAuthority } from './authority.js';

/** What `trustedHosts` takes. */
export interface TrustedHostsOptions {
  /**
   * Names under which this service is called: `api.example.com`, `*.example.com` for all its subdomains, `127.0.0.1`,
   * `[::1]`. With a port, such as `api.example.com:8443`, that port only; without one, any. Behind a proxy that ends TLS
   * name no default port: a `Host` without one means port 80 where the socket itself has no TLS.
   */
  readonly hosts: readonly string[];
  /**
   * Whether a trusted proxy may name the host in `X-Forwarded-Host`, which then counts instead of `Host`. Needs
   * `clientIp({ trust })` before this guard. A port counts there only where it is written. Default false.
   */
  readonly forwardedHost?: boolean;
}

const REFUSED = refuse(problem('host-untrusted'));
/** What the URL standard takes for an IPv4 address ("ends in a number"): browsers send it in another form, or not at all. */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;
const ABSOLUTE_TARGET = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/;

/**
 * Refuses requests that were sent under another name with 400 `host-untrusted`: pages of a foreign site whose name leads
 * to this machine (DNS rebinding), and links or caches poisoned by a false `Host`. `Host` must be there once, and agree
 * with a target in absolute form (RFC 9112 sections 3.2 and 3.2.2). Case, a dot at the end, and default ports make no
 * difference.
 *
 * ```ts
 * guard(trustedHosts({ hosts: ['localhost', '127.0.0.1', '[::1]'] }))
 * ```
 * @throws OptionError for an empty list, or an entry that is no host
 */
export function trustedHosts(options: TrustedHostsOptions): Guard {
  checkOptionNames('trustedHosts', options, ['hosts', 'forwardedHost']);
  const { hosts, forwardedHost = false } = options;
  if (typeof forwardedHost !== 'boolean') {
    throw badOption('trustedHosts', 'forwardedHost', 'must be true or false', forwardedHost);
  }
  if (!Array.isArray(hosts) || hosts.length === 0) {
    throw badOption('trustedHosts', 'hosts', 'must be a list of at least one host', hosts);
  }
  const known = hosts.map(trustedHost);

  /** The host by which the client called, if the request says it clearly. */
  function calledBy({ request, peerIsTrusted }: Exchange): Authority | undefined {
    const lines = request.fieldLines('host');
    // HTTP/2 has its own field for it.
    const [named] = lines.length === 0 ? request.fieldLines(':authority') : lines;
    if (lines.length > 1 || named === undefined) return undefined;
    const defaultPort = request.encrypted ? 443 : 80;
    const host = parseAuthority(named, defaultPort);
    const target = ABSOLUTE_TARGET.exec(request.url);
    if (target !== null) {
      const own = parseAuthority(target[1] ?? '', defaultPort);
      if (own === undefined || own.name !== host?.name || own.port !== host.port) return undefined;
    }
    if (host === undefined || !forwardedHost || !peerIsTrusted) return host;
    const forwarded = request.fieldLines('x-forwarded-host');
    if (forwarded.length === 0) return host;
    // Several would be those of several proxies: which of them to believe nobody has said.
    return forwarded.length === 1 ? parseAuthority(forwarded[0] ?? '', undefined) : undefined;
  }

  return function trustedHosts(exchange) {
    const host = calledBy(exchange);
    if (host === undefined) return REFUSED;
    for (const isIt of known) if (isIt(host)) return undefined;
    return REFUSED;
  };
}

function trustedHost(entry: string): (host: Authority) => boolean {
  const wildcard = typeof entry === 'string' && entry.startsWith('*.');
  const parsed = typeof entry === 'string' ? parseAuthority(wildcard ? entry.slice(2) : entry, undefined) : undefined;
  if (parsed === undefined || !isName(parsed.name, wildcard)) {
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

/** Addresses have no subdomains, and one form only. */
function isName(name: string, wildcard: boolean): boolean {
  if (name.startsWith('[')) return !wildcard;
  return !ENDS_IN_NUMBER.test(name) || (!wildcard && isIPv4(name));
}
