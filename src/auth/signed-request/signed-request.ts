import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import { badOption, badSecret, checkOptionNames, clock, type OptionNames, unsetCheck } from '../../core/option.js';
import type { RequestView } from '../../core/request-view.js';
import { bytes, type Size } from '../../core/size.js';
import { isThenable } from '../../core/thenable.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { type Authenticator, invalid, malformed, type Verdict } from '../authenticator.js';
import { canonicalText, contentDigest } from './canonical.js';
import type { Remembered, ReplayStore } from './replay-store.js';
import { readAuthority, readSignatureFields, type SignatureFields, signatureFields } from './signature-fields.js';
import { type SigningKeyEntry, signingKeys } from './signing-keys.js';

/** Options of `signedRequest`. */
export interface SignedRequestOptions {
  /** All accepted keys: the current ones, and earlier ones until all clients have the new ones. */
  readonly keys: readonly SigningKeyEntry[];
  /**
   * The largest difference between `X-Timestamp` and this server's clock, in either direction, inclusive. A signature
   * can be used once within it. Default `'5m'`, at most `'24h'`.
   */
  readonly tolerance?: Duration | undefined;
  /** Remembers used nonces: `memoryReplayStore()` for one process, `redisReplayStore()` for several. */
  readonly replayStore: ReplayStore;
  /** The largest body that is read. It is held in memory. Default `'1mb'`, at most `'1gb'`. */
  readonly maxBytes?: Size | undefined;
  /**
   * The authority that clients sign, such as `api.example.com` or `localhost:8080`. Set it if a proxy rewrites `Host`,
   * or if several services accept the same key: a request to one of them is then refused by the others, even with a
   * forged `Host`. Default the request's own `Host`.
   */
  readonly authority?: string;
  /** How long to wait for the replay store. Default `'1s'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const FACTORY = 'signedRequest';
const OPTIONS: OptionNames<SignedRequestOptions> = {
  keys: true,
  tolerance: true,
  replayStore: true,
  maxBytes: true,
  authority: true,
  timeout: true,
  now: true,
};
const AUTHORITY = /^[A-Za-z0-9._:[\]-]+$/;
const MAX_TOLERANCE = 86_400_000;
const MAX_TIMEOUT = 60_000;
const MAX_BYTES = 1_073_741_824;

const MALFORMED_HOST = malformed('malformed host');
const SKEW = invalid('skew');
const UNKNOWN = invalid('unknown');

/**
 * Authenticates callers that sign the request with a shared secret. A signed request cannot be changed, and can be used
 * once. The signature is HMAC-SHA256, in hexadecimal, over these eight lines, joined by line feeds, without one at the
 * end:
 *
 * ```text
 * gatewarden-hmac-sha256-v1
 * POST                                  method
 * api.example.com                       authority: Host in lower case, with the port if Host has one
 * /generate/text?steps=64               path and query as in the request line; no ? without a query
 * 1760000000                            X-Timestamp, epoch seconds
 * 8f14e45fceea167a5a36dedd4bea2543      X-Nonce, 16 to 128 of A-Za-z0-9_-, different for every request
 * main-server-2025                      X-Key-Id
 * sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:    Content-Digest (RFC 9530); without a body, of no bytes
 * ```
 * The client sends it as `X-Signature`, with `X-Timestamp`, `X-Nonce`, `X-Key-Id` and, if there is a body,
 * `Content-Digest`. `signRequest` makes these headers. Put this guard before any body parser: it reads the body, only
 * if the signature is valid, and parsers can still read it afterwards. A body over `maxBytes` is refused with 413.
 * Nonces are remembered until their timestamp is too old. If the replay store is full or does not answer, the request
 * is refused with 503. A client that tries again must sign again.
 *
 * ```ts
 * authenticate(signedRequest({
 *   keys: [{ id: 'main-server-2025', secret: process.env.SIGNING_SECRET }],
 *   replayStore: memoryReplayStore(),
 * }))
 * ```
 * @throws OptionError if there is no key, a secret is not set or has under 32 characters, or an id or a secret is
 * listed twice. The message names the position in the list and never shows the secret.
 */
export function signedRequest(options: SignedRequestOptions): Authenticator {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { authority, replayStore } = options;
  const keys = signingKeys(options.keys);
  const tolerance = milliseconds(FACTORY, 'tolerance', options.tolerance ?? '5m', MAX_TOLERANCE);
  const maxBytes = bytes(FACTORY, 'maxBytes', options.maxBytes ?? '1mb', MAX_BYTES);
  const timeout = milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT);
  if (typeof replayStore?.remember !== 'function') {
    // Not shown: it may be a URL with a password.
    throw badSecret(
      FACTORY,
      'replayStore',
      'must be a replay store, such as memoryReplayStore() or redisReplayStore()',
    );
  }
  // An unset variable must not turn the check of the authority off.
  if ('authority' in options && authority === undefined) throw unsetCheck(FACTORY, 'authority');
  if (authority !== undefined && (typeof authority !== 'string' || !AUTHORITY.test(authority))) {
    throw badOption(FACTORY, 'authority', 'must be a host, or a host with a port, such as localhost:8080', authority);
  }
  const now = clock(FACTORY, options.now);

  const onTimeout = () => noAnswer('the replay store', timeout);

  /** Written so that NaN refuses. */
  const isCurrent = (signedAt: number): boolean => Math.abs(now() - signedAt) <= tolerance;

  async function remember({ keyId, nonce }: SignatureFields, signedAt: number): Promise<Remembered> {
    // One millisecond more: at exactly `tolerance` the timestamp is still accepted.
    const answer = replayStore.remember(`${keyId}:${nonce}`, signedAt + tolerance + 1);
    const remembered = isThenable(answer) ? await withTimeout(answer, timeout, onTimeout) : answer;
    if (remembered === 'new' || remembered === 'seen' || remembered === 'full') return remembered;
    throw new TypeError("gatewarden: a replay store's remember must return 'new', 'seen' or 'full'");
  }

  async function isUsed({ keyId, nonce }: SignatureFields): Promise<boolean> {
    const answer = replayStore.has?.(`${keyId}:${nonce}`);
    return (isThenable(answer) ? await withTimeout(answer, timeout, onTimeout) : answer) === true;
  }

  async function verify(token: string, exchange: Exchange): Promise<Verdict> {
    const { request } = exchange;
    const fields = signatureFields(token);
    const signedAt = Number(fields.timestamp) * 1000;
    if (!isCurrent(signedAt)) return SKEW;
    const parts = { method: request.method, authority: authority ?? readAuthority(request) ?? '', target: request.url };
    const key = keys.verify(fields.keyId, canonicalText(parts, fields), fields.signature);
    if (key === 'unknown') return UNKNOWN;
    if (key === 'wrong') return invalid('wrong signature', { credentialId: fields.keyId });
    const { principal, expiresAt } = key;
    const owner = { credentialId: principal.credentialId, clientId: principal.id };
    if (!(now() < expiresAt)) return invalid('expired', owner);

    if (signedAt < startOf(replayStore)) return { kind: 'unavailable', reason: 'signed before startup', ...owner };
    // From here on the signature is valid: a stranger can neither have a body read nor a nonce remembered. A replayed
    // signature cannot have a body read either.
    try {
      if (!hasNoBody(request) && (await isUsed(fields))) return invalid('replayed', owner);
    } catch (error) {
      return storeFailed(error, exchange, owner);
    }
    const body = await readBody(request, maxBytes);
    if (body === 'too-large') return { kind: 'content-too-large', ...owner };
    if (body === 'aborted' || exchange.outcome !== undefined) {
      return { kind: 'unavailable', reason: 'client disconnected', ...owner };
    }
    if (contentDigest(body) !== fields.digest) return invalid('wrong content-digest', owner);
    // A body can arrive slowly enough that the nonce would already be forgotten.
    if (!isCurrent(signedAt)) return invalid('skew', owner);
    try {
      const remembered = await remember(fields, signedAt);
      if (remembered === 'new') return { kind: 'authenticated', principal };
      if (remembered === 'full') return { kind: 'unavailable', reason: 'replay store full', ...owner };
      return invalid('replayed', owner);
    } catch (error) {
      return storeFailed(error, exchange, owner);
    }
  }

  return {
    scheme: 'signed-request',
    challenge: 'X-Signature',
    read(request) {
      const credentials = readSignatureFields(request);
      if (credentials.kind !== 'present' || authority !== undefined) return credentials;
      return readAuthority(request) === undefined ? MALFORMED_HOST : credentials;
    },
    verify,
  };
}

function storeFailed(error: unknown, exchange: Exchange, owner: { credentialId: string; clientId: string }): Verdict {
  exchange.fault(error);
  return { kind: 'unavailable', reason: 'replay store failed', ...owner };
}

/** The start of the second in which the store began: timestamps are whole seconds. */
function startOf({ since = Number.NEGATIVE_INFINITY }: ReplayStore): number {
  return Math.floor(since / 1000) * 1000;
}

/** @throws if the body cannot be read on this server: an unread body must not pass as the signed one */
async function readBody(request: RequestView, maxBytes: number): Promise<Uint8Array | 'too-large' | 'aborted'> {
  if (request.readBody === undefined) {
    if (hasNoBody(request)) return new Uint8Array();
    throw new Error('gatewarden: signedRequest cannot read bodies on this server: its adapter has no readBody');
  }
  const body = await request.readBody(maxBytes);
  if (body === 'consumed') {
    throw new Error('gatewarden: the body was read before signedRequest; put guards before body parsers');
  }
  return body;
}

/** Only these methods are certain: with others, HTTP/2 and later announce a body without any field. */
function hasNoBody(request: RequestView): boolean {
  return (
    (request.method === 'GET' || request.method === 'HEAD') &&
    request.fieldLines('transfer-encoding').length === 0 &&
    request.fieldLines('content-length').every((length) => Number(length) === 0)
  );
}
