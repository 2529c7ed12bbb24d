import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * The bytes of an address in network order: 4 or 16. The text must be one that `net.isIP` has accepted, without a zone.
 * ipaddr.js confuses the IPv4-compatible `::1.2.3.4` (RFC 4291 section 2.5.5.1) with the IPv4-mapped `::ffff:1.2.3.4`,
 * which is another address. One more zero makes it read the text as written.
 */
export function addressBytes(host: string): readonly number[] {
  const compatible = host.startsWith('::') && isIP(host.slice(2)) === 4;
  return ipaddr.parse(compatible ? `::0:${host.slice(2)}` : host).toByteArray();
}

/** The canonical text of an address: IPv6 as in RFC 5952 section 4, without the mixed form of its section 5. */
export function addressText(bytes: readonly number[]): string {
  return bytes.length === 4 ? bytes.join('.') : new ipaddr.IPv6([...bytes]).toRFC5952String();
}

/** Whether 16 bytes are an IPv4-mapped address, `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
export function isMappedIpv4(bytes: readonly number[]): boolean {
  return bytes.length === 16 && bytes.every((byte, i) => i > 11 || byte === (i > 9 ? 0xff : 0));
}
