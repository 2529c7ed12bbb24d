// What the five guards do, written by hand for one service: no options, no order, no faults, no second framework. It is the
// least that can be done for these answers.
import { hash, randomUUID, timingSafeEqual } from 'node:crypto';

export const ORIGIN = 'https://app.example.com';
export const LIMIT = 1_000_000_000;
const ID = /^[A-Za-z0-9._=-]{1,128}$/;
const SEGMENTS = 64;
const SEGMENT_MS = 60_000 / SEGMENTS;
const EXPOSED =
  'RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-ID, ' +
  'X-Process-Time';
const HEADERS = [
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'DENY'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['x-xss-protection', '0'],
  ['referrer-policy', 'no-referrer'],
  ['permissions-policy', 'camera=(), geolocation=(), microphone=()'],
  ['cross-origin-resource-policy', 'same-origin'],
];

/** Returns a function that sets all headers on `response`. It returns false if the request is refused. */
export function idealGuards(key) {
  const digest = hash('sha256', key, 'hex');
  const clients = new Map([[digest, { id: 'client', digest: Buffer.from(digest, 'latin1') }]]);
  const candidate = Buffer.alloc(64);
  const windows = new Map();

  function isKnown(token) {
    if (token === undefined) return undefined;
    const hex = hash('sha256', token, 'hex');
    const client = clients.get(hex);
    if (client === undefined) return undefined;
    candidate.write(hex, 'latin1');
    return timingSafeEqual(candidate, client.digest) ? client : undefined;
  }

  function count(id) {
    const segment = Math.floor(Date.now() / SEGMENT_MS);
    let window = windows.get(id);
    if (window === undefined) {
      window = { units: new Uint32Array(SEGMENTS), last: segment, total: 0 };
      windows.set(id, window);
    }
    for (let i = Math.max(window.last + 1, segment - SEGMENTS + 1); i <= segment; i++) {
      window.total -= window.units[i % SEGMENTS];
      window.units[i % SEGMENTS] = 0;
    }
    window.last = segment;
    if (window.total >= LIMIT) return undefined;
    window.units[segment % SEGMENTS]++;
    window.total++;
    return window;
  }

  return function guards(headers, response) {
    const received = headers['x-request-id'];
    response.setHeader('x-request-id', received !== undefined && ID.test(received) ? received : randomUUID());
    for (let i = 0; i < HEADERS.length; i++) response.setHeader(HEADERS[i][0], HEADERS[i][1]);
    response.setHeader('vary', 'Origin');
    if (headers.origin === ORIGIN) {
      response.setHeader('access-control-allow-origin', ORIGIN);
      response.setHeader('access-control-expose-headers', EXPOSED);
    }
    const client = isKnown(headers['x-api-key']);
    if (client === undefined) return false;
    const window = count(client.id);
    if (window === undefined) return false;
    response.setHeader('ratelimit-policy', `"60s";q=${LIMIT};w=60`);
    response.setHeader('ratelimit', `"60s";r=${LIMIT - window.total};t=60`);
    return true;
  };
}
