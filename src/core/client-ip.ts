/** Who is calling, as far as it could be verified. */
export interface ClientIp {
  /** Canonical text of the address: IPv4-mapped folded to IPv4, no port, no zone. Absent without a socket address. */
  readonly ip: string | undefined;
  /** Partition key for limits: the IPv4 address, or the IPv6 prefix (a /64 unless set otherwise). */
  readonly key: string;
  /** `socket`, or the header that named the address. */
  readonly source: string;
  readonly reason: ClientIpReason;
}

/**
 * Why the resolver stopped where it did.
 * - `direct`: the address is the socket's own; no forwarding header had to be believed.
 * - `untrusted`: the first address, from the right, that is not a trusted proxy.
 * - `forwarder`: named by a caller who has authenticated as one that may forward.
 * - `all-trusted`: every address on the way is a trusted proxy; this is the leftmost.
 * - `malformed`: the next entry is no address, or there are too many; this is the last one verified.
 * - `no-address`: the socket has none (a Unix socket).
 */
export type ClientIpReason = 'direct' | 'untrusted' | 'forwarder' | 'all-trusted' | 'malformed' | 'no-address';
