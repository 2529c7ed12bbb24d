import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import { canonicalText } from '../../../src/auth/signed-request/canonical.js';
import { memoryReplayStore } from '../../../src/auth/signed-request/memory-replay-store.js';
import type { Remembered, ReplayStore } from '../../../src/auth/signed-request/replay-store.js';
import { type SignedRequestOptions, signedRequest } from '../../../src/auth/signed-request/signed-request.js';
import type { AuthenticationDecision } from '../../../src/core/authentication-decision.js';
import type { Guard } from '../../../src/core/guard.js';
import { OptionError } from '../../../src/core/option.js';
import { sequence } from '../../../src/core/sequence.js';
import { type Answer, ask, type TestExchangeOptions, testExchange } from '../../exchange-fixture.js';
import { failing } from '../../failing.js';
import {
  ATTACKS,
  BODY,
  EARLIER_SECRET,
  LEGITIMATE,
  MAX_BODY,
  NOW,
  SECOND,
  SECRET,
  STRANGE_SECRET,
  service,
  signed,
  startedBefore,
  TOLERANCE,
  type WireRequest,
  withField,
} from './signed-request-cases.js';

interface Seen extends Answer {
  readonly decision: AuthenticationDecision | undefined;
  readonly code: string | undefined;
}

/** Sends one request through a guard, and records the authentication decision. */
async function send(guard: Guard, request: WireRequest, options: TestExchangeOptions = {}): Promise<Seen> {
  let decision: AuthenticationDecision | undefined;
  const listening: Guard = (exchange) => {
    exchange.authenticationListener = (latest) => {
      decision = latest;
    };
    return undefined;
  };
  const { method, target: url, headers, body } = request;
  const answer = await ask(sequence(listening, guard), { method, url, headers, body, ...options });
  return { ...answer, decision, code: answer.passed ? undefined : JSON.parse(answer.body).code };
}

const guardOf = (options: Partial<SignedRequestOptions> = {}) => authenticate(service(options));
const base = signed({ nonce: 'nonce-of-the-captured-request' });

/** A replay store that records its calls. */
function watched(remember: ReplayStore['remember']): ReplayStore & { readonly calls: readonly [string, number][] } {
  const calls: [string, number][] = [];
  return {
    calls,
    remember(key, until) {
      calls.push([key, until]);
      return remember(key, until);
    },
  };
}

describe('a signed request', () => {
  it.each(LEGITIMATE)('is accepted: $name', async ({ send: requests, expected }) => {
    const guard = guardOf();
    for (const [i, request] of requests.entries()) {
      const { passed, decision, faults } = await send(guard, request);
      expect({ passed, reason: decision?.reason, faults }).toEqual({
        passed: true,
        reason: expected[i]?.reason,
        faults: [],
      });
    }
  });

  it.each(ATTACKS)('is refused: $name', async ({ send: requests, expected }) => {
    const guard = guardOf();
    const seen = [];
    for (const request of requests) {
      const { passed, status = 200, code, decision, faults, exchange } = await send(guard, request);
      seen.push({ status, ...(code === undefined ? {} : { code }), reason: decision?.reason });
      expect(faults).toEqual([]);
      expect(exchange.principal === undefined).toBe(!passed);
    }
    expect(seen).toEqual(expected);
  });

  it('authenticates the client of its key, with any of its keys', async () => {
    const guard = guardOf();
    const current = await send(guard, base);
    const earlier = await send(guard, signed({ keyId: 'earlier', secret: EARLIER_SECRET }));
    const client = { id: 'main-server', scheme: 'signed-request' };
    expect(current.exchange.principal).toEqual({ ...client, scopes: ['generate'], credentialId: 'current' });
    expect(earlier.exchange.principal).toEqual({ ...client, scopes: [], credentialId: 'earlier', expiresAt: NOW + 1 });
    expect(() => Object.assign(current.exchange.principal ?? {}, { id: 'x' })).toThrow(TypeError);
  });

  it('refuses every invalid request with the same bytes', async () => {
    const wire = ({ status, replyHeaders, body, contentType, headers }: Answer) =>
      JSON.stringify({ status, replyHeaders, body, contentType, set: headers.all() });
    const guard = guardOf();
    const answers = new Set<string>();
    for (const { send: requests, expected } of ATTACKS) {
      for (const [i, request] of requests.entries()) {
        const answer = await send(guard, request);
        if (expected[i]?.code === 'credentials-invalid') answers.add(wire(answer));
      }
    }
    expect(answers.size).toBe(1);
    expect([...answers][0]).toContain('X-Signature realm=\\"api\\", error=\\"invalid_token\\"');
  });

  it('is refused if any one bit of its signature, nonce, timestamp or digest is changed', async () => {
    const names = ['X-Signature', 'X-Nonce', 'X-Timestamp', 'Content-Digest', 'X-Key-Id', 'Host'];
    const guard = guardOf();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), fc.nat(200), fc.nat(6), async (name, at, bit) => {
        const value = base.headers.find(([field]) => field === name)?.[1] ?? '';
        const index = at % value.length;
        const changed =
          value.slice(0, index) + String.fromCharCode(value.charCodeAt(index) ^ (1 << bit)) + value.slice(index + 1);
        // Case does not matter in a host and in hexadecimal.
        const same = (name === 'Host' || name === 'X-Signature') && changed.toLowerCase() === value.toLowerCase();
        expect((await send(guard, withField(base, name, changed))).passed && !same).toBe(false);
      }),
      { numRuns: 2000 },
    );
    expect((await send(guardOf(), base)).passed).toBe(true);
  });

  it.each([
    ['accepts a timestamp one millisecond within the tolerance in the past', -TOLERANCE * 1000 + 1, true],
    ['accepts a timestamp exactly at the tolerance in the past', -TOLERANCE * 1000, true],
    ['refuses a timestamp one millisecond beyond the tolerance in the past', -TOLERANCE * 1000 - 1, false],
    ['accepts a timestamp one millisecond within the tolerance in the future', TOLERANCE * 1000 - 1, true],
    ['accepts a timestamp exactly at the tolerance in the future', TOLERANCE * 1000, true],
    ['refuses a timestamp one millisecond beyond the tolerance in the future', TOLERANCE * 1000 + 1, false],
  ])('%s', async (_promise, offset, passes) => {
    const now = () => SECOND * 1000 - offset;
    const { passed, decision } = await send(guardOf({ now, replayStore: startedBefore({ now }) }), base);
    expect([passed, decision?.reason]).toEqual([passes, passes ? 'verified' : 'skew']);
  });

  it('is refused while the clock returns NaN', async () => {
    expect((await send(guardOf({ now: () => Number.NaN }), base)).status).toBe(401);
  });

  it.each([
    ['a line feed', '/generate\nPOST'],
    ['a carriage return', '/generate\r'],
    ['a space', '/generate x'],
    ['a letter beyond ASCII', '/g\u00e9n\u00e9rate'],
    ['no characters', ''],
  ])('is malformed if the server passes on a target with %s', async (_what, target) => {
    expect((await send(guardOf(), { ...base, target })).status).toBe(400);
  });

  it('is malformed without a host', async () => {
    const { status, decision } = await send(guardOf(), withField(base, 'Host'));
    expect([status, decision?.reason]).toEqual([400, 'malformed host']);
  });

  it.each([
    ['a line feed', 'api.example.test\n/other'],
    ['a space', 'api.example.test x'],
    ['no characters', ''],
  ])('is malformed if the server passes on a host with %s', async (_what, host) => {
    const { status, decision } = await send(guardOf(), withField(base, 'Host', host));
    expect([status, decision?.reason]).toEqual([400, 'malformed host']);
  });
});

describe('the canonical text', () => {
  const parts = { method: 'POST', authority: 'API.example.com:8080', target: '/generate/text?steps=64' };
  const claim = { timestamp: '1760000000', nonce: 'nonce-0123456789', keyId: 'main', digest: 'sha-256=:x:' };

  it('is what the documentation says', () => {
    expect(canonicalText(parts, claim)).toBe(
      'gatewarden-hmac-sha256-v1\nPOST\napi.example.com:8080\n/generate/text?steps=64\n1760000000\nnonce-0123456789\nmain\nsha-256=:x:',
    );
  });

  it('is verified with the HMAC of any other implementation', async () => {
    const emptyDigest = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
    const text = `gatewarden-hmac-sha256-v1\nGET\napi.example.com\n/\n${SECOND}\nnonce-0123456789\ncurrent\n${emptyDigest}`;
    const request: WireRequest = {
      method: 'GET',
      target: '/',
      headers: [
        ['Host', 'api.example.com'],
        ['X-Timestamp', String(SECOND)],
        ['X-Nonce', 'nonce-0123456789'],
        ['X-Key-Id', 'current'],
        ['X-Signature', createHmac('sha256', SECRET).update(text).digest('hex')],
      ],
      body: '',
    };
    expect((await send(guardOf(), request)).passed).toBe(true);
  });

  it.each([
    ['/generate?', '/generate'],
    ['/generate?a?', '/generate?a?'],
    ['/generate??', '/generate??'],
    ['?', ''],
  ])('writes the target %s as the line %s: only the question mark of an empty query is dropped', (target, line) => {
    expect(canonicalText({ ...parts, target }, claim).split('\n')[3]).toBe(line);
  });

  it('is different for every different request', () => {
    const word = fc.stringMatching(/^[\x21-\x7e]{1,8}$/);
    const request = fc.record({ method: word, authority: word, target: word });
    const claims = fc.record({ timestamp: word, nonce: word, keyId: word, digest: word });
    fc.assert(
      fc.property(request, claims, request, claims, (a, claimA, b, claimB) => {
        const plain = ({ method, authority, target }: typeof a) => [
          method,
          authority.toLowerCase(),
          target.replace(/^([^?]*)\?$/, '$1'),
        ];
        const same = JSON.stringify([plain(a), claimA]) === JSON.stringify([plain(b), claimB]);
        expect(canonicalText(a, claimA) === canonicalText(b, claimB)).toBe(same);
      }),
    );
  });
});

describe('a fixed authority', () => {
  it('is what clients sign, whatever Host a proxy sends', async () => {
    const guard = guardOf({ authority: 'API.example.test' });
    for (const hosts of [['10.0.0.7:8080'], [], ['a', 'b']]) {
      expect((await send(guard, withField(signed(), 'Host', ...hosts))).passed).toBe(true);
    }
  });

  it('refuses a request to another service, even with a forged Host', async () => {
    const guard = guardOf({ authority: 'images.example.test' });
    expect((await send(guard, base)).decision?.reason).toBe('wrong signature');
    expect((await send(guard, withField(base, 'Host', 'images.example.test'))).status).toBe(401);
  });
});

describe('a request without a valid, unused signature', () => {
  const refused: readonly (readonly [name: string, request: WireRequest, reason: string])[] = [
    ['an old request', signed({ timestamp: SECOND - TOLERANCE - 1 }), 'skew'],
    ['an unknown key', signed({ keyId: 'unknown' }), 'unknown'],
    ['a wrong signature', signed({ secret: STRANGE_SECRET }), 'wrong signature'],
    ['an expired key', signed({ keyId: 'expired', secret: `${EARLIER_SECRET} still` }), 'expired'],
  ];

  it.each(refused)('has no body read and no nonce remembered: %s', async (_name, request, reason) => {
    const store = watched(() => 'new');
    let reads = 0;
    const readBody = async () => {
      reads++;
      return Buffer.from(BODY);
    };
    const { decision, status } = await send(guardOf({ replayStore: store }), request, { readBody });
    expect({ reason: decision?.reason, status, reads, calls: store.calls }).toEqual({
      reason,
      status: 401,
      reads: 0,
      calls: [],
    });
  });

  it('is refused before its body is read if the signature was used', async () => {
    const guard = guardOf();
    let reads = 0;
    const readBody = async () => {
      reads++;
      return Buffer.from(BODY);
    };
    expect((await send(guard, base, { readBody })).passed).toBe(true);
    for (let i = 0; i < 5; i++) {
      expect((await send(guard, base, { readBody })).decision?.reason).toBe('replayed');
    }
    expect(reads).toBe(1);
  });

  it('is refused with 503 if it was signed before the store began to remember', async () => {
    const now = () => SECOND * 1000;
    const replayStore = memoryReplayStore({ now });
    const { status, decision } = await send(guardOf({ now, replayStore }), signed({ timestamp: SECOND - 1 }));
    expect([status, decision?.reason]).toEqual([503, 'signed before startup']);
    expect((await send(guardOf({ now, replayStore }), base)).passed).toBe(true);
  });

  it('has no nonce remembered if the body was tampered with', async () => {
    const store = watched(() => 'new');
    await send(guardOf({ replayStore: store }), { ...base, body: 'x' });
    expect(store.calls).toEqual([]);
  });
});

describe('the body', () => {
  it('is read up to maxBytes, and no further', async () => {
    const limits: number[] = [];
    const readBody = async (maxBytes: number) => {
      limits.push(maxBytes);
      return 'too-large' as const;
    };
    expect((await send(guardOf({ maxBytes: 7 }), base, { readBody })).status).toBe(413);
    expect((await send(guardOf(), base, { readBody })).status).toBe(413);
    const keys = [{ id: 'current', secret: SECRET }];
    const byDefault = signedRequest({ keys, now: () => NOW, replayStore: startedBefore() });
    await send(authenticate(byDefault), base, { readBody });
    expect(limits).toEqual([7, MAX_BODY, 1_048_576]);
  });

  it('that arrives after the timestamp is too old does not let the request pass again', async () => {
    let time = NOW;
    const now = () => time;
    const store = watched(() => 'new');
    const readBody = async () => {
      time += TOLERANCE * 1000;
      return Buffer.from(BODY);
    };
    const { status, decision } = await send(guardOf({ now, replayStore: store }), base, { readBody });
    expect([status, decision?.reason, store.calls]).toEqual([401, 'skew', []]);
  });

  it('that was read before is a fault, and never a pass', async () => {
    const { status, faults } = await send(guardOf(), base, { readBody: async () => 'consumed' });
    expect([status, faults.map(String)]).toEqual([
      500,
      ['Error: gatewarden: the body was read before signedRequest; put guards before body parsers'],
    ]);
  });

  it('of a client that disconnects is not a fault, and never a pass', async () => {
    const { passed, decision, faults } = await send(guardOf(), base, { readBody: async () => 'aborted' });
    expect({ passed, reason: decision?.reason, faults }).toEqual({
      passed: false,
      reason: 'client disconnected',
      faults: [],
    });
  });

  it('of a client that disconnected in the meantime uses up no nonce', async () => {
    const store = watched(() => 'new');
    const guard = service({ replayStore: store });
    const { exchange } = testExchange({
      method: base.method,
      url: base.target,
      headers: base.headers,
      readBody: async () => {
        exchange.end({ kind: 'aborted' });
        return Buffer.from(BODY);
      },
    });
    const credentials = guard.read(exchange.request);
    const verdict = await guard.verify(credentials.kind === 'present' ? credentials.token : '', exchange);
    expect([verdict, store.calls]).toEqual([expect.objectContaining({ reason: 'client disconnected' }), []]);
  });

  const unreadable: readonly (readonly [name: string, request: WireRequest, status: number | undefined])[] = [
    ['a GET', signed({ method: 'GET' }), undefined],
    ['a GET with a length of 0', withField(signed({ method: 'GET' }), 'Content-Length', '0'), undefined],
    ['a GET with a body', withField(signed({ method: 'GET' }), 'Content-Length', '1'), 500],
    ['a GET in chunks', withField(signed({ method: 'GET' }), 'Transfer-Encoding', 'chunked'), 500],
    ['a POST', base, 500],
    ['a POST without a body', signed({ body: '' }), 500],
    ['a DELETE without a body', signed({ method: 'DELETE', body: '' }), 500],
  ];

  it.each(unreadable)(
    'must be certain to be absent if the server cannot read it: %s',
    async (_name, request, status) => {
      const answer = await send(guardOf(), request, { readBody: undefined });
      expect([answer.status, answer.faults.length]).toEqual([status, status === undefined ? 0 : 1]);
    },
  );
});

describe('the replay store', () => {
  it('is asked once to remember key and nonce for as long as the timestamp is accepted', async () => {
    const store = watched(() => 'new');
    for (const timestamp of [SECOND, SECOND - TOLERANCE + 1, SECOND + TOLERANCE]) {
      await send(guardOf({ replayStore: store }), signed({ timestamp, nonce: `nonce-of-${timestamp}` }));
    }
    // One millisecond after the last moment at which each is accepted.
    expect(store.calls).toEqual([
      [`current:nonce-of-${SECOND}`, (SECOND + TOLERANCE) * 1000 + 1],
      [`current:nonce-of-${SECOND - TOLERANCE + 1}`, (SECOND + 1) * 1000 + 1],
      [`current:nonce-of-${SECOND + TOLERANCE}`, (SECOND + 2 * TOLERANCE) * 1000 + 1],
    ]);
  });

  it('admits one of any number of concurrent copies', async () => {
    const guard = guardOf();
    const answers = await Promise.all(Array.from({ length: 100 }, () => send(guard, base)));
    expect(answers.filter(({ passed }) => passed)).toHaveLength(1);
    expect(answers.filter(({ decision }) => decision?.reason === 'replayed')).toHaveLength(99);
  });

  it('refuses a copy for as long as its timestamp is accepted', async () => {
    let time = SECOND * 1000 - TOLERANCE * 1000;
    const now = () => time;
    const guard = guardOf({ now, replayStore: startedBefore({ now }) });
    expect((await send(guard, base)).passed).toBe(true);
    for (; time <= SECOND * 1000 + TOLERANCE * 1000; time += 997) {
      expect((await send(guard, base)).decision?.reason).toBe('replayed');
    }
    time = SECOND * 1000 + TOLERANCE * 1000;
    expect((await send(guard, base)).decision?.reason).toBe('replayed');
    time++;
    expect((await send(guard, base)).decision?.reason).toBe('skew');
  });

  it('that is full of live nonces gets 503, and admits requests again when one has expired', async () => {
    let time = NOW;
    const now = () => time;
    const guard = guardOf({ now, replayStore: startedBefore({ maxEntries: 2, now }) });
    const soon = signed({ timestamp: SECOND - TOLERANCE + 2 });
    expect([(await send(guard, soon)).passed, (await send(guard, base)).passed]).toEqual([true, true]);
    const third = signed();
    const refused = await send(guard, third);
    expect([refused.status, refused.code, refused.decision?.reason, refused.faults]).toEqual([
      503,
      'authentication-unavailable',
      'replay store full',
      [],
    ]);
    expect((await send(guard, base)).decision?.reason).toBe('replayed');
    time += 3000;
    expect((await send(guard, third)).passed).toBe(true);
  });

  const broken: readonly (readonly [name: string, remember: () => unknown])[] = [
    ...failing('down'),
    ['never answers', () => new Promise(() => undefined)],
    ['returns true', () => true],
    ['returns undefined', () => undefined],
    ['promises an unknown answer', async () => 'newer'],
  ];

  it.each(broken)('that %s gets 503, and is reported', async (_how, remember) => {
    const store: ReplayStore = { remember: () => remember() as Remembered };
    const { status, code, faults, decision } = await send(guardOf({ replayStore: store, timeout: '20ms' }), base);
    expect([status, code, decision?.outcome, decision?.reason, faults.length]).toEqual([
      503,
      'authentication-unavailable',
      'unavailable',
      'replay store failed',
      1,
    ]);
  });
});

describe('the has function of a replay store', () => {
  const broken: readonly (readonly [name: string, has: () => unknown])[] = [
    ...failing('down'),
    ['never answers', () => new Promise(() => undefined)],
  ];

  it.each(broken)('that %s gets 503, and is reported', async (_how, has) => {
    const store: ReplayStore = { remember: () => 'new', has: () => has() as boolean };
    const { status, decision, faults } = await send(guardOf({ replayStore: store, timeout: '20ms' }), base);
    expect([status, decision?.reason, faults.length]).toEqual([503, 'replay store failed', 1]);
  });
});

describe('signedRequest', () => {
  const key = { id: 'current', secret: SECRET };
  const options = { keys: [key], replayStore: memoryReplayStore() };
  const bad: readonly (readonly [what: string, options: object, named: string])[] = [
    ['an empty list of keys', { keys: [] }, '"keys"'],
    ['keys that are not a list', { keys: key }, '"keys"'],
    ['a secret of 31 characters', { keys: [{ ...key, secret: SECRET.slice(0, 31) }] }, '"keys[0].secret"'],
    ['an empty secret', { keys: [key, { id: 'x', secret: '' }] }, '"keys[1].secret" is empty'],
    ['an unset secret', { keys: [{ id: 'x', secret: undefined }] }, '"keys[0].secret" is not set'],
    ['a short secret, with a recipe', { keys: [{ id: 'x', secret: 'short' }] }, 'openssl rand -hex 32'],
    ['a secret twice', { keys: [key, { id: 'other', secret: SECRET }] }, '"keys[1].secret"'],
    ['an id twice', { keys: [key, { ...key, secret: STRANGE_SECRET }] }, '"keys[1].id"'],
    ['an id with a colon', { keys: [{ ...key, id: 'a:b' }] }, '"keys[0].id"'],
    ['an id of 65 characters', { keys: [{ ...key, id: 'x'.repeat(65) }] }, '"keys[0].id"'],
    ['the secret as id', { keys: [{ id: 'k'.repeat(40), secret: 'k'.repeat(40) }] }, '"keys[0].id"'],
    ['the secret as client', { keys: [{ ...key, clientId: SECRET }] }, '"keys[0].clientId"'],
    ['an empty client', { keys: [{ ...key, clientId: '' }] }, '"keys[0].clientId"'],
    ['a scope of two words', { keys: [{ ...key, scopes: ['a b'] }] }, '"keys[0].scopes"'],
    ['scopes that are not a list', { keys: [{ ...key, scopes: 'admin' }] }, '"keys[0].scopes"'],
    ['an expiry in seconds', { keys: [{ ...key, expiresAt: SECOND }] }, '"keys[0].expiresAt"'],
    ['an expiry in words', { keys: [{ ...key, expiresAt: 'tomorrow' }] }, '"keys[0].expiresAt"'],
    [
      'an expiry that is an invalid Date',
      { keys: [{ ...key, expiresAt: new Date(Number.NaN) }] },
      '"keys[0].expiresAt"',
    ],
    ['a misspelt member of a key', { keys: [{ ...key, expiresAT: new Date() }] }, '"keys[0]"'],
    ['a secret instead of a key', { keys: [SECRET] }, '"keys[0]"'],
    ['no replay store', { replayStore: undefined }, '"replayStore"'],
    ['a URL as replay store', { replayStore: `redis://:${SECRET}@host` }, '"replayStore"'],
    ['a tolerance of nothing', { tolerance: '0s' }, '"tolerance"'],
    ['a tolerance without a unit', { tolerance: 300 }, '"tolerance" needs a unit'],
    ['a tolerance of two days', { tolerance: '2d' }, '"tolerance"'],
    ['a maxBytes without a number', { maxBytes: 'mb' }, '"maxBytes"'],
    ['a maxBytes over the maximum', { maxBytes: '2gb' }, '"maxBytes"'],
    ['a URL as authority', { authority: 'https://api.example.com' }, '"authority"'],
    ['a timeout of an hour', { timeout: '1h' }, '"timeout"'],
    ['a clock that is not a function', { now: NOW }, '"now"'],
    ['a misspelt option', { replaystore: 1 }, '"replaystore"'],
  ];

  it.each(bad)('refuses %s', (_what, wrong, named) => {
    const make = () => signedRequest({ ...options, ...wrong } as SignedRequestOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    try {
      make();
    } catch (error) {
      expect(inspect(error)).not.toContain(SECRET.slice(0, 8));
      expect(inspect(error)).not.toContain('k'.repeat(40));
    }
  });

  it.each([
    ['a Date', new Date(NOW)],
    ['an ISO 8601 string', new Date(NOW).toISOString()],
    ['epoch milliseconds', NOW],
  ])('accepts %s as the expiry of a key', async (_what, expiresAt) => {
    const at = (time: number) => {
      const now = () => time;
      const keys = [{ ...key, expiresAt }];
      const expiring = signedRequest({ keys, now, replayStore: startedBefore({ now }) });
      return send(authenticate(expiring), base);
    };
    expect((await at(NOW - 1)).exchange.principal?.expiresAt).toBe(NOW);
    expect((await at(NOW)).decision?.reason).toBe('expired');
  });

  it('accepts a size with its unit as maxBytes', async () => {
    const limits: number[] = [];
    const readBody = async (maxBytes: number) => {
      limits.push(maxBytes);
      return Buffer.from(BODY);
    };
    await send(guardOf({ maxBytes: '2mb' }), base, { readBody });
    expect(limits).toEqual([2_097_152]);
  });

  it('shows no secret when it is printed', () => {
    expect(inspect(service(), { depth: 20, showHidden: true })).not.toContain(SECRET);
  });
});
