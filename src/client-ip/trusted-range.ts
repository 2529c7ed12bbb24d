import { isIP } from 'node:net';
import { type Address, prefixMask } from '../core/address.js';
import { addressBytes, addressText, isMappedIpv4 } from '../core/ip-literal.js';
import { badOption } from '../core/option.js';
import { CLOUDFLARE_RANGES } from './cloudflare.js';

interface Range {
  readonly bytes: readonly number[];
  readonly prefix: number;
}

/** Names for the private ranges, as Express and proxy-addr spell them, and for Cloudflare's ranges. */
const NAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['linklocal', ['169.254.0.0/16', 'fe80::/10']],
  ['cloudflare', CLOUDFLARE_RANGES],
  ['uniquelocal', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']],
]);

/**
 * Compiles `trust` into a function that returns whether an address belongs to a trusted proxy. Entries are `loopback`,
 * `linklocal`, `uniquelocal`, `cloudflare`, addresses, and CIDR ranges with all their bytes.
 * @throws OptionError for `/0`, short or octal forms, bits after the prefix, zones, and IPv4-mapped IPv6
 */
export function trustedRanges(factory: string, trust: readonly string[]): (address: Address) => boolean {
  if (!Array.isArray(trust))
    throw badOption(factory, 'trust', "must be a list of trusted proxies, such as ['loopback', '10.0.0.0/8']", trust);
  const ranges = trust.flatMap((entry) => (NAMED.get(entry) ?? [entry]).map((range) => parseRange(factory, range)));
  return (address) => ranges.some((range) => contains(range, address));
}

function contains(range: Range, address: Address): boolean {
  const { bytes, prefix } = range;
  if (bytes.length !== address.bytes.length) return false;
  for (let i = 0; i * 8 < prefix; i++) {
    if (((address.bytes[i] ?? 0) & prefixMask(prefix, i)) !== bytes[i]) return false;
  }
  return true;
}

function parseRange(factory: string, entry: unknown): Range {
  const refuse = (rule: string, remedy?: string) => badOption(factory, 'trust', rule, entry, remedy);
  if (typeof entry !== 'string') throw refuse('must hold strings');
  const match = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(entry);
  const host = match?.[1] ?? '';
  const family = isIP(host);
  if (match === null || family === 0) {
    throw refuse(
      "must hold addresses, ranges such as '10.0.0.0/8', or the names loopback, linklocal, uniquelocal, cloudflare",
    );
  }
  const bytes = addressBytes(host);
  if (isMappedIpv4(bytes)) throw refuse('must write IPv4 as IPv4, not as IPv4-mapped IPv6');
  const size = bytes.length * 8;
  const prefix = match[2] === undefined ? size : Number(match[2]);
  if (prefix === 0) throw refuse('must not trust every address');
  if (prefix > size) throw refuse(`must not have a prefix longer than ${size} bits`);
  const network = bytes.map((byte, i) => byte & prefixMask(prefix, i));
  if (bytes.some((byte, i) => byte !== network[i])) {
    const meant = `${addressText(network)}/${prefix}`;
    throw refuse('must not have bits set after the prefix', `did you mean '${meant}' or '${host}'?`);
  }
  return { bytes, prefix };
}
