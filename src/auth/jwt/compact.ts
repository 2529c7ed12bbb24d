import { parseStrictJson } from './strict-json.js';

/** The header and the claims of a token, not verified yet. */
export interface DecodedToken {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

const BASE64URL = /^[A-Za-z0-9_-]+$/;
const MAX_KID_LENGTH = 256;
// A byte order mark stays, and is no JSON.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Takes a token in compact form apart, strictly: what other readers may read otherwise is refused before any key is
 * touched (RFC 8725 sections 2.7, 3.1 and 3.10). Gives the reason where it is refused.
 */
export function decodeToken(token: string, algorithms: readonly string[]): DecodedToken | string {
  const parts = token.split('.');
  const [first = '', second = '', signature = ''] = parts;
  if (parts.length !== 3) return 'not three parts';
  if (bytesOf(signature) === undefined) return 'signature is not base64url';
  const header = objectOf(first);
  if (header === undefined) return 'malformed header';
  const claims = objectOf(second);
  if (claims === undefined) return 'malformed claims';
  const { alg, kid } = header;
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'algorithm not allowed';
  if ('crit' in header) return 'critical extension';
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH))
    return 'malformed kid';
  return { header, claims };
}

function objectOf(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = bytesOf(part);
  if (bytes === undefined) return undefined;
  try {
    const value = parseStrictJson(utf8.decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Undefined for what is not the one way in which RFC 7515 section 2 writes these bytes. */
function bytesOf(part: string): Buffer | undefined {
  if (!BASE64URL.test(part)) return undefined;
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}
