import { parseStrictJson } from './strict-json.js';

/** The header and the claims of a token. Nothing is verified yet. */
export interface DecodedToken {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

const BASE64URL = /^[A-Za-z0-9_-]+$/;
const MAX_KID_LENGTH = 256;
// With `ignoreBOM`, a byte order mark stays in the text, and the JSON parser refuses it.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes a token in compact form. Refuses any form that two parsers could read differently, before a key is used
 * (RFC 8725 sections 2.7, 3.1 and 3.10). Returns the reason if the token is refused.
 */
export function decodeToken(token: string, algorithms: readonly string[]): DecodedToken | string {
  const parts = token.split('.');
  const [headerPart = '', claimsPart = '', signature = ''] = parts;
  if (parts.length !== 3) return 'not three parts';
  if (canonicalBytes(signature) === undefined) return 'signature is not base64url';
  const header = jsonObject(headerPart);
  if (header === undefined) return 'malformed header';
  const claims = jsonObject(claimsPart);
  if (claims === undefined) return 'malformed claims';
  const { alg, kid } = header;
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'algorithm not allowed';
  if ('crit' in header) return 'critical extension';
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH))
    return 'malformed kid';
  return { header, claims };
}

function jsonObject(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = canonicalBytes(part);
  if (bytes === undefined) return undefined;
  try {
    const value = parseStrictJson(utf8.decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Undefined unless the text is the one base64url form of its bytes (RFC 7515 section 2). */
function canonicalBytes(part: string): Buffer | undefined {
  if (!BASE64URL.test(part)) return undefined;
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}
