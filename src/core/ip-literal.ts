import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Parses an address that `net.isIP` has accepted. ipaddr.js confuses the IPv4-compatible `::1.2.3.4` (RFC 4291 section
 * 2.5.5.1) with the IPv4-mapped `::ffff:1.2.3.4`, which is another address. One more zero makes it read the text as written.
 */
export function parseHost(host: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const compatible = host.startsWith('::') && isIP(host.slice(2)) === 4;
  return ipaddr.parse(compatible ? `::0:${host.slice(2)}` : host);
}
