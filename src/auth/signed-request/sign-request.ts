import { createHmac, randomBytes } from 'node:crypto';
import { badOption, badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { checkSecret } from '../secret.js';
import { canonicalText, contentDigest, KEY_ID, MIN_SECRET_LENGTH, NONCE, TIMESTAMP, VISIBLE } from './canonical.js';

/** Options of `signRequest`. */
export interface SignRequestOptions {
  /** The `id` of the key in the service's `signedRequest`. */
  readonly keyId: string;
  /** The key's secret. An `undefined` value, of an environment variable that is not set, is an `OptionError`. */
  readonly secret: string | undefined;
  /** The method. It is signed in upper case. */
  readonly method: string;
  /** The full URL, exactly as the request uses it: `fetch` sends its host, path and query. */
  readonly url: string | URL;
  /** Exactly the body that is sent. A string is sent as UTF-8. Default no body. */
  readonly body?: string | ArrayBuffer | Uint8Array | undefined;
  /** Epoch seconds. Default now. */
  readonly timestamp?: number | undefined;
  /** 16 to 128 letters, digits, `-` or `_`, different for every request. Default 128 random bits. */
  readonly nonce?: string | undefined;
}

/** The headers that sign a request. */
export interface SignatureHeaders extends Readonly<Record<string, string>> {
  readonly 'Content-Digest': string;
  readonly 'X-Key-Id': string;
  readonly 'X-Nonce': string;
  readonly 'X-Signature': string;
  readonly 'X-Timestamp': string;
}

const FACTORY = 'signRequest';
const OPTIONS: OptionNames<SignRequestOptions> = {
  keyId: true,
  secret: true,
  method: true,
  url: true,
  body: true,
  timestamp: true,
  nonce: true,
};

/**
 * Signs one request to a service that uses `signedRequest`. The headers are valid for one use: sign again for every
 * attempt, redirects included.
 *
 * ```ts
 * const headers = signRequest({ keyId, secret, method: 'POST', url, body })
 * await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body })
 * ```
 * @throws OptionError for a value that cannot be signed. No message shows the secret or the URL.
 */
export function signRequest(options: SignRequestOptions): SignatureHeaders {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { keyId, body = '' } = options;
  const secret = checkSecret(FACTORY, 'secret', options.secret, MIN_SECRET_LENGTH);
  if (typeof keyId !== 'string' || !KEY_ID.test(keyId)) {
    throw badSecret(FACTORY, 'keyId', 'must be 1 to 64 letters, digits, ".", "_" or "-"');
  }
  const method = checkMethod(options.method);
  const { host, pathname, search } = checkUrl(options.url);
  const timestamp = String(options.timestamp ?? Math.floor(Date.now() / 1000));
  if (!TIMESTAMP.test(timestamp)) {
    throw badOption(FACTORY, 'timestamp', 'must be a whole number of epoch seconds', options.timestamp);
  }
  const nonce = options.nonce ?? randomBytes(16).toString('base64url');
  if (typeof nonce !== 'string' || !NONCE.test(nonce)) {
    throw badOption(FACTORY, 'nonce', 'must be 16 to 128 letters, digits, "-" or "_"', nonce);
  }
  const digest = contentDigest(checkBody(body));
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

function checkMethod(method: string): string {
  if (typeof method !== 'string' || !VISIBLE.test(method)) {
    throw badOption(FACTORY, 'method', 'must be an HTTP method', method);
  }
  return method.toUpperCase();
}

function checkUrl(url: string | URL): URL {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : url;
  if (!(parsed instanceof URL) || parsed.host === '') {
    throw badSecret(FACTORY, 'url', 'must be a full URL, such as https://api.example.com/generate');
  }
  return parsed;
}

function checkBody(body: string | ArrayBuffer | Uint8Array): string | Uint8Array {
  if (typeof body === 'string' || body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  throw badSecret(FACTORY, 'body', 'must be a string, an ArrayBuffer or a Uint8Array with exactly the bytes to send');
}
