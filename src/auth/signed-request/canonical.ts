import { hash } from 'node:crypto';

/** The first line of every signed text: a signature is valid for this scheme and this version of it only. */
const LABEL = 'gatewarden-hmac-sha256-v1';

/** The values that the sender adds to the request, as its header fields carry them. */
export interface Claim {
  /** Epoch seconds, in decimal. */
  readonly timestamp: string;
  readonly nonce: string;
  readonly keyId: string;
  /** The value of `Content-Digest`. */
  readonly digest: string;
}

/** The parts of the request itself that are signed. */
export interface SignedParts {
  readonly method: string;
  readonly authority: string;
  /** Path and query exactly as in the request line. */
  readonly target: string;
}

/** No line break and no colon: both would be ambiguous in the signed text and in keys of the replay store. */
export const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/;
export const NONCE = /^[A-Za-z0-9_-]{16,128}$/;
export const TIMESTAMP = /^[1-9][0-9]{0,11}$/;
/** Visible ASCII: the characters of methods, targets and authorities. */
export const VISIBLE = /^[\x21-\x7e]+$/;
export const MIN_SECRET_LENGTH = 32;

/** The text that is signed: one value on each line. No value can contain a line break. */
export function canonicalText({ method, authority, target }: SignedParts, claim: Claim): string {
  const { timestamp, nonce, keyId, digest } = claim;
  return [LABEL, method, authority.toLowerCase(), withoutEmptyQuery(target), timestamp, nonce, keyId, digest].join(
    '\n',
  );
}

/** Some clients send the question mark of an empty query, and some do not. */
function withoutEmptyQuery(target: string): string {
  return target.indexOf('?') === target.length - 1 ? target.slice(0, -1) : target;
}

/** The digest of a body in the form of `Content-Digest` (RFC 9530 section 2). */
export function contentDigest(body: string | Uint8Array): string {
  return `sha-256=:${hash('sha256', body, 'base64')}:`;
}
