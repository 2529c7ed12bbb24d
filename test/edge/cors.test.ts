import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type CorsOptions, cors } from '../../src/edge/cors.js';
import { ask, type HeaderLine, testExchange } from '../exchange-fixture.js';
import { failing } from '../failing.js';
import { CORS_CASES, CORS_OPTIONS } from './cors-cases.js';

const origin = (value: string): HeaderLine => ['Origin', value];
const PREFLIGHT: HeaderLine = ['Access-Control-Request-Method', 'POST'];
const requesting = (names: string): HeaderLine => ['Access-Control-Request-Headers', names];
const send = async (options: CorsOptions, method: string, ...headers: HeaderLine[]) => {
  const answer = await ask(cors(options), { method, headers });
  return { ...answer, sent: answer.headers.all() };
};

describe('cors, for the table of requests,', () => {
  it.each(CORS_CASES.map((row) => [row.promise, row] as const))('%s', async (_promise, row) => {
    const { passed, status, sent, faults } = await send(CORS_OPTIONS, row.method, ...row.headers);
    expect(faults).toEqual([]);
    expect([passed ? 200 : status, sent['Access-Control-Allow-Origin'], sent.Vary]).toEqual([
      row.status,
      row.allowed,
      row.vary,
    ]);
    if (row.allowed === undefined) expect(Object.keys(sent)).toEqual(['Vary']);
  });
});

describe('cors', () => {
  it('allows an origin and exposes the headers of this package to it', async () => {
    const { sent } = await send({ origin: ['https://a.com'] }, 'GET', origin('https://a.com'));
    expect(sent).toEqual({
      Vary: 'Origin',
      'Access-Control-Allow-Origin': 'https://a.com',
      'Access-Control-Expose-Headers':
        'RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-ID, X-Process-Time',
    });
  });

  it('answers a preflight with the allowed methods and headers', async () => {
    const { sent, status, body } = await send(
      { origin: ['https://a.com'] },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
    );
    expect([status, body]).toEqual([204, '']);
    expect(sent).toEqual({
      Vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
      'Access-Control-Allow-Origin': 'https://a.com',
      'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'Access-Control-Allow-Headers': 'Authorization, Content-Type, X-API-Key, X-Request-ID',
      'Access-Control-Max-Age': '600',
    });
  });

  it('accepts one origin as a string', async () => {
    const options = { origin: 'https://a.com' };
    const { sent } = await send(options, 'GET', origin('https://a.com'));
    expect([sent['Access-Control-Allow-Origin'], sent.Vary]).toEqual(['https://a.com', 'Origin']);
    const foreign = await send(options, 'GET', origin('https://b.com'));
    expect([foreign.passed, foreign.sent]).toEqual([true, { Vary: 'Origin' }]);
    const preflight = await send(options, 'OPTIONS', origin('https://b.com'), PREFLIGHT);
    expect(preflight.status).toBe(403);
  });

  it('accepts subdomains of one origin as a string', async () => {
    const options = { origin: 'https://*.a.com' };
    const { sent } = await send(options, 'GET', origin('https://x.a.com'));
    expect(sent['Access-Control-Allow-Origin']).toBe('https://x.a.com');
    const foreign = await send(options, 'GET', origin('https://a.com'));
    expect(foreign.sent['Access-Control-Allow-Origin']).toBeUndefined();
  });

  it('sends * for any Origin and without one, so that the response does not vary', async () => {
    for (const headers of [
      [],
      [origin('https://a.com')],
      [origin('null')],
      [origin('https://a.com'), origin('null')],
    ]) {
      const { sent, passed } = await send({ origin: '*', exposedHeaders: [] }, 'GET', ...headers);
      expect([passed, sent]).toEqual([true, { 'Access-Control-Allow-Origin': '*' }]);
    }
  });

  it('answers preflights of any origin, but only for allowed methods and headers', async () => {
    const options = { origin: '*', methods: ['POST'], allowedHeaders: ['X-A'] } as const;
    const { status, sent } = await send(options, 'OPTIONS', origin('null'), PREFLIGHT, requesting('x-a'));
    expect([status, sent]).toEqual([
      204,
      {
        Vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
        'Access-Control-Allow-Origin': '*',
        'Access-Control-Allow-Methods': 'POST',
        'Access-Control-Allow-Headers': 'X-A',
        'Access-Control-Max-Age': '600',
      },
    ]);
    const bad = await send(options, 'OPTIONS', origin('null'), PREFLIGHT, requesting('x-b'));
    expect([bad.status, Object.keys(bad.sent)]).toEqual([403, ['Vary']]);
  });

  it('omits Access-Control-Allow-Headers if no header is allowed', async () => {
    const none = { origin: ['https://a.com'], allowedHeaders: [] };
    const { status, sent } = await send(none, 'OPTIONS', origin('https://a.com'), PREFLIGHT);
    expect([status, sent['Access-Control-Allow-Headers']]).toEqual([204, undefined]);
  });

  it.each([
    ['90s', '90'],
    ['1500ms', '2'],
    ['24h', '86400'],
    ['0s', '0'],
  ] as const)('lets browsers cache the answer to a preflight for %s', async (maxAge, seconds) => {
    const { sent } = await send({ origin: ['https://a.com'], maxAge }, 'OPTIONS', origin('https://a.com'), PREFLIGHT);
    expect(sent['Access-Control-Max-Age']).toBe(seconds);
  });

  it('refuses a preflight with a problem that does not reveal what is allowed', async () => {
    const { body, contentType } = await send(CORS_OPTIONS, 'OPTIONS', origin('https://evil.example'), PREFLIGHT);
    expect(contentType).toBe('application/problem+json');
    expect(JSON.parse(body)).toEqual({
      title: 'Forbidden',
      status: 403,
      detail: 'The CORS preflight was refused: this origin, method or header is not allowed.',
      code: 'preflight-refused',
    });
  });

  it('returns the requested header names if any header is allowed', async () => {
    const { sent } = await send(
      { origin: ['https://a.com'], allowedHeaders: '*' },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      requesting('X-Any, x-thing'),
    );
    expect(sent['Access-Control-Allow-Headers']).toBe('X-Any, x-thing');
    const bad = await send(
      { origin: ['https://a.com'], allowedHeaders: '*' },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      requesting('X-Any: 1\u00e9'),
    );
    expect([bad.status, Object.keys(bad.sent)]).toEqual([403, ['Vary']]);
  });

  it.each([
    [true, 'true', 'true'],
    [true, 'false', undefined],
    [false, 'true', undefined],
  ])(
    'with privateNetwork %s, answers a request for a private network of %s with %s',
    async (privateNetwork, requested, allowed) => {
      const { sent } = await send(
        { origin: ['https://a.com'], privateNetwork },
        'OPTIONS',
        origin('https://a.com'),
        PREFLIGHT,
        ['Access-Control-Request-Private-Network', requested],
      );
      expect(sent['Access-Control-Allow-Private-Network']).toBe(allowed);
      expect(sent.Vary?.endsWith(', Access-Control-Request-Private-Network')).toBe(privateNetwork);
    },
  );

  it('keeps an earlier Vary', async () => {
    const { exchange, headers } = await ask((exchange) => {
      exchange.set('Vary', 'Accept');
      return cors({ origin: ['https://a.com'] })(exchange);
    });
    expect([exchange.outcome, headers.get('Vary')]).toEqual([undefined, 'Accept, Origin']);
  });

  describe('with a function as origin', () => {
    const calls: string[] = [];
    const byFunction: CorsOptions = {
      origin(from) {
        calls.push(from);
        return from.endsWith('.com');
      },
    };
    it.each([
      ['https://a.com', true, 1],
      ['https://a.org', false, 1],
      ['null', false, 0],
      ['https://a.com/', false, 0],
      ['https://a.com:', false, 0],
      ['https://a.com:0443', false, 0],
      ['https://a.com:123456', false, 0],
      ['https://[]', false, 0],
      ['https://b.org@a.com', false, 0],
      [`https://${'a.'.repeat(400)}com`, false, 0],
    ])('for %s, allows it: %s, after %d calls', async (from, allowed, times) => {
      calls.length = 0;
      const { sent } = await send(byFunction, 'GET', origin(from));
      expect(sent['Access-Control-Allow-Origin'] === from).toBe(allowed);
      expect(calls).toHaveLength(times);
    });

    it.each<[string, CorsOptions['origin']]>([
      ['an async function', async (from) => from === 'https://a.com'],
      [
        'a function that returns a promise of another library',
        ((from: string) => ({
          // biome-ignore lint/suspicious/noThenProperty: the promise of another library
          then: (resolve: (allowed: boolean) => void) => resolve(from === 'https://a.com'),
        })) as unknown as () => Promise<boolean>,
      ],
    ])('waits for %s', async (_what, decide) => {
      const options: CorsOptions = { origin: decide, credentials: true };
      const allowed = await send(options, 'GET', origin('https://a.com'));
      expect([allowed.passed, allowed.sent]).toMatchObject([
        true,
        { 'Access-Control-Allow-Origin': 'https://a.com', 'Access-Control-Allow-Credentials': 'true', Vary: 'Origin' },
      ]);
      const foreign = await send(options, 'GET', origin('https://b.com'));
      expect([foreign.passed, foreign.sent]).toEqual([true, { Vary: 'Origin' }]);
      const preflight = await send(options, 'OPTIONS', origin('https://a.com'), PREFLIGHT);
      expect([preflight.status, preflight.sent]).toMatchObject([
        204,
        { 'Access-Control-Allow-Origin': 'https://a.com', 'Access-Control-Max-Age': '600' },
      ]);
      const refused = await send(options, 'OPTIONS', origin('https://b.com'), PREFLIGHT);
      expect([refused.status, JSON.parse(refused.body).code, refused.sent['Access-Control-Allow-Origin']]).toEqual([
        403,
        'preflight-refused',
        undefined,
      ]);
    });

    it('returns a promise only if the function does', () => {
      const request = { headers: [origin('https://a.com')] };
      expect(cors({ origin: () => true })(testExchange(request).exchange)).toBeUndefined();
      expect(cors({ origin: async () => true })(testExchange(request).exchange)).toBeInstanceOf(Promise);
      expect(cors({ origin: async () => true })(testExchange().exchange)).toBeUndefined();
    });

    it.each<[string, () => unknown, string]>([
      ['1', () => 1, 'got 1'],
      ['text, which is not shown', () => 'secret', 'got a string'],
      ['nothing', () => undefined, 'got undefined'],
      ['null', () => null, 'got null'],
      ['a promise of nothing', async () => undefined, 'got undefined'],
      ['a promise of text', async () => 'https://a.com', 'got a string'],
    ])('answers with a fault if it returns %s', async (_what, decide, named) => {
      for (const [method, ...headers] of [['GET'], ['OPTIONS', PREFLIGHT]] as const) {
        const options = { origin: decide as () => boolean };
        const { status, sent, faults } = await send(options, method, origin('https://a.com'), ...headers);
        expect([status, sent['Access-Control-Allow-Origin']]).toEqual([500, undefined]);
        expect(faults.map(String)).toEqual([
          `TypeError: gatewarden: the function in cors "origin" must return true or false, or a promise, ${named}`,
        ]);
      }
    });

    it.each(failing('no such table'))('answers with a fault if it %s', async (_what, decide) => {
      for (const [method, ...headers] of [['GET'], ['OPTIONS', PREFLIGHT]] as const) {
        const { status, sent, faults } = await send({ origin: decide }, method, origin('https://a.com'), ...headers);
        expect([status, sent['Access-Control-Allow-Origin'], faults.map(String)]).toEqual([
          500,
          undefined,
          ['Error: no such table'],
        ]);
      }
    });
  });

  it('is not affected by later changes of the lists', async () => {
    const lists = { origin: ['https://a.com'], methods: ['GET'], allowedHeaders: ['X-A'] };
    const guard = cors(lists);
    lists.origin.push('https://b.com');
    lists.methods.push('POST');
    lists.allowedHeaders.push('X-B');
    const GET: HeaderLine = ['Access-Control-Request-Method', 'GET'];
    for (const headers of [
      [origin('https://b.com'), GET],
      [origin('https://a.com'), PREFLIGHT],
      [origin('https://a.com'), GET, requesting('X-B')],
    ]) {
      expect((await ask(guard, { method: 'OPTIONS', headers })).status).toBe(403);
    }
  });

  it.each([
    'http://localhost:3000',
    'http://127.0.0.1:5173',
    'http://[::1]:3000',
    'https://xn--exmple-cua.com',
    'https://a_b.example.com',
    'tauri://localhost',
    'chrome-extension://abcdefghijklmnop',
  ])('accepts the origin %s', async (from) => {
    const { sent } = await send({ origin: [from] }, 'GET', origin(from));
    expect(sent['Access-Control-Allow-Origin']).toBe(from);
  });

  it.each<[string, object, string]>([
    ['no origin', {}, 'origin'],
    ['an empty list', { origin: [] }, 'origin'],
    ['* with credentials', { origin: '*', credentials: true }, 'list the origins instead'],
    ['a string with a trailing slash', { origin: 'https://a.com/' }, 'no trailing slash'],
    ['* in a list', { origin: ['*'] }, 'origin'],
    ['a regular expression', { origin: /a\.com/ }, 'origin'],
    ['a regular expression in a list', { origin: [/^https:\/\/a\.com$/] }, 'origin'],
    ['a trailing slash', { origin: ['https://a.com/'] }, 'origin'],
    ['a path', { origin: ['https://a.com/app'] }, 'origin'],
    ['no scheme', { origin: ['a.com'] }, 'origin'],
    ['null', { origin: ['null'] }, 'origin'],
    ['upper case', { origin: ['https://A.com'] }, 'origin'],
    ['user info', { origin: ['https://u@a.com'] }, 'origin'],
    ['a default port', { origin: ['https://a.com:443'] }, 'default port'],
    ['a star inside', { origin: ['https://a.*.com'] }, 'origin'],
    ['a star as part of a label', { origin: ['https://a*.example.com'] }, 'origin'],
    ['a star alone', { origin: ['https://*'] }, 'origin'],
    ['text before a scheme', { origin: ['x https://*.a.com'] }, 'origin'],
    ['a query', { origin: ['https://a.com?x'] }, 'origin'],
    ['an upper-case scheme', { origin: ['HTTPS://a.com'] }, 'HTTPS://a.com'],
    ['a short IPv4 address', { origin: ['https://127.1'] }, 'https://127.1'],
    ['an IPv6 address in its long form', { origin: ['http://[0:0:0:0:0:0:0:1]:3000'] }, 'origin'],
    ['subdomains of an address', { origin: ['https://*.127.0.0.1'] }, 'origin'],
    ['subdomains at a default port', { origin: ['https://*.a.com:443'] }, 'origin'],
    ['a port over 65535', { origin: ['https://a.com:65536'] }, 'origin'],
    ['Unicode', { origin: ['https://ex\u00e4mple.com'] }, 'origin'],
    ['a number', { origin: [5] }, 'got 5'],
    ['a method in lower case', { origin: ['https://a.com'], methods: ['GET', 'post'] }, "got 'post'; write 'POST'"],
    ['allowed headers that are not a list', { origin: ['https://a.com'], headers: 'X-A' }, 'headers'],
    ['* in a list of exposed headers', { origin: ['https://a.com'], exposedHeaders: ['*'] }, 'exposedHeaders'],
    ['privateNetwork that is not a boolean', { origin: ['https://a.com'], privateNetwork: 1 }, 'privateNetwork'],
    ['a maxAge of more than a day', { origin: ['https://a.com'], maxAge: '25h' }, 'maxAge'],
    ['text that is not a method', { origin: ['https://a.com'], methods: ['GET POST'] }, 'methods'],
    ['* as method', { origin: ['https://a.com'], methods: ['*'] }, 'methods'],
    [
      '* in a list of allowed headers',
      { origin: ['https://a.com'], allowedHeaders: ['*'] },
      "write allowedHeaders: '*'",
    ],
    ['text that is not a header name', { origin: ['https://a.com'], exposedHeaders: ['X-A:'] }, 'exposedHeaders'],
    ['credentials that are not a boolean', { origin: ['https://a.com'], credentials: 'true' }, 'credentials'],
    [
      'a maxAge without a unit',
      { origin: ['https://a.com'], maxAge: 600 },
      "needs a unit, got 600; write '600s' or '600ms'",
    ],
    ['a maxAge of 0 without a unit', { origin: ['https://a.com'], maxAge: 0 }, 'needs a unit'],
    ['a misspelt option', { origin: ['https://a.com'], origins: 'x' }, 'Did you mean "origin"?'],
  ])('refuses at construction: %s', (_what, options, named) => {
    const act = () => cors(options as CorsOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
