import { isIPv6 } from 'node:net';
import { parseHost } from '../core/ip-literal.js';

/** A host and its port, in one form for all ways to write them. */
export interface Authority {
  /** Lower case, without a dot at its end; an IPv6 address in brackets. */
  readonly name: string;
  /** Undefined where none is named and none is the default. */
  readonly port: number | undefined;
}

const FORM = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\.?)(?::(\d{1,5}))?$/;
const MAX_LENGTH = 260;

/**
 * `uri-host [ ":" port ]` of RFC 9110 section 7.2, without the forms that nobody sends to an honest service: user info,
 * percent escapes, anything beyond ASCII. Not by `URL`, which makes `127.0.0.1` of `2130706433` and `b` of `a@b`.
 */
export function parseAuthority(text: string, defaultPort: number | undefined): Authority | undefined {
  const match = text.length > MAX_LENGTH ? null : FORM.exec(text);
  if (match === null) return undefined;
  const [, ipv6, name, port] = match;
  const number = port === undefined ? defaultPort : Number(port);
  if (number !== undefined && (number < 1 || number > 65_535)) return undefined;
  if (ipv6 === undefined) return { name: (name ?? '').toLowerCase(), port: number };
  return isIPv6(ipv6) ? { name: `[${parseHost(ipv6).toString()}]`, port: number } : undefined;
}
