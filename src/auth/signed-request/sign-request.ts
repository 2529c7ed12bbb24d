import { createHmac, randomBytes } from 'node:crypto';
import { badOption, badSecret, checkOptionNames } from '../../core/option.js';
import { canonicalText, contentDigest, KEY_ID, MIN_SECRET_LENGTH, NONCE, TIMESTAMP, VISIBLE } from './canonical.js';

/** What `sign` takes. */
export interface SignRequestOptions {
  readonly keyId: string;
  readonly secret: string;
  /** Signed in upper case. */
  readonly method: string;
  /** The whole URL, as it is then asked for: `fetch` sends its host, path and query. */
  readonly url: string | URL;
  /** Exactly what is sent: strings as UTF-8. Default no body. */
  readonly body?: string | ArrayBuffer | Uint8Array;
  /** Epoch seconds. Default now. */
  readonly timestamp?: number;
  /** 16 to 128 letters, digits, `-` or `_`, different for every request. Default 128 random bits. */
  readonly nonce?: string;
}

/** The headers that make a request a signed one. */
export interface SignatureHeaders extends Readonly<Record<string, string>> {
  readonly 'Content-Digest': string;
  readonly 'X-Key-Id': string;
  readonly 'X-Nonce': string;
  readonly 'X-Signature': string;
  readonly 'X-Timestamp': string;
}

const OPTIONS = ['keyId', 'secret', 'method', 'url', 'body', 'timestamp', 'nonce'];

/**
 * Signs one request for a service that asks for it with `signedRequest`. The headers are good for one use, so sign again
 * for every attempt, redirects included.
 *
 * ```ts
 * const headers = sign({ keyId, secret, method: 'POST', url, body })
 * await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body })
 * ```
 * @throws OptionError for what cannot be signed. No message shows the secret or the URL.
 */
export function signRequest(options: SignRequestOptions): SignatureHeaders {
  checkOptionNames('sign', options, OPTIONS);
  const { keyId, secret, body = '' } = options;
  if (typeof secret !== 'string' || secret.length < MIN_SECRET_LENGTH) {
    throw badSecret('sign', 'secret', `must be a string of at least ${MIN_SECRET_LENGTH} characters`);
  }
  if (typeof keyId !== 'string' || !KEY_ID.test(keyId)) {
    throw badSecret('sign', 'keyId', 'must be 1 to 64 letters, digits or ._-');
  }
  const method = methodOf(options.method);
  const { host, pathname, search } = urlOf(options.url);
  const timestamp = String(options.timestamp ?? Math.floor(Date.now() / 1000));
  if (!TIMESTAMP.test(timestamp)) {
    throw badOption('sign', 'timestamp', 'must be whole epoch seconds', options.timestamp);
  }
  const nonce = options.nonce ?? randomBytes(16).toString('base64url');
  if (typeof nonce !== 'string' || !NONCE.test(nonce)) {
    throw badOption('sign', 'nonce', 'must be 16 to 128 letters, digits, - or _', nonce);
  }
  const digest = contentDigest(bytesOf(body));
  const text = canonicalText(
    { method, authority: host, target: pathname + search },
    { timestamp, nonce, keyId, digest },
  );
  return {
    'Content-Digest': digest,
    'X-Key-Id': keyId,
    'X-Nonce': nonce,
    'X-Signature': createHmac('sha256', secret).update(text).digest('hex'),
    'X-Timestamp': timestamp,
  };
}

function methodOf(method: string): string {
  if (typeof method !== 'string' || !VISIBLE.test(method)) {
    throw badOption('sign', 'method', 'must be an HTTP method', method);
  }
  return method.toUpperCase();
}

function urlOf(url: string | URL): URL {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : url;
  if (!(parsed instanceof URL) || parsed.host === '') {
    throw badSecret('sign', 'url', 'must be a whole URL, such as https://api.example.com/generate');
  }
  return parsed;
}

function bytesOf(body: string | ArrayBuffer | Uint8Array): string | Uint8Array {
  if (typeof body === 'string' || body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  throw badSecret('sign', 'body', 'must be a string, an ArrayBuffer or a Uint8Array: the very bytes that are sent');
}
