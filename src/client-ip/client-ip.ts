import { type Address, checkIpv6Prefix, keyOf, parseAddress, remembered } from '../core/address.js';
import { checkExchange } from '../core/check-exchange.js';
import type { ClientIp, ClientIpReason } from '../core/client-ip.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import {
  badOption,
  boolean,
  callback,
  checkOptionNames,
  OptionError,
  type OptionNames,
  oneOf,
} from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { ignoreRejection } from '../core/thenable.js';
import { WORKERS_ADDRESS, workerKey } from './cloudflare.js';
import { hopsOf } from './forwarding-header.js';
import { forwardingWarnings } from './forwarding-warnings.js';
import { trustedRanges } from './trusted-range.js';

/** Headers that may name the client. */
export type ForwardingHeader = 'x-forwarded-for' | 'x-real-ip' | 'x-original-ip' | 'forwarded' | 'cf-connecting-ip';

/** The options of `clientIp`. */
export interface ClientIpOptions {
  /**
   * How requests from Cloudflare reach this service. `cloudflare`: directly, so its published ranges are trusted.
   * `cloudflared`: through a tunnel on this machine, so `loopback` is trusted. With either, `CF-Connecting-IP` names
   * the client if it appears exactly once. `trust` replaces the trusted ranges, and `headers` the header. Default none.
   */
  readonly preset?: 'cloudflare' | 'cloudflared' | undefined;
  /**
   * The proxies whose forwarding headers are believed: addresses, CIDR ranges, `loopback`, `linklocal`, `uniquelocal`,
   * `cloudflare`. Default none: the client is the peer of the socket.
   */
  readonly trust?: readonly string[] | undefined;
  /**
   * Whether an authenticated caller may name the client it acts for. If it returns true, one hop beyond the first
   * untrusted address is believed. Needs `authenticate` before this guard. Default: no caller.
   */
  readonly forwarder?: ((principal: Principal) => boolean) | undefined;
  /**
   * The forwarding headers, in order; the first one that is present counts. Default `x-forwarded-for`, and for a
   * forwarder `x-forwarded-for`, `x-real-ip`, `x-original-ip`. `forwarded` (RFC 7239) is read only if it is listed
   * here. List only headers that your proxy sets itself. Otherwise its clients can set them.
   */
  readonly headers?: readonly ForwardingHeader[] | undefined;
  /**
   * Whether a trusted proxy must name the client. If it does not, the request is refused with 400
   * `client-address-missing`. Otherwise the proxy itself counts as the client. A peer that is not trusted needs no
   * header. Default false, because programs on this machine may call the service without a proxy.
   */
  readonly requireHeader?: boolean;
  /** How many leading bits of an IPv6 address form the partition key, 32 to 128. Default 64. */
  readonly ipv6Prefix?: number | undefined;
  /** Whether a peer on a Unix socket is a trusted proxy. Default false. */
  readonly trustUnixSocket?: boolean | undefined;
}

const OPTIONS: OptionNames<ClientIpOptions> = {
  preset: true,
  trust: true,
  forwarder: true,
  headers: true,
  requireHeader: true,
  ipv6Prefix: true,
  trustUnixSocket: true,
};
const TRUSTED_BY_PRESET = { cloudflare: 'cloudflare', cloudflared: 'loopback' } as const;
const PROXY_HEADERS: readonly ForwardingHeader[] = ['x-forwarded-for'];
const FORWARDER_HEADERS: readonly ForwardingHeader[] = ['x-forwarded-for', 'x-real-ip', 'x-original-ip'];
const CLOUDFLARE_HEADERS: readonly ForwardingHeader[] = ['cf-connecting-ip'];
const ALL_HEADERS: readonly string[] = [...FORWARDER_HEADERS, 'forwarded', ...CLOUDFLARE_HEADERS];
const MAX_HOPS = 32;
const TOO_MANY_HEADERS = refuse(problem('headers-too-many'));
const ADDRESS_MISSING = refuse(problem('client-address-missing'));

/** The peer, or one entry of a forwarding header, parsed once and remembered. */
interface Hop {
  /** Undefined if the text is not an address. */
  readonly address: Address | undefined;
  readonly key: string;
  readonly trusted: boolean;
  /** The result if this hop is the peer and no forwarding header counts. Undefined if the text is not an address. */
  readonly asPeer: ClientIp | undefined;
}

/**
 * Determines the client's address and writes it to `exchange.clientIp`. A forwarding header is believed only if a
 * trusted proxy (`trust`) added it, or if the caller has authenticated as a `forwarder`. The entries are read from the
 * right, which is the end that the nearest proxy wrote. Reading stops at the first address that is not trusted. At an
 * entry that is not an address, the last verified address counts.
 *
 * Refuses a request with more header lines than the server reads, with 431 `headers-too-many`: the line of the proxy may
 * be among those that the server has dropped.
 *
 * ```ts
 * guard(clientIp({ trust: ['loopback', '10.0.0.0/8'] }))
 * ```
 * @throws OptionError that shows the bad value
 */
export function clientIp(options: ClientIpOptions = {}): Guard {
  checkOptionNames('clientIp', options, OPTIONS);
  const { forwarder, requireHeader = false, ipv6Prefix = 64, trustUnixSocket = false } = options;
  const preset =
    options.preset === undefined
      ? undefined
      : oneOf('clientIp', 'preset', options.preset, ['cloudflare', 'cloudflared']);
  checkIpv6Prefix('clientIp', ipv6Prefix);
  callback('clientIp', 'forwarder', forwarder);
  boolean('clientIp', 'trustUnixSocket', trustUnixSocket);
  boolean('clientIp', 'requireHeader', requireHeader);
  const configuredHeaders = checkedHeaders(options.headers);
  const proxyHeaders = configuredHeaders ?? (preset === undefined ? PROXY_HEADERS : CLOUDFLARE_HEADERS);
  const forwarderHeaders = configuredHeaders ?? FORWARDER_HEADERS;
  const defaultTrust = preset === undefined ? [] : [TRUSTED_BY_PRESET[preset]];
  const isTrusted = trustedRanges('clientIp', options.trust ?? defaultTrust);
  if (requireHeader && (options.trust ?? defaultTrust).length === 0 && !trustUnixSocket) {
    throw new OptionError('gatewarden: clientIp "requireHeader" needs "trust", "preset" or "trustUnixSocket"');
  }
  const warnings = forwardingWarnings(proxyHeaders);

  const hopOf = remembered((text): Hop => {
    const address = parseAddress(text);
    if (address === undefined) return { address, key: '', trusted: false, asPeer: undefined };
    const key = keyOf(address, ipv6Prefix);
    const asPeer: ClientIp = Object.freeze({ ip: address.ip, key, source: 'socket', reason: 'direct' });
    return { address, key, trusted: isTrusted(address), asPeer };
  });
  const unixSocket: Hop = {
    address: undefined,
    key: 'unix-socket',
    trusted: trustUnixSocket,
    asPeer: Object.freeze({ ip: undefined, key: 'unix-socket', source: 'socket', reason: 'no-address' }),
  };

  function resolve(exchange: Exchange): ClientIp {
    const { request, principal } = exchange;
    const peer = request.remoteAddress === undefined ? unixSocket : hopOf(request.remoteAddress);
    exchange.peerIsTrusted = peer.trusted;
    if (peer.asPeer === undefined) throw new Error('gatewarden: clientIp could not parse the address of the socket');
    const answer: unknown = principal === undefined ? undefined : forwarder?.(principal);
    ignoreRejection(answer);
    const isForwarder = answer === true;
    if (!peer.trusted && !isForwarder) {
      warnings.ignoredHeader(request, peer.address?.ip);
      return peer.asPeer;
    }

    for (const name of isForwarder ? forwarderHeaders : proxyHeaders) {
      const lines = request.fieldLines(name);
      if (lines.length > 0) return walk(peer, isForwarder, name, hopsOf(name, lines, MAX_HOPS + 1));
    }
    return peer.asPeer;
  }

  /** Whether the proxies of this request have named no client, so that one of them would count as the client. */
  function isProxy({ ip, source, reason }: ClientIp): boolean {
    return source === 'socket' || (reason === 'malformed' && ip !== undefined && hopOf(ip).trusted);
  }

  function walk(peer: Hop, isForwarder: boolean, header: ForwardingHeader, entries: readonly string[]): ClientIp {
    let current = peer;
    let hops = 0;
    for (const entry of entries) {
      const namedByForwarder = !current.trusted;
      if (namedByForwarder && !isForwarder) return clientIpOf(current, hops, header, 'untrusted');
      const next = hopOf(entry);
      if (next.address === undefined || hops === MAX_HOPS) return clientIpOf(current, hops, header, 'malformed');
      current = next;
      hops++;
      if (namedByForwarder) return clientIpOf(current, hops, header, 'forwarder');
    }
    return clientIpOf(current, hops, header, current.trusted ? 'all-trusted' : 'untrusted');
  }

  const order = forwarder === undefined ? {} : { after: { authenticate: '"forwarder" is asked about the principal' } };
  return inOrder(
    function clientIp(exchange: Exchange): Reply | undefined {
      checkExchange('clientIp', exchange);
      if (exchange.request.headersTruncated === true) return TOO_MANY_HEADERS;
      const client = resolve(exchange);
      if (requireHeader && exchange.peerIsTrusted && isProxy(client)) {
        warnings.missingHeader(client.ip);
        return ADDRESS_MISSING;
      }
      const isWorker = client.source === 'cf-connecting-ip' && client.ip === WORKERS_ADDRESS;
      exchange.clientIp = isWorker ? { ...client, key: workerKey(exchange.request) } : client;
      return undefined;
    },
    { name: 'clientIp', ...order },
  );
}

function checkedHeaders(headers: readonly ForwardingHeader[] | undefined): readonly ForwardingHeader[] | undefined {
  if (headers === undefined) return undefined;
  if (!Array.isArray(headers) || headers.length === 0) {
    throw badOption('clientIp', 'headers', `must list one or more of ${ALL_HEADERS.join(', ')}`, headers);
  }
  for (const name of headers) {
    if (!ALL_HEADERS.includes(name)) {
      throw badOption('clientIp', 'headers', `must list one or more of ${ALL_HEADERS.join(', ')}`, name);
    }
  }
  return [...headers];
}

function clientIpOf(hop: Hop, hops: number, header: ForwardingHeader, reason: ClientIpReason): ClientIp {
  return { ip: hop.address?.ip, key: hop.key, source: hops === 0 ? 'socket' : header, reason };
}
