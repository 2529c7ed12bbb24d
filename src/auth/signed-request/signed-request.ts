import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, badSecret, checkOptionNames } from '../../core/option.js';
import type { RequestView } from '../../core/request-view.js';
import { bytes, type Size } from '../../core/size.js';
import { isThenable } from '../../core/thenable.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { type Authenticator, invalid, malformed, type Verdict } from '../authenticator.js';
import { canonicalText, contentDigest } from './canonical.js';
import type { Remembered, ReplayStore } from './replay-store.js';
import { readAuthority, readSignatureFields, type SignatureFields, signatureFields } from './signature-fields.js';
import { type SigningKeyEntry, signingKeys } from './signing-keys.js';

/** What `signedRequest` takes. */
export interface SignedRequestOptions {
  /** All accepted keys: the current ones, and earlier ones while clients change over. */
  readonly keys: readonly SigningKeyEntry[];
  /**
   * How far `X-Timestamp` may be from this server's clock, in either direction; exactly so far is still accepted. A
   * signature can be used for so long, once. Default `'5m'`, at most a day.
   */
  readonly tolerance?: Duration;
  /** Remembers used nonces: `memoryReplayStore()` for one process, `redisReplayStore()` for several. */
  readonly replayStore: ReplayStore;
  /** The largest body that is read, and held in memory meanwhile. Default `'1mb'`, at most `'1gb'`. */
  readonly maxBytes?: Size;
  /**
   * The authority that clients sign, such as `api.example.com` or `localhost:8080`. Set it where a proxy rewrites
   * `Host`, and where one key is used with several services: then a request to one is worth nothing at another, even
   * with a forged `Host`. Default the request's own `Host`.
   */
  readonly authority?: string;
  /** How long the replay store may take. Default 1 s, at most 60 s. */
  readonly timeout?: Duration;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

const OPTIONS = ['keys', 'tolerance', 'replayStore', 'maxBytes', 'authority', 'timeout', 'now'];
const AUTHORITY = /^[A-Za-z0-9._:[\]-]+$/;
const DAY = 86_400_000;
const MAX_BYTES = 1_073_741_824;

const NO_AUTHORITY = malformed('malformed host');
const SKEW = invalid('skew');
const UNKNOWN = invalid('unknown');

/**
 * Lets in whoever signs the request with a shared secret: nothing in it can be changed, and it can be used once. The
 * signature is HMAC-SHA256, in hexadecimal, over these eight lines, joined by line feeds, none at the end:
 *
 * ```text
 * gatewarden-hmac-sha256-v1
 * POST                                  method
 * api.example.com                       authority: Host in lower case, with the port where it is there
 * /generate/text?steps=64               path and query as in the request line; no ? without a query
 * 1760000000                            X-Timestamp, epoch seconds
 * 8f14e45fceea167a5a36dedd4bea2543      X-Nonce, 16 to 128 of A-Za-z0-9_-, never used before
 * main-server-2025                      X-Key-Id
 * sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:    Content-Digest (RFC 9530); of no bytes where there is no body
 * ```
 * It comes as `X-Signature`, beside `X-Timestamp`, `X-Nonce`, `X-Key-Id` and, where there is a body, `Content-Digest`.
 * `sign` makes them. Put it before any body parser: it reads the body, of whoever has signed only, and leaves it there.
 * A body over `maxBytes` is 413. Nonces are remembered until their timestamp is too old; while there is no room for one,
 * or the store does not answer, requests are refused with 503. A client that tries again signs again.
 *
 * ```ts
 * authenticate(signedRequest({
 *   keys: [{ id: 'main-server-2025', secret: process.env.SIGNING_SECRET ?? '' }],
 *   replayStore: memoryReplayStore(),
 * }))
 * ```
 * @throws OptionError for no keys, a secret under 32 characters, an id or a secret listed twice. The message gives the
 * place in the list, never the secret.
 */
export function signedRequest(options: SignedRequestOptions): Authenticator {
  checkOptionNames('signedRequest', options, OPTIONS);
  const { authority, replayStore, now = Date.now } = options;
  const keys = signingKeys(options.keys);
  const tolerance = milliseconds('signedRequest', 'tolerance', options.tolerance ?? '5m', DAY);
  const maxBytes = bytes('signedRequest', 'maxBytes', options.maxBytes ?? '1mb', MAX_BYTES);
  const timeout = milliseconds('signedRequest', 'timeout', options.timeout ?? '1s', 60_000);
  if (typeof replayStore?.remember !== 'function') {
    throw badSecret('signedRequest', 'replayStore', 'must be made by memoryReplayStore(...) or the like');
  }
  if (authority !== undefined && (typeof authority !== 'string' || !AUTHORITY.test(authority))) {
    throw badOption('signedRequest', 'authority', 'must be a host, with a port where there is one', authority);
  }
  if (typeof now !== 'function') throw badOption('signedRequest', 'now', 'must be a function', now);

  const late = () => noAnswer('the replay store', timeout);

  /** Asked this way round, a clock that gives NaN refuses. */
  const isCurrent = (at: number): boolean => Math.abs(now() - at) <= tolerance;

  async function remember({ keyId, nonce }: SignatureFields, at: number): Promise<Remembered> {
    // One millisecond more: at the window's very end the timestamp is still accepted.
    const answer = replayStore.remember(`${keyId}:${nonce}`, at + tolerance + 1);
    const remembered = isThenable(answer) ? await withTimeout(Promise.resolve(answer), timeout, late) : answer;
    if (remembered === 'new' || remembered === 'seen' || remembered === 'full') return remembered;
    throw new TypeError('gatewarden: a replay store must answer new, seen or full');
  }

  async function isUsed({ keyId, nonce }: SignatureFields): Promise<boolean> {
    const answer = replayStore.has?.(`${keyId}:${nonce}`);
    return (isThenable(answer) ? await withTimeout(Promise.resolve(answer), timeout, late) : answer) === true;
  }

  async function verify(token: string, exchange: Exchange): Promise<Verdict> {
    const { request } = exchange;
    const fields = signatureFields(token);
    const at = Number(fields.timestamp) * 1000;
    if (!isCurrent(at)) return SKEW;
    const parts = { method: request.method, authority: authority ?? readAuthority(request) ?? '', target: request.url };
    const key = keys.verify(fields.keyId, canonicalText(parts, fields), fields.signature);
    if (key === 'unknown') return UNKNOWN;
    if (key === 'wrong') return invalid('wrong signature', { credentialId: fields.keyId });
    const { principal, expiresAt } = key;
    const whose = { credentialId: principal.credentialId, clientId: principal.id };
    if (!(now() < expiresAt)) return invalid('expired', whose);

    if (at < startOf(replayStore)) return { kind: 'unavailable', reason: 'signed before the start', ...whose };
    // Only now, for whoever knows the secret: strangers cannot make us read bodies or remember nonces. Nor can whoever has
    // caught a signature that was used.
    try {
      if (!hasNoBody(request) && (await isUsed(fields))) return invalid('replayed', whose);
    } catch (error) {
      return storeFailed(error, exchange, whose);
    }
    const body = await readBody(request, maxBytes);
    if (body === 'too-large') return { kind: 'content-too-large', ...whose };
    if (body === 'aborted' || exchange.outcome !== undefined)
      return { kind: 'unavailable', reason: 'client left', ...whose };
    if (contentDigest(body) !== fields.digest) return invalid('other body', whose);
    // A body that was held back until its nonce is forgotten must not let it in once more.
    if (!isCurrent(at)) return invalid('skew', whose);
    try {
      const remembered = await remember(fields, at);
      if (remembered === 'new') return { kind: 'authenticated', principal };
      if (remembered === 'full') return { kind: 'unavailable', reason: 'replay store full', ...whose };
      return invalid('replayed', whose);
    } catch (error) {
      return storeFailed(error, exchange, whose);
    }
  }

  return {
    scheme: 'signed-request',
    challenge: 'X-Signature',
    read(request) {
      const credentials = readSignatureFields(request);
      if (credentials.kind !== 'present' || authority !== undefined) return credentials;
      return readAuthority(request) === undefined ? NO_AUTHORITY : credentials;
    },
    verify,
  };
}

function storeFailed(error: unknown, exchange: Exchange, whose: { credentialId: string; clientId: string }): Verdict {
  exchange.fault(error);
  return { kind: 'unavailable', reason: 'replay store failed', ...whose };
}

/** The second in which it began: timestamps have no finer grain. */
function startOf({ since = Number.NEGATIVE_INFINITY }: ReplayStore): number {
  return Math.floor(since / 1000) * 1000;
}

/** @throws where the body cannot be had on this server's side: unread bodies must not pass as the signed one */
async function readBody(request: RequestView, maxBytes: number): Promise<Uint8Array | 'too-large' | 'aborted'> {
  if (request.readBody === undefined) {
    if (hasNoBody(request)) return new Uint8Array();
    throw new Error('gatewarden: signedRequest cannot read bodies on this server: its adapter has no readBody');
  }
  const body = await request.readBody(maxBytes);
  if (body === 'consumed') {
    throw new Error('gatewarden: something has read the body before signedRequest; put guards before body parsers');
  }
  return body;
}

/** Certain for these methods only: elsewhere HTTP/2 and its like need no field to announce a body. */
function hasNoBody(request: RequestView): boolean {
  return (
    (request.method === 'GET' || request.method === 'HEAD') &&
    request.fieldLines('transfer-encoding').length === 0 &&
    request.fieldLines('content-length').every((length) => Number(length) === 0)
  );
}
