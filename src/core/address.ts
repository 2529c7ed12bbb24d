import { isIP } from 'node:net';
import { addressBytes, addressText, isMappedIpv4 } from './ip-literal.js';
import { badOption } from './option.js';
import { cachedByText } from './text-cache.js';

/** An IP address in canonical form. */
export interface Address {
  /** RFC 5952 text; an IPv4-mapped IPv6 address is folded to IPv4. */
  readonly ip: string;
  /** 4 or 16 bytes in network order. */
  readonly bytes: readonly number[];
}

/** The longest text that can be an address: brackets, an IPv4-mapped form, a zone and a port. */
const MAX_LENGTH = 80;
const PORT = /^:\d{1,5}$/;
const MAX_PORT = 65_535;

/**
 * Reads one address from a socket or a forwarding header. A port, brackets and a zone are removed. Returns undefined for
 * anything that is not exactly one address, and for the unspecified addresses, which no client can have. `net.isIP`
 * decides, because ipaddr.js also accepts octal, hexadecimal and short forms (`010.8.8.8`, `127.1`), which other software
 * reads as other addresses.
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const bare = withoutPort(text);
  if (bare === undefined) return undefined;
  const zone = bare.indexOf('%');
  const host = zone === -1 ? bare : bare.slice(0, zone);
  const family = isIP(host);
  if (family === 0 || (zone !== -1 && (family === 4 || isIP(bare) === 0))) return undefined;
  const literal = addressBytes(host);
  const bytes = isMappedIpv4(literal) ? literal.slice(12) : literal;
  if (bytes.every((byte) => byte === 0)) return undefined;
  return { ip: addressText(bytes), bytes };
}

function withoutPort(text: string): string | undefined {
  if (text.startsWith('[')) {
    const end = text.indexOf(']');
    const rest = text.slice(end + 1);
    const host = text.slice(1, end);
    return end !== -1 && host.includes(':') && (rest === '' || isPort(rest)) ? host : undefined;
  }
  const colon = text.indexOf(':');
  if (colon === -1 || text.includes(':', colon + 1)) return text;
  return isPort(text.slice(colon)) ? text.slice(0, colon) : undefined;
}

/** Whether a text is a colon and a port. A sender that writes another number there is not to be believed about the address. */
function isPort(text: string): boolean {
  return PORT.test(text) && Number(text.slice(1)) <= MAX_PORT;
}

/** The partition key of an address: IPv4 unchanged, IPv6 by its first `ipv6Prefix` bits, since one host has a whole /64. */
export function keyOf(address: Address, ipv6Prefix: number): string {
  if (address.bytes.length === 4 || ipv6Prefix === 128) return address.ip;
  const bytes = address.bytes.map((byte, i) => byte & prefixMask(ipv6Prefix, i));
  return `${addressText(bytes)}/${ipv6Prefix}`;
}

/** Which bits of byte `i` belong to a prefix of `length` bits. */
export function prefixMask(length: number, i: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * i));
  return (0xff << (8 - bits)) & 0xff;
}

/** @throws OptionError unless the prefix is an integer from 32 to 128 */
export function checkIpv6Prefix(factory: string, ipv6Prefix: number): void {
  if (!Number.isInteger(ipv6Prefix) || ipv6Prefix < 32 || ipv6Prefix > 128) {
    throw badOption(factory, 'ipv6Prefix', 'must be an integer from 32 to 128', ipv6Prefix);
  }
}

/** Caches what `read` finds out about an address, for the addresses that were used last. */
export function remembered<T extends object>(read: (text: string) => T): (text: string) => T {
  return cachedByText(MAX_LENGTH, read);
}

/**
 * The partition key that `clientIp` derives from this address, to look up the usage of a client. Undefined if `ip` is not an
 * address.
 *
 * ```ts
 * const left = await perMinute.peek(addressKey('203.0.113.7') ?? '')
 * ```
 * @throws OptionError for an `ipv6Prefix` outside 32 to 128
 */
export function addressKey(ip: string, ipv6Prefix = 64): string | undefined {
  checkIpv6Prefix('addressKey', ipv6Prefix);
  const address = parseAddress(ip);
  return address === undefined ? undefined : keyOf(address, ipv6Prefix);
}
