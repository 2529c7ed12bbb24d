import { type Address, checkIpv6Prefix, keyOf, parseAddress, remembered } from '../core/address.js';
import type { ClientIp, ClientIpReason } from '../core/client-ip.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames, oneOf } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import type { RequestView } from '../core/request-view.js';
import { ignoreRejection } from '../core/thenable.js';
import { WORKERS_ADDRESS, workerKey } from './cloudflare.js';
import { hopsOf } from './forwarding-header.js';
import { trustedRanges } from './trusted-range.js';

/** Headers that may name the caller. */
export type ForwardingHeader = 'x-forwarded-for' | 'x-real-ip' | 'x-original-ip' | 'forwarded' | 'cf-connecting-ip';

/** What `clientIp` takes. */
export interface ClientIpOptions {
  /**
   * Where Cloudflare stands. `cloudflare`: in front of this service itself; its published ranges are trusted. `cloudflared`:
   * a tunnel ends on this machine; `loopback` is trusted. Either way `CF-Connecting-IP` names the client, where it comes
   * once; `trust` takes the place of what is trusted, and `headers` of the header.
   */
  readonly preset?: 'cloudflare' | 'cloudflared';
  /**
   * Proxies whose word is taken: addresses, CIDR ranges, `loopback`, `linklocal`, `uniquelocal`, `cloudflare`. Default
   * none: the client is whoever holds the socket.
   */
  readonly trust?: readonly string[];
  /**
   * Which authenticated callers may name the client they act for: one hop beyond the first untrusted address is then
   * believed. Needs an `authenticate` before this guard. Default nobody.
   */
  readonly forwarder?: (principal: Principal) => boolean;
  /**
   * Where to look, in order; the first header present is taken. Default `x-forwarded-for`; for a forwarder
   * `x-forwarded-for`, `x-real-ip`, `x-original-ip`. `forwarded` (RFC 7239) only where it is named here. Name none that
   * your proxy does not set itself, or its clients can.
   */
  readonly headers?: readonly ForwardingHeader[];
  /** How many leading bits of an IPv6 address make the partition key, 32 to 128. Default 64. */
  readonly ipv6Prefix?: number;
  /** Whether a peer on a Unix socket counts as a trusted proxy. Default false. */
  readonly trustUnixSocket?: boolean;
}

const TRUSTED_BY = { cloudflare: 'cloudflare', cloudflared: 'loopback' } as const;
const PROXY_HEADERS: readonly ForwardingHeader[] = ['x-forwarded-for'];
const FORWARDER_HEADERS: readonly ForwardingHeader[] = ['x-forwarded-for', 'x-real-ip', 'x-original-ip'];
const CLOUDFLARE_HEADERS: readonly ForwardingHeader[] = ['cf-connecting-ip'];
const KNOWN_HEADERS: readonly string[] = [...FORWARDER_HEADERS, 'forwarded', ...CLOUDFLARE_HEADERS];
const OPTIONS = ['preset', 'trust', 'forwarder', 'headers', 'ipv6Prefix', 'trustUnixSocket'];
const MAX_HOPS = 32;

/** What a text says about an address, worked out once. */
interface Hop {
  /** Undefined: not an address. */
  readonly address: Address | undefined;
  readonly key: string;
  readonly trusted: boolean;
  /** The answer where this hop is the socket's own and no header is to be believed: ready made. */
  readonly direct: ClientIp | undefined;
}

/**
 * Finds out who is calling and writes `exchange.clientIp`. A forwarding header is believed on two grounds only: the hop
 * that added it is a trusted proxy (`trust`), or the caller has authenticated as a `forwarder`. The walk goes from the
 * right, the end that the nearest proxy wrote, and stops at the first address that is not trusted; an entry that is no
 * address stops it at the last one verified.
 *
 * ```ts
 * guard(clientIp({ trust: ['loopback', '10.0.0.0/8'] }))
 * ```
 * @throws OptionError naming the bad value
 */
export function clientIp(options: ClientIpOptions = {}): Guard {
  checkOptionNames('clientIp', options, OPTIONS);
  const { forwarder, ipv6Prefix = 64, trustUnixSocket = false } = options;
  const preset =
    options.preset === undefined
      ? undefined
      : oneOf('clientIp', 'preset', options.preset, ['cloudflare', 'cloudflared']);
  checkIpv6Prefix('clientIp', ipv6Prefix);
  if (forwarder !== undefined && typeof forwarder !== 'function') {
    throw badOption('clientIp', 'forwarder', 'must be a function of the principal', forwarder);
  }
  if (typeof trustUnixSocket !== 'boolean') {
    throw badOption('clientIp', 'trustUnixSocket', 'must be true or false', trustUnixSocket);
  }
  const named = checkedHeaders(options.headers);
  const proxyHeaders = named ?? (preset === undefined ? PROXY_HEADERS : CLOUDFLARE_HEADERS);
  const forwarderHeaders = named ?? FORWARDER_HEADERS;
  const isTrusted = trustedRanges('clientIp', options.trust ?? (preset === undefined ? [] : [TRUSTED_BY[preset]]));
  let warned = false;

  const hop = remembered((text): Hop => {
    const address = parseAddress(text);
    if (address === undefined) return { address, key: '', trusted: false, direct: undefined };
    const key = keyOf(address, ipv6Prefix);
    const direct: ClientIp = Object.freeze({ ip: address.ip, key, source: 'socket', reason: 'direct' });
    return { address, key, trusted: isTrusted(address), direct };
  });
  const unixSocket: Hop = {
    address: undefined,
    key: 'unix-socket',
    trusted: trustUnixSocket,
    direct: Object.freeze({ ip: undefined, key: 'unix-socket', source: 'socket', reason: 'no-address' }),
  };

  function resolve(exchange: Exchange): ClientIp {
    const { request, principal } = exchange;
    const peer = request.remoteAddress === undefined ? unixSocket : hop(request.remoteAddress);
    exchange.peerIsTrusted = peer.trusted;
    if (peer.direct === undefined) throw new Error('gatewarden: the socket has an address that is not one');
    const vouched = principal === undefined ? undefined : forwarder?.(principal);
    ignoreRejection(vouched);
    const mayForward = vouched === true;
    if (!peer.trusted && !mayForward) {
      if (!warned) warnOfStranger(request);
      return peer.direct;
    }

    for (const name of mayForward ? forwarderHeaders : proxyHeaders) {
      const lines = request.fieldLines(name);
      if (lines.length > 0) return walk(peer, mayForward, name, hopsOf(name, lines, MAX_HOPS + 1));
    }
    return peer.direct;
  }

  /** A proxy that is not in `trust`, or somebody who tries: once, for whoever tries could fill the log. */
  function warnOfStranger(request: RequestView): void {
    const name = proxyHeaders.find((header) => request.fieldLines(header).length > 0);
    if (name === undefined) return;
    warned = true;
    process.emitWarning(`clientIp does not believe ${name} from a peer that it does not trust: see "trust"`, {
      code: 'GATEWARDEN_UNTRUSTED_FORWARDING',
    });
  }

  function walk(peer: Hop, mayForward: boolean, source: ForwardingHeader, entries: readonly string[]): ClientIp {
    let current = peer;
    let hops = 0;
    for (const entry of entries) {
      const vouched = !current.trusted;
      if (vouched && !mayForward) return found(current, hops, source, 'untrusted');
      const next = hop(entry);
      if (next.address === undefined || hops === MAX_HOPS) return found(current, hops, source, 'malformed');
      current = next;
      hops++;
      if (vouched) return found(current, hops, source, 'forwarder');
    }
    return found(current, hops, source, current.trusted ? 'all-trusted' : 'untrusted');
  }

  return function clientIp(exchange) {
    const found = resolve(exchange);
    const shared = found.source === 'cf-connecting-ip' && found.ip === WORKERS_ADDRESS;
    exchange.clientIp = shared ? { ...found, key: workerKey(exchange.request) } : found;
    return undefined;
  };
}

function checkedHeaders(headers: readonly ForwardingHeader[] | undefined): readonly ForwardingHeader[] | undefined {
  if (headers === undefined) return undefined;
  if (!Array.isArray(headers) || headers.length === 0) {
    throw badOption('clientIp', 'headers', 'must be a list of header names', headers);
  }
  for (const name of headers) {
    if (!KNOWN_HEADERS.includes(name)) {
      throw badOption('clientIp', 'headers', `may hold ${KNOWN_HEADERS.join(', ')}`, name);
    }
  }
  return [...headers];
}

function found(hop: Hop, hops: number, header: ForwardingHeader, reason: ClientIpReason): ClientIp {
  return { ip: hop.address?.ip, key: hop.key, source: hops === 0 ? 'socket' : header, reason };
}
