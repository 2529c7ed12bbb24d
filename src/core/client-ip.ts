/** The caller's address, as far as it could be verified. */
export interface ClientIp {
  /** The address in canonical form: IPv4-mapped IPv6 folded to IPv4, no port, no zone. Undefined if the socket has none. */
  readonly ip: string | undefined;
  /** Partition key for limits: the IPv4 address, or the IPv6 prefix (a /64 by default). */
  readonly key: string;
  /** `socket`, or the header that named the address. */
  readonly source: string;
  readonly reason: ClientIpReason;
}

/**
 * Why this address was chosen.
 * - `direct`: it is the socket's own address; no forwarding header was needed.
 * - `untrusted`: it is the first address, from the right, that is not a trusted proxy.
 * - `forwarder`: it was named by a caller that has authenticated as one that may forward.
 * - `all-trusted`: every address is a trusted proxy; this is the leftmost one.
 * - `malformed`: the next entry is not an address, or there are too many; this is the last verified address.
 * - `no-address`: the socket has no address (a Unix socket).
 */
export type ClientIpReason = 'direct' | 'untrusted' | 'forwarder' | 'all-trusted' | 'malformed' | 'no-address';
