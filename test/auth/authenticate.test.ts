import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { type AuthenticateOptions, authenticate } from '../../src/auth/authenticate.js';
import type { Authenticator, Credentials, Verdict } from '../../src/auth/authenticator.js';
import { readBearer } from '../../src/auth/bearer.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { OptionError } from '../../src/core/option.js';
import { type Principal, principalOf } from '../../src/core/principal.js';
import { sequence } from '../../src/core/sequence.js';
import { ask, type HeaderLine, testExchange } from '../exchange-fixture.js';

const SECRET = 'Zk9-c4n4ry_secret.for~tests+0123/AB==';

const principal = (id: string): Principal => ({ id, scheme: 'test', scopes: [], credentialId: 'c' });
const authenticated = (id: string): Verdict => ({ kind: 'authenticated', principal: principal(id) });
const ABSENT: Verdict = { kind: 'absent' };
const INVALID: Verdict = { kind: 'invalid', reason: 'revoked' };
const UNAVAILABLE: Verdict = { kind: 'unavailable', reason: 'the key store is down' };

interface Stub extends Authenticator {
  /** The tokens that it verified. */
  readonly asked: string[];
}

/** Reads one header as its credential, and returns a fixed verdict, with or without a promise. */
function stub(header: string, verdict: Verdict | (() => Verdict | Promise<Verdict>), challenge = 'Bearer'): Stub {
  const asked: string[] = [];
  return {
    scheme: header,
    challenge,
    asked,
    read(request): Credentials {
      if (header === 'authorization') return readBearer(request);
      const [token] = request.fieldLines(header);
      return token === undefined ? { kind: 'absent' } : { kind: 'present', token };
    },
    verify(token) {
      asked.push(token);
      return typeof verdict === 'function' ? verdict() : verdict;
    },
  };
}

const later = (verdict: Verdict) => async () => verdict;
const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const apiKey = (token: string): HeaderLine => ['X-API-Key', token];

describe('a refusal', () => {
  const cases: readonly (readonly [
    what: string,
    headers: readonly HeaderLine[],
    verdict: Verdict,
    status: number,
    code: string,
    replyHeaders: Readonly<Record<string, string>>,
  ])[] = [
    ['of missing credentials', [], INVALID, 401, 'credentials-missing', { 'WWW-Authenticate': 'Bearer realm="api"' }],
    [
      'of malformed credentials',
      [['Authorization', 'Bearer']],
      INVALID,
      400,
      'credentials-malformed',
      { 'WWW-Authenticate': 'Bearer realm="api", error="invalid_request"' },
    ],
    [
      'of invalid credentials',
      [bearer('T')],
      INVALID,
      401,
      'credentials-invalid',
      { 'WWW-Authenticate': 'Bearer realm="api", error="invalid_token"' },
    ],
    ['of overlong credentials', [bearer('T'.repeat(8193))], INVALID, 431, 'credentials-too-large', {}],
    [
      'of credentials that cannot be checked now',
      [bearer('T')],
      UNAVAILABLE,
      503,
      'authentication-unavailable',
      { 'Retry-After': '5' },
    ],
  ];

  it.each(cases)(
    '%s has exactly the documented status, code and headers',
    async (_what, headers, verdict, status, code, expectedHeaders) => {
      for (const given of [verdict, later(verdict)]) {
        const answer = await ask(authenticate(stub('authorization', given)), { headers });
        expect(answer.status).toBe(status);
        expect(answer.contentType).toBe('application/problem+json');
        expect(JSON.parse(answer.body)).toMatchObject({ status, code });
        expect(answer.replyHeaders).toEqual(expectedHeaders);
        expect(answer.exchange.principal).toBeUndefined();
        expect(answer.faults).toEqual([]);
      }
    },
  );

  it('never shows the reason to the client', async () => {
    for (const verdict of [INVALID, UNAVAILABLE]) {
      const { body, replyHeaders } = await ask(authenticate(stub('authorization', verdict)), {
        headers: [bearer('T')],
      });
      expect(`${body}${JSON.stringify(replyHeaders)}`).not.toMatch(/revoked|store/);
    }
  });

  it('lists every challenge once', async () => {
    const guard = authenticate([
      stub('authorization', INVALID),
      stub('x-other', INVALID),
      stub('x-api-key', INVALID, 'ApiKey'),
    ]);
    const missing = await ask(guard);
    expect(missing.replyHeaders).toEqual({ 'WWW-Authenticate': 'Bearer realm="api", ApiKey realm="api"' });
    const invalid = await ask(guard, { headers: [apiKey('T')] });
    expect(invalid.replyHeaders).toEqual({
      'WWW-Authenticate': 'Bearer realm="api", error="invalid_token", ApiKey realm="api", error="invalid_token"',
    });
  });
});

describe('several schemes', () => {
  const cases: readonly (readonly [
    promise: string,
    verdicts: readonly [bearer: Verdict, key: Verdict],
    headers: readonly HeaderLine[],
    expected: { readonly id?: string; readonly status?: number; readonly asked: readonly [string[], string[]] },
  ])[] = [
    [
      'the first one accepts the token',
      [authenticated('a'), authenticated('b')],
      [bearer('T')],
      { id: 'a', asked: [['T'], []] },
    ],
    [
      'a scheme without credentials in the request is skipped',
      [authenticated('a'), authenticated('b')],
      [apiKey('T')],
      { id: 'b', asked: [[], ['T']] },
    ],
    [
      'a scheme that does not recognize the token leaves it to the next',
      [ABSENT, authenticated('b')],
      [bearer('T'), apiKey('T')],
      { id: 'b', asked: [['T'], ['T']] },
    ],
    [
      'a scheme that refuses the token decides: no weaker scheme is tried',
      [INVALID, authenticated('b')],
      [bearer('T'), apiKey('T')],
      { status: 401, asked: [['T'], []] },
    ],
    [
      'a scheme that is unavailable decides as well',
      [UNAVAILABLE, authenticated('b')],
      [bearer('T'), apiKey('T')],
      { status: 503, asked: [['T'], []] },
    ],
    [
      'a later scheme may be unavailable',
      [ABSENT, UNAVAILABLE],
      [bearer('T'), apiKey('T')],
      { status: 503, asked: [['T'], ['T']] },
    ],
    [
      'credentials that no scheme recognizes are invalid, not missing',
      [ABSENT, ABSENT],
      [bearer('T'), apiKey('T')],
      { status: 401, asked: [['T'], ['T']] },
    ],
    [
      'a token is verified only by schemes that read it',
      [ABSENT, authenticated('b')],
      [bearer('T')],
      { status: 401, asked: [['T'], []] },
    ],
    [
      'the same credential in two headers counts as one',
      [authenticated('a'), authenticated('b')],
      [bearer('T'), apiKey('T')],
      { id: 'a', asked: [['T'], []] },
    ],
    [
      'two different credentials are refused before either is verified',
      [authenticated('a'), authenticated('b')],
      [bearer('T'), apiKey('U')],
      { status: 400, asked: [[], []] },
    ],
    [
      'credentials that differ in case are different',
      [authenticated('a'), authenticated('b')],
      [bearer('T'), apiKey('t')],
      { status: 400, asked: [[], []] },
    ],
    [
      'a malformed credential is refused, even next to a valid one',
      [authenticated('a'), authenticated('b')],
      [['Authorization', 'Bearer "T"'], apiKey('T')],
      { status: 400, asked: [[], []] },
    ],
    [
      'an overlong credential is refused before another is verified',
      [authenticated('a'), authenticated('b')],
      [bearer('T'), apiKey('T'.repeat(8193))],
      { status: 431, asked: [[], []] },
    ],
    [
      'a request without any credential is refused as missing',
      [authenticated('a'), authenticated('b')],
      [],
      { status: 401, asked: [[], []] },
    ],
  ];

  for (const [how, given] of [
    ['without a promise', (verdict: Verdict) => verdict],
    ['with a promise', later],
  ] as const) {
    it.each(cases)(`verifying ${how}: %s`, async (_promise, verdicts, headers, expected) => {
      const schemes = [stub('authorization', given(verdicts[0])), stub('x-api-key', given(verdicts[1]))] as const;
      const { passed, status, exchange, faults } = await ask(authenticate(schemes), { headers });
      expect({ passed, id: exchange.principal?.id, status, faults }).toEqual({
        passed: expected.id !== undefined,
        id: expected.id,
        status: expected.status,
        faults: [],
      });
      expect(schemes.map(({ asked }) => asked)).toEqual(expected.asked);
    });
  }

  it('are asked in order, whether they return promises or not', async () => {
    const schemes = [stub('x-a', later(ABSENT)), stub('x-b', ABSENT), stub('x-c', later(authenticated('c')))];
    const headers: readonly HeaderLine[] = schemes.map(({ scheme }) => [scheme, 'T']);
    const { exchange } = await ask(authenticate(schemes), { headers });
    expect(exchange.principal?.id).toBe('c');
    expect(schemes.map(({ asked }) => asked)).toEqual([['T'], ['T'], ['T']]);
  });

  it('are fixed at construction', async () => {
    const schemes = [stub('authorization', INVALID)];
    const guard = authenticate(schemes);
    schemes.unshift(stub('authorization', authenticated('a')));
    expect((await ask(guard, { headers: [bearer('T')] })).status).toBe(401);
  });
});

describe('optional', () => {
  it.each([
    ['admits a request without credentials', [], authenticated('a'), undefined],
    [
      'admits Basic credentials, which no scheme here reads',
      [['Authorization', 'Basic eDp5']],
      authenticated('a'),
      undefined,
    ],
    ['refuses malformed credentials', [['Authorization', 'Bearer']], authenticated('a'), 400],
    ['refuses invalid credentials', [bearer('T')], INVALID, 401],
    ['refuses credentials that no scheme recognizes', [bearer('T')], ABSENT, 401],
    ['refuses credentials that cannot be checked', [bearer('T')], UNAVAILABLE, 503],
    ['refuses overlong credentials', [bearer('T'.repeat(8193))], authenticated('a'), 431],
  ] as const)('%s', async (_promise, headers, verdict, status) => {
    for (const given of [verdict, later(verdict)]) {
      const answer = await ask(authenticate(stub('authorization', given), { optional: true }), { headers });
      expect({ status: answer.status, principal: answer.exchange.principal }).toEqual({ status, principal: undefined });
    }
  });

  it('still accepts valid credentials', async () => {
    const guard = authenticate(stub('authorization', authenticated('a')), { optional: true });
    const { passed, exchange } = await ask(guard, { headers: [bearer('T')] });
    expect({ passed, id: exchange.principal?.id }).toEqual({ passed: true, id: 'a' });
  });
});

describe('an authenticator at fault', () => {
  const fault = new Error('no such table');
  const broken: readonly (readonly [what: string, verify: () => Verdict | Promise<Verdict>])[] = [
    [
      'throws',
      () => {
        throw fault;
      },
    ],
    ['rejects', () => Promise.reject(fault)],
    ['returns no principal', () => ({ kind: 'authenticated' }) as unknown as Verdict],
    ['promises no principal', async () => ({ kind: 'authenticated' }) as unknown as Verdict],
    ['promises undefined', async () => undefined as unknown as Verdict],
  ];

  it.each(broken)('that %s gets 500, is reported, and never admits a request', async (_what, verify) => {
    for (const optional of [false, true]) {
      const next = stub('x-api-key', authenticated('b'));
      const guard = authenticate([stub('authorization', verify), next], { optional });
      const { status, body, faults, exchange } = await ask(guard, { headers: [bearer('T'), apiKey('T')] });
      expect({ status, principal: exchange.principal }).toEqual({ status: 500, principal: undefined });
      expect(body).not.toContain('table');
      expect(faults).toHaveLength(1);
      expect(next.asked).toEqual([]);
    }
  });

  it.each([
    ['returns undefined', () => undefined as unknown as Verdict],
    ['returns an unknown kind', () => ({ kind: 'ok' }) as unknown as Verdict],
    ['returns true', () => true as unknown as Verdict],
  ])('that %s never admits a request', async (_what, verify) => {
    const { status, exchange } = await ask(authenticate(stub('authorization', verify)), { headers: [bearer('T')] });
    expect({ status, principal: exchange.principal }).toEqual({ status: 401, principal: undefined });
  });

  it('that throws while reading gets 500 as well', async () => {
    const scheme: Authenticator = {
      ...stub('authorization', authenticated('a')),
      read() {
        throw fault;
      },
    };
    const { status, faults } = await ask(authenticate(scheme), { headers: [bearer('T')] });
    expect({ status, faults }).toEqual({ status: 500, faults: [fault] });
  });
});

describe('timing', () => {
  it('answers without a promise if the scheme does', () => {
    const guard = authenticate([stub('authorization', ABSENT), stub('x-api-key', authenticated('b'))]);
    expect(guard(testExchange({ headers: [bearer('T'), apiKey('T')] }).exchange)).toBeUndefined();
    expect(guard(testExchange({ headers: [bearer('T')] }).exchange)).toMatchObject({ status: 401 });
    expect(guard(testExchange().exchange)).toMatchObject({ status: 401 });
  });

  it('sets the principal after the verdict and before the promise resolves', async () => {
    const { exchange } = testExchange({ headers: [bearer('T')] });
    const waiting = authenticate(stub('authorization', later(authenticated('a'))))(exchange);
    expect(waiting).toBeInstanceOf(Promise);
    expect(exchange.principal).toBeUndefined();
    expect(await waiting).toBeUndefined();
    expect(exchange.principal?.id).toBe('a');
  });
});

describe('the realm', () => {
  it.each([
    [undefined, 'Bearer realm="api"'],
    ['point-e', 'Bearer realm="point-e"'],
    ['', 'Bearer realm=""'],
    ['a "b" \\c', 'Bearer realm="a \\"b\\" \\\\c"'],
    ['x", Basic realm="y', 'Bearer realm="x\\", Basic realm=\\"y"'],
  ])('of %j is sent as %s', async (realm, challenge) => {
    const options = realm === undefined ? {} : { realm };
    const { replyHeaders } = await ask(authenticate(stub('authorization', INVALID), options));
    expect(replyHeaders['WWW-Authenticate']).toBe(challenge);
  });

  it.each([['a\r\nSet-Cookie: x=1'], ['a\n'], ['a\0'], ['a\tb'], ['caf\u00e9'], [5], [null], [['api']]])(
    'of %j is refused at construction',
    (realm) => {
      const act = () => authenticate(stub('authorization', INVALID), { realm } as unknown as AuthenticateOptions);
      expect(act).toThrow(OptionError);
      expect(act).toThrow(/gatewarden: authenticate "realm" .*, got /);
    },
  );
});

describe('construction', () => {
  const scheme = stub('authorization', INVALID);

  it.each([
    ['an empty list', [], {}, 'at least one'],
    ['undefined', undefined, {}, 'authenticators'],
    ['null in the list', [scheme, null], {}, 'authenticators'],
    ['a guard', () => undefined, {}, 'authenticators'],
    ['an authenticator without verify', { scheme: 'x', challenge: 'Bearer', read: readBearer }, {}, 'authenticators'],
    [
      'an authenticator without read',
      { scheme: 'x', challenge: 'Bearer', verify: () => INVALID },
      {},
      'authenticators',
    ],
    ['a misspelt option', scheme, { optionel: true }, 'optionel'],
    ['optional as a string', scheme, { optional: 'yes' }, "'yes'"],
    ['optional of null', scheme, { optional: null }, 'optional'],
    ['optional of 1', scheme, { optional: 1 }, 'optional'],
    ['a second authenticator instead of options', scheme, [scheme], 'options'],
  ])('refuses %s', (_what, schemes, options, named) => {
    const act = () => authenticate(schemes as Authenticator, options as AuthenticateOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });

  it.each([
    ['the options of sharedSecret', { secrets: [SECRET] }],
    ['the bare secret', SECRET],
    ['a list of secrets', [SECRET]],
    ['an object that contains it', { read: SECRET }],
  ])('shows nothing of a secret in the error for %s', (_what, schemes) => {
    try {
      authenticate(schemes as unknown as Authenticator);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError);
      expect(inspect(error)).not.toContain(SECRET.slice(0, 8));
    }
  });
});

describe('principalOf', () => {
  it('returns the principal of an authenticated exchange', async () => {
    const guard = authenticate(sharedSecret({ secrets: [SECRET], clientId: 'main-server' }));
    const { exchange } = await ask(guard, { headers: [bearer(SECRET)] });
    expect(principalOf(exchange).id).toBe('main-server');
  });

  it('throws without a principal', async () => {
    expect(() => principalOf(testExchange().exchange)).toThrow(/authenticate/);
    const { passed, exchange } = await ask(authenticate(stub('authorization', INVALID), { optional: true }));
    expect(passed).toBe(true);
    expect(() => principalOf(exchange)).toThrow(/no principal/);
  });
});

describe('a scheme that admits callers without credentials', () => {
  const open = (header: string, id: string | undefined): Stub => ({
    ...stub(header, INVALID),
    anonymous: () => (id === undefined ? undefined : principal(id)),
  });

  it.each([
    ['is asked if the request has none', [open('authorization', 'a')], [], 'a', undefined],
    ['is asked in order', [open('authorization', undefined), open('x-api-key', 'b')], [], 'b', undefined],
    ['may decline', [open('authorization', undefined)], [], undefined, 401],
    ['is not asked if the request has credentials', [open('authorization', 'a')], [bearer('T')], undefined, 401],
    [
      'is not asked if credentials are malformed',
      [open('authorization', 'a')],
      [['Authorization', 'Bearer']],
      undefined,
      400,
    ],
    [
      'is not asked if credentials are too long',
      [open('authorization', 'a')],
      [bearer('T'.repeat(8193))],
      undefined,
      431,
    ],
  ] as readonly (readonly [string, readonly Stub[], readonly HeaderLine[], string | undefined, number | undefined])[])(
    '%s',
    async (_promise, schemes, headers, id, status) => {
      const answer = await ask(authenticate(schemes), { headers });
      expect([answer.exchange.principal?.id, answer.status]).toEqual([id, status]);
    },
  );

  it('and throws is a fault, even if credentials are optional', async () => {
    const broken: Authenticator = {
      ...stub('authorization', INVALID),
      anonymous() {
        throw new Error('no such table');
      },
    };
    expect((await ask(authenticate(broken, { optional: true }))).status).toBe(500);
  });
});

it('answers 413 if the body is larger than the scheme reads', async () => {
  const answer = await ask(authenticate(stub('authorization', { kind: 'content-too-large' })), {
    headers: [bearer('T')],
  });
  expect([answer.status, JSON.parse(answer.body).code]).toEqual([413, 'content-too-large']);
});

describe('an authenticator in plain JavaScript', () => {
  /** A promise of another realm, which is not an instance of this realm's `Promise`. */
  const foreign = <T>(value: T) => runInNewContext('(value) => Promise.resolve(value)')(value) as Promise<T>;
  // biome-ignore lint/suspicious/noThenProperty: the test needs a thenable
  const thenable = <T>(value: T) => ({ then: (resolve: (value: T) => void) => resolve(value) }) as Promise<T>;
  const promises = [
    ['a promise of another realm', foreign],
    ['a thenable', thenable],
  ] as const;
  const authorization: HeaderLine = ['Authorization', 'Bearer nonsense'];

  it.each(promises)('may return %s, which is waited for and is not a pass', async (_what, later) => {
    for (const failedAuthLimit of [
      { check: () => later(undefined), failed: () => undefined },
      { check: () => undefined, failed: () => later(undefined) },
    ]) {
      const guard = sequence(authenticate(sharedSecret({ secrets: [SECRET] }), { failedAuthLimit }));
      expect((await ask(guard, { headers: [authorization] })).status).toBe(401);
    }
    const invalid = sequence(authenticate(stub('authorization', () => later(INVALID))));
    expect((await ask(invalid, { headers: [authorization] })).status).toBe(401);
    const valid = sequence(authenticate(stub('authorization', () => later(authenticated('alice')))));
    expect((await ask(valid, { headers: [authorization] })).exchange.principal?.id).toBe('alice');
  });

  it.each<[string, unknown]>([
    ['a promise', Promise.resolve(principal('alice'))],
    ['a name', 'alice'],
    ['a principal with an empty id', { ...principal('alice'), id: '' }],
    ['a principal with scopes in one string', { ...principal('alice'), scopes: 'administrator' }],
    ['true', true],
    ['null', null],
  ])('is a fault if it returns %s as the principal', async (_what, given) => {
    const scheme = { ...stub('authorization', INVALID), anonymous: () => given as Principal };
    const anonymous = await ask(sequence(authenticate(scheme)));
    expect([anonymous.status, anonymous.exchange.principal]).toEqual([500, undefined]);
    const verified = stub('authorization', { kind: 'authenticated', principal: given as Principal });
    const answer = await ask(sequence(authenticate(verified)), { headers: [authorization] });
    expect([answer.status, answer.exchange.principal]).toEqual([500, undefined]);
  });
});
