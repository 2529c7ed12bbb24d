import { hash } from 'node:crypto';

/** The first line of every canonical text: a signature speaks for this scheme, and this version of it, only. */
const LABEL = 'gatewarden-hmac-sha256-v1';

/** What a request's sender chooses beside the request itself, as the fields carry it. */
export interface Claim {
  /** Epoch seconds, in decimal. */
  readonly timestamp: string;
  readonly nonce: string;
  readonly keyId: string;
  /** The value of `Content-Digest`. */
  readonly digest: string;
}

/** What the signature is made of, beside the claim. */
export interface SignedParts {
  readonly method: string;
  readonly authority: string;
  /** Path and query as they stand in the request line. */
  readonly target: string;
}

/** Names of keys and the like. They stand in the canonical text and in keys of the replay store: no line break, no colon. */
export const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/;
export const NONCE = /^[A-Za-z0-9_-]{16,128}$/;
export const TIMESTAMP = /^[1-9][0-9]{0,11}$/;
/** Visible ASCII: what methods, targets and authorities consist of. */
export const VISIBLE = /^[\x21-\x7e]+$/;
export const MIN_SECRET_LENGTH = 32;

/** The text that is signed: one thing a line, and none of them can hold a line break. */
export function canonicalText({ method, authority, target }: SignedParts, claim: Claim): string {
  const { timestamp, nonce, keyId, digest } = claim;
  return [LABEL, method, authority.toLowerCase(), plain(target), timestamp, nonce, keyId, digest].join('\n');
}

/** An empty query is none: some clients send its question mark, and some do not. */
function plain(target: string): string {
  return target.indexOf('?') === target.length - 1 ? target.slice(0, -1) : target;
}

/** The digest of a body as `Content-Digest` has it (RFC 9530 section 2). */
export function contentDigest(body: string | Uint8Array): string {
  return `sha-256=:${hash('sha256', body, 'base64')}:`;
}
