import { isIPv6 } from 'node:net';
import { addressBytes, addressText } from '../core/ip-literal.js';

/** A host and its port in canonical form. */
export interface Authority {
  /** Lower case, without a trailing dot. An IPv6 address is in brackets. */
  readonly name: string;
  /** Undefined if the text has no port and there is no default port. */
  readonly port: number | undefined;
}

const FORM = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\.?)(?::(\d{1,5}))?$/;
const MAX_LENGTH = 260;

/**
 * Parses `uri-host [ ":" port ]` (RFC 9110 section 7.2). Returns undefined for user info, percent escapes and non-ASCII
 * characters, which no ordinary client sends. `URL` is not used: it reads `2130706433` as `127.0.0.1` and `a@b` as `b`.
 */
export function parseAuthority(text: string, defaultPort: number | undefined): Authority | undefined {
  const match = text.length > MAX_LENGTH ? null : FORM.exec(text);
  if (match === null) return undefined;
  const [, ipv6, name, port] = match;
  const number = port === undefined ? defaultPort : Number(port);
  if (number !== undefined && (number < 1 || number > 65_535)) return undefined;
  if (ipv6 === undefined) return { name: (name ?? '').toLowerCase(), port: number };
  return isIPv6(ipv6) ? { name: `[${addressText(addressBytes(ipv6))}]`, port: number } : undefined;
}
