import type { Authenticator } from '../../../src/auth/authenticator.js';
import {
  type MemoryReplayStoreOptions,
  memoryReplayStore,
} from '../../../src/auth/signed-request/memory-replay-store.js';
import type { ReplayStore } from '../../../src/auth/signed-request/replay-store.js';
import { type SignRequestOptions, signRequest } from '../../../src/auth/signed-request/sign-request.js';
import { type SignedRequestOptions, signedRequest } from '../../../src/auth/signed-request/signed-request.js';
import type { HeaderLine } from '../../exchange-fixture.js';

export const SECRET = 'sk-c4n4ry~tests of signed requests!';
export const EARLIER_SECRET = 'sk-c4n4ry~tests of earlier request';
export const STRANGE_SECRET = 'sk-c4n4ry~tests of another service';
/** Epoch milliseconds, not on a whole second. */
export const NOW = 1_760_000_000_250;
export const SECOND = 1_760_000_000;
/** In seconds. */
export const TOLERANCE = 300;
export const MAX_BODY = 64;
export const BODY = '{"prompt":"a red armchair","steps":64}';
const URL_SIGNED = 'http://api.example.test/generate?seed=1&size=%20big';

/** One request as it is sent. */
export interface WireRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly HeaderLine[];
  readonly body: string;
  /** Sends the body in one chunk, without `Content-Length`. */
  readonly chunked?: boolean;
}

/** The answer to one request: its status and problem code, and the reason in the audit. */
export interface Expected {
  readonly status: number;
  readonly code?: string;
  readonly reason: string;
}

/** Requests that are sent one after the other to a new `service()`, and the answer to each. */
export interface SignedRequestCase {
  readonly name: string;
  readonly send: readonly WireRequest[];
  readonly expected: readonly Expected[];
}

/** A store that started before any timestamp that is accepted. */
export function startedBefore(options: MemoryReplayStoreOptions = {}): ReplayStore {
  const { remember, has } = memoryReplayStore(options);
  return { remember, has };
}

/** The authenticator of every case. */
export function service(options: Partial<SignedRequestOptions> = {}): Authenticator {
  const now = () => NOW;
  return signedRequest({
    keys: [
      { id: 'current', secret: SECRET, clientId: 'main-server', scopes: ['generate'] },
      { id: 'earlier', secret: EARLIER_SECRET, clientId: 'main-server', expiresAt: new Date(NOW + 1) },
      { id: 'expired', secret: `${EARLIER_SECRET} still`, clientId: 'main-server', expiresAt: new Date(NOW) },
    ],
    tolerance: `${TOLERANCE}s`,
    maxBytes: MAX_BODY,
    replayStore: startedBefore({ now }),
    now,
    ...options,
  });
}

/** A request with the headers of `signRequest`. By default a POST with a body. */
export function signed(options: Partial<SignRequestOptions> = {}): WireRequest {
  const { method = 'POST', url = URL_SIGNED, body = method === 'GET' ? '' : BODY } = options;
  const headers = signRequest({
    keyId: 'current',
    secret: SECRET,
    timestamp: SECOND,
    ...options,
    method,
    url,
    body,
  });
  const { host, pathname, search } = new URL(url);
  return {
    method,
    target: pathname + search,
    headers: [['Host', host], ...Object.entries(headers)],
    body: typeof body === 'string' ? body : Buffer.from(body as Uint8Array).toString('latin1'),
  };
}

const ACCEPTED: Expected = { status: 200, reason: 'verified' };
const invalid = (reason: string): Expected => ({ status: 401, code: 'credentials-invalid', reason });
const malformed = (reason: string): Expected => ({ status: 400, code: 'credentials-malformed', reason });
const MISSING: Expected = { status: 401, code: 'credentials-missing', reason: 'missing' };
const TOO_LARGE: Expected = { status: 413, code: 'content-too-large', reason: 'content-too-large' };
const WRONG = invalid('wrong signature');

function lines(request: WireRequest, change: (line: HeaderLine) => readonly HeaderLine[]): WireRequest {
  return { ...request, headers: request.headers.flatMap(change) };
}

/** The request with one field removed, replaced, or sent as several lines. */
export function withField(request: WireRequest, name: string, ...values: readonly string[]): WireRequest {
  const others = lines(request, (line) => (line[0].toLowerCase() === name.toLowerCase() ? [] : [line]));
  return { ...others, headers: [...others.headers, ...values.map((value): HeaderLine => [name, value])] };
}

export function field(request: WireRequest, name: string): string {
  const line = request.headers.find(([field]) => field.toLowerCase() === name.toLowerCase());
  if (line === undefined) throw new Error(`no ${name}`);
  return line[1];
}

const one = (name: string, request: WireRequest, expected: Expected): SignedRequestCase => ({
  name,
  send: [request],
  expected: [expected],
});

const base = signed({ nonce: 'nonce-of-the-captured-request' });
const other = signed({ nonce: 'nonce-of-the-captured-request', body: '{"prompt":"another"}' });
const at = (timestamp: number) => signed({ timestamp });
const flipped = (hex: string) => (hex.startsWith('0') ? '1' : '0') + hex.slice(1);

/** Requests that the owner of a key may send: all are accepted. */
export const LEGITIMATE: readonly SignedRequestCase[] = [
  one('an unchanged request', base, ACCEPTED),
  one('a GET', signed({ method: 'GET' }), ACCEPTED),
  one('a GET without Content-Digest', withField(signed({ method: 'GET' }), 'Content-Digest'), ACCEPTED),
  one('a POST without a body', signed({ body: '' }), ACCEPTED),
  one('a body in chunks', { ...base, chunked: true }, ACCEPTED),
  one('a body of exactly maxBytes', signed({ body: `"${'x'.repeat(MAX_BODY - 2)}"` }), ACCEPTED),
  one('a target without a query', signed({ url: 'http://api.example.test/generate' }), ACCEPTED),
  one(
    'a question mark without a query',
    { ...signed({ url: 'http://api.example.test/generate' }), target: '/generate?' },
    ACCEPTED,
  ),
  one('an authority with a port', signed({ url: 'http://api.example.test:8080/' }), ACCEPTED),
  one('the host in upper case', withField(base, 'Host', 'API.Example.TEST'), ACCEPTED),
  one(
    'the signature in upper case',
    withField(base, 'X-Signature', field(base, 'X-Signature').toUpperCase()),
    ACCEPTED,
  ),
  one('the fields in reverse order', { ...base, headers: base.headers.toReversed() }, ACCEPTED),
  one(
    'field names in upper case',
    lines(base, ([name, value]) => [[name.toUpperCase(), value]]),
    ACCEPTED,
  ),
  one(
    'field names in lower case',
    lines(base, ([name, value]) => [[name.toLowerCase(), value]]),
    ACCEPTED,
  ),
  one(
    'a bearer token next to the signature',
    { ...base, headers: [...base.headers, ['Authorization', 'Bearer x']] },
    ACCEPTED,
  ),
  one('a nonce of 16 characters', signed({ nonce: 'n'.repeat(16) }), ACCEPTED),
  one('a nonce of 128 characters', signed({ nonce: '_-'.repeat(64) }), ACCEPTED),
  one('a key one millisecond before it expires', signed({ keyId: 'earlier', secret: EARLIER_SECRET }), ACCEPTED),
  one('a timestamp one second within the tolerance in the past', at(SECOND - TOLERANCE + 1), ACCEPTED),
  one('a timestamp one second within the tolerance in the future', at(SECOND + TOLERANCE - 1), ACCEPTED),
  {
    name: 'the same request, signed again each time',
    send: [signed(), signed(), signed()],
    expected: [ACCEPTED, ACCEPTED, ACCEPTED],
  },
  {
    name: 'one nonce with two keys',
    send: [base, signed({ nonce: field(base, 'X-Nonce'), keyId: 'earlier', secret: EARLIER_SECRET })],
    expected: [ACCEPTED, ACCEPTED],
  },
];

/** Requests that an attacker captured, changed or guessed: none is accepted, except for the captured original. */
export const ATTACKS: readonly SignedRequestCase[] = [
  {
    name: 'a replay of the same bytes',
    send: [base, base, base],
    expected: [ACCEPTED, invalid('replayed'), invalid('replayed')],
  },
  {
    name: 'a replay with the signature in upper case',
    send: [base, withField(base, 'X-Signature', field(base, 'X-Signature').toUpperCase())],
    expected: [ACCEPTED, invalid('replayed')],
  },
  { name: 'another body with a used nonce', send: [base, other], expected: [ACCEPTED, invalid('replayed')] },
  {
    name: 'a tampered copy, which does not use up the nonce of the original',
    send: [{ ...base, body: `${BODY} ` }, base],
    expected: [invalid('wrong content-digest'), ACCEPTED],
  },
  {
    name: 'a guessed signature, which does not use up the nonce of the original',
    send: [withField(base, 'X-Signature', '0'.repeat(64)), base],
    expected: [WRONG, ACCEPTED],
  },
  one('another body', { ...base, body: BODY.replace('red', 'RED') }, invalid('wrong content-digest')),
  one(
    'another body and its digest',
    { ...other, headers: withField(base, 'Content-Digest', field(other, 'Content-Digest')).headers },
    WRONG,
  ),
  one('a removed body', { ...base, body: '' }, invalid('wrong content-digest')),
  one('an added body', { ...signed({ body: '' }), body: BODY }, invalid('wrong content-digest')),
  one(
    'an added body, in chunks',
    { ...signed({ body: '' }), body: BODY, chunked: true },
    invalid('wrong content-digest'),
  ),
  one('a body added to a GET', { ...signed({ method: 'GET' }), body: BODY }, invalid('wrong content-digest')),
  one('a removed Content-Digest', withField(base, 'Content-Digest'), WRONG),
  one('another method', { ...base, method: 'PUT' }, WRONG),
  one('another path', { ...base, target: base.target.replace('generate', 'generate/') }, WRONG),
  one('a path in another case', { ...base, target: base.target.replace('generate', 'Generate') }, WRONG),
  one('a path in another encoding', { ...base, target: base.target.replace('generate', '%67enerate') }, WRONG),
  one('another query', { ...base, target: base.target.replace('seed=1', 'seed=2') }, WRONG),
  one('a query in another order', { ...base, target: '/generate?size=%20big&seed=1' }, WRONG),
  one('a query in another encoding', { ...base, target: base.target.replace('%20', '+') }, WRONG),
  one('a removed query', { ...base, target: '/generate' }, WRONG),
  one('one more question mark', { ...base, target: base.target.replace('?', '??') }, WRONG),
  one('another host', withField(base, 'Host', 'evil.example.test'), WRONG),
  one('the host with a port', withField(base, 'Host', 'api.example.test:80'), WRONG),
  one('two Host lines', withField(base, 'Host', 'api.example.test', 'evil.example.test'), malformed('malformed host')),
  one('another timestamp', withField(base, 'X-Timestamp', String(SECOND + 1)), WRONG),
  one('another nonce', withField(base, 'X-Nonce', 'another-nonce-altogether'), WRONG),
  one('another key id', withField(base, 'X-Key-Id', 'earlier'), WRONG),
  one('a timestamp one second beyond the tolerance in the past', at(SECOND - TOLERANCE - 1), invalid('skew')),
  one('a timestamp one second beyond the tolerance in the future', at(SECOND + TOLERANCE + 1), invalid('skew')),
  one('a timestamp of 1970', at(1), invalid('skew')),
  one('the secret of another service', signed({ secret: STRANGE_SECRET }), WRONG),
  one("a key's secret with another key's id", signed({ secret: EARLIER_SECRET }), WRONG),
  one('an unknown key', signed({ keyId: 'unknown' }), invalid('unknown')),
  one('the key id __proto__', signed({ keyId: '__proto__' }), invalid('unknown')),
  one('the key id constructor', signed({ keyId: 'constructor' }), invalid('unknown')),
  one(
    'a key exactly when it expires',
    signed({ keyId: 'expired', secret: `${EARLIER_SECRET} still` }),
    invalid('expired'),
  ),
  one('a signature with one changed bit', withField(base, 'X-Signature', flipped(field(base, 'X-Signature'))), WRONG),
  one('a removed signature', withField(base, 'X-Signature'), MISSING),
  one(
    'two signatures',
    withField(base, 'X-Signature', ...Array(2).fill(field(base, 'X-Signature'))),
    malformed('repeated'),
  ),
  one('a blank signature', withField(base, 'X-Signature', ''), malformed('malformed signature')),
  one(
    'a shortened signature',
    withField(base, 'X-Signature', field(base, 'X-Signature').slice(2)),
    malformed('malformed signature'),
  ),
  one(
    'a lengthened signature',
    withField(base, 'X-Signature', `${field(base, 'X-Signature')}00`),
    malformed('malformed signature'),
  ),
  one('a signature in base64', withField(base, 'X-Signature', 'A'.repeat(43)), malformed('malformed signature')),
  one('a removed timestamp', withField(base, 'X-Timestamp'), malformed('missing x-timestamp')),
  one('two timestamps', withField(base, 'X-Timestamp', String(SECOND), String(SECOND)), malformed('repeated')),
  one('a timestamp in milliseconds', withField(base, 'X-Timestamp', String(NOW)), malformed('malformed x-timestamp')),
  one('a timestamp in hexadecimal', withField(base, 'X-Timestamp', '0x68e77f80'), malformed('malformed x-timestamp')),
  one('a timestamp with a sign', withField(base, 'X-Timestamp', `+${SECOND}`), malformed('malformed x-timestamp')),
  one('a timestamp with a fraction', withField(base, 'X-Timestamp', `${SECOND}.0`), malformed('malformed x-timestamp')),
  one(
    'a timestamp in ISO 8601',
    withField(base, 'X-Timestamp', '2025-10-09T08:53:20Z'),
    malformed('malformed x-timestamp'),
  ),
  one('a timestamp of NaN', withField(base, 'X-Timestamp', 'NaN'), malformed('malformed x-timestamp')),
  one('a removed nonce', withField(base, 'X-Nonce'), malformed('missing x-nonce')),
  one('two nonces', withField(base, 'X-Nonce', field(base, 'X-Nonce'), 'n'.repeat(16)), malformed('repeated')),
  one('a nonce of 15 characters', withField(base, 'X-Nonce', 'n'.repeat(15)), malformed('malformed x-nonce')),
  one('a nonce of 129 characters', withField(base, 'X-Nonce', 'n'.repeat(129)), malformed('malformed x-nonce')),
  one('a nonce with a colon', withField(base, 'X-Nonce', 'nonce:with-a-colon'), malformed('malformed x-nonce')),
  one('a removed key id', withField(base, 'X-Key-Id'), malformed('missing x-key-id')),
  one('two key ids', withField(base, 'X-Key-Id', 'current', 'current'), malformed('repeated')),
  one('a key id with a space', withField(base, 'X-Key-Id', 'current key'), malformed('malformed x-key-id')),
  one(
    'two Content-Digest lines',
    withField(base, 'Content-Digest', ...Array(2).fill(field(base, 'Content-Digest'))),
    malformed('repeated'),
  ),
  one(
    'a digest of another algorithm',
    withField(base, 'Content-Digest', 'md5=:1B2M2Y8AsgTpgAmY7PhCfg==:'),
    malformed('malformed content-digest'),
  ),
  one(
    'two digests in one Content-Digest line',
    withField(base, 'Content-Digest', `${field(base, 'Content-Digest')}, md5=:1B2M2Y8AsgTpgAmY7PhCfg==:`),
    malformed('malformed content-digest'),
  ),
  one('a body over maxBytes', signed({ body: 'x'.repeat(MAX_BODY + 1) }), TOO_LARGE),
  one('a body over maxBytes, in chunks', { ...signed({ body: 'x'.repeat(MAX_BODY + 1) }), chunked: true }, TOO_LARGE),
  one(
    'a body over maxBytes with a wrong signature',
    signed({ body: 'x'.repeat(MAX_BODY + 1), secret: STRANGE_SECRET }),
    WRONG,
  ),
];

/** The bytes of a request, the last one of its connection. Its body, if any, is JSON. */
export function bytesOf({ method, target, headers, body, chunked }: WireRequest): string {
  const framing: HeaderLine = chunked
    ? ['Transfer-Encoding', 'chunked']
    : ['Content-Length', String(Buffer.byteLength(body))];
  const type: readonly HeaderLine[] = body === '' ? [] : [['Content-Type', 'application/json']];
  const fields = [...headers, ...type, framing, ['Connection', 'close']].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const chunk = body === '' ? '' : `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`;
  return `${method} ${target} HTTP/1.1\r\n${fields.join('')}\r\n${chunked ? `${chunk}0\r\n\r\n` : body}`;
}
