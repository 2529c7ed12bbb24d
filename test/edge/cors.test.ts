import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type CorsOptions, cors } from '../../src/edge/cors.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';
import { ATTACKED_CORS, CORS_ATTACKS } from './cors-attacks.js';

const origin = (value: string): HeaderLine => ['Origin', value];
const PREFLIGHT: HeaderLine = ['Access-Control-Request-Method', 'POST'];
const asking = (names: string): HeaderLine => ['Access-Control-Request-Headers', names];
const send = async (options: CorsOptions, method: string, ...headers: HeaderLine[]) => {
  const answer = await ask(cors(options), { method, headers });
  return { ...answer, sent: answer.headers.all() };
};

describe('cors, by its table', () => {
  it.each(CORS_ATTACKS.map((attack) => [attack.what, attack] as const))('%s', async (_what, attack) => {
    const { passed, status, sent, faults } = await send(ATTACKED_CORS, attack.method, ...attack.headers);
    expect(faults).toEqual([]);
    expect([passed ? 200 : status, sent['Access-Control-Allow-Origin'], sent.Vary]).toEqual([
      attack.status,
      attack.allowed,
      attack.vary,
    ]);
    if (attack.allowed === undefined) expect(Object.keys(sent)).toEqual(['Vary']);
  });
});

describe('cors', () => {
  it('answers a request with what its page may do and read', async () => {
    const { sent } = await send({ origin: ['https://a.com'] }, 'GET', origin('https://a.com'));
    expect(sent).toEqual({
      Vary: 'Origin',
      'Access-Control-Allow-Origin': 'https://a.com',
      'Access-Control-Expose-Headers':
        'RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-ID, X-Process-Time',
    });
  });

  it('answers a preflight with what is allowed at all', async () => {
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

  it('lets everybody read where that is asked for, and says it whatever Origin came, so that caches need not tell', async () => {
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

  it('answers preflights of everybody, for what is allowed only', async () => {
    const ofAll = { origin: '*', methods: ['POST'], allowedHeaders: ['X-A'] } as const;
    const { status, sent } = await send(ofAll, 'OPTIONS', origin('null'), PREFLIGHT, asking('x-a'));
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
    const bad = await send(ofAll, 'OPTIONS', origin('null'), PREFLIGHT, asking('x-b'));
    expect([bad.status, Object.keys(bad.sent)]).toEqual([403, ['Vary']]);
  });

  it('names no header in the answer to a preflight where none is allowed', async () => {
    const none = { origin: ['https://a.com'], allowedHeaders: [] };
    const { status, sent } = await send(none, 'OPTIONS', origin('https://a.com'), PREFLIGHT);
    expect([status, sent['Access-Control-Allow-Headers']]).toEqual([204, undefined]);
  });

  it.each([
    ['90s', '90'],
    ['1500ms', '2'],
    ['24h', '86400'],
  ] as const)('lets browsers keep the answer to a preflight for %s', async (maxAge, said) => {
    const { sent } = await send({ origin: ['https://a.com'], maxAge }, 'OPTIONS', origin('https://a.com'), PREFLIGHT);
    expect(sent['Access-Control-Max-Age']).toBe(said);
  });

  it('refuses a preflight with a problem that tells nothing of what is allowed', async () => {
    const { body, contentType } = await send(ATTACKED_CORS, 'OPTIONS', origin('https://evil.example'), PREFLIGHT);
    expect(contentType).toBe('application/problem+json');
    expect(JSON.parse(body)).toEqual({
      title: 'Forbidden',
      status: 403,
      detail: 'The CORS preflight was refused: this origin, method or header is not allowed.',
      code: 'preflight-refused',
    });
  });

  it('gives any header back by its name where all are allowed', async () => {
    const { sent } = await send(
      { origin: ['https://a.com'], allowedHeaders: '*' },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      asking('X-Any, x-thing'),
    );
    expect(sent['Access-Control-Allow-Headers']).toBe('X-Any, x-thing');
    const bad = await send(
      { origin: ['https://a.com'], allowedHeaders: '*' },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      asking('X-Any: 1\u00e9'),
    );
    expect([bad.status, Object.keys(bad.sent)]).toEqual([403, ['Vary']]);
  });

  it.each([
    [true, 'true', 'true'],
    [true, 'false', undefined],
    [false, 'true', undefined],
  ])('with privateNetwork %s, asked %s, says %s', async (privateNetwork, asked, said) => {
    const { sent } = await send(
      { origin: ['https://a.com'], privateNetwork },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      ['Access-Control-Request-Private-Network', asked],
    );
    expect(sent['Access-Control-Allow-Private-Network']).toBe(said);
    expect(sent.Vary?.endsWith(', Access-Control-Request-Private-Network')).toBe(privateNetwork);
  });

  it('joins an earlier Vary', async () => {
    const { exchange, headers } = await ask((exchange) => {
      exchange.set('Vary', 'Accept');
      return cors({ origin: ['https://a.com'] })(exchange);
    });
    expect([exchange.outcome, headers.get('Vary')]).toEqual([undefined, 'Accept, Origin']);
  });

  describe('asks a function', () => {
    const asked: string[] = [];
    const byFunction: CorsOptions = {
      origin(from) {
        asked.push(from);
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
    ])('about %s', async (from, allowed, times) => {
      asked.length = 0;
      const { sent } = await send(byFunction, 'GET', origin(from));
      expect(sent['Access-Control-Allow-Origin'] === from).toBe(allowed);
      expect(asked).toHaveLength(times);
    });

    it.each([
      ['a promise', async () => true],
      ['1', () => 1],
      ['text', () => 'yes'],
    ])('and takes %s for no', async (_what, decide) => {
      const { sent } = await send({ origin: decide as unknown as () => boolean }, 'GET', origin('https://a.com'));
      expect(sent['Access-Control-Allow-Origin']).toBeUndefined();
    });

    it('that fails, and refuses the request', async () => {
      const broken: CorsOptions = {
        origin() {
          throw new Error('no such table');
        },
      };
      expect((await send(broken, 'GET', origin('https://a.com'))).status).toBe(500);
    });
  });

  it('ends no process where a function of JavaScript gives a promise that fails', async () => {
    const failing = (() => Promise.reject(new Error('no table'))) as unknown as () => boolean;
    const { sent } = await send({ origin: failing }, 'GET', origin('https://a.com'));
    expect(sent['Access-Control-Allow-Origin']).toBeUndefined();
    await new Promise((turn) => setImmediate(turn));
  });

  it('allows what it was made with, whatever happens to the lists afterwards', async () => {
    const lists = { origin: ['https://a.com'], methods: ['GET'], allowedHeaders: ['X-A'] };
    const guard = cors(lists);
    lists.origin.push('https://b.com');
    lists.methods.push('POST');
    lists.allowedHeaders.push('X-B');
    const GET: HeaderLine = ['Access-Control-Request-Method', 'GET'];
    for (const headers of [
      [origin('https://b.com'), GET],
      [origin('https://a.com'), PREFLIGHT],
      [origin('https://a.com'), GET, asking('X-B')],
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
  ])('takes %s for an origin', async (from) => {
    const { sent } = await send({ origin: [from] }, 'GET', origin(from));
    expect(sent['Access-Control-Allow-Origin']).toBe(from);
  });

  it.each<[string, object, string]>([
    ['no origin', {}, 'origin'],
    ['an empty list', { origin: [] }, 'origin'],
    ['everybody with credentials', { origin: '*', credentials: true }, 'credentials'],
    ['everybody among others', { origin: ['*'] }, 'origin'],
    ['a pattern', { origin: /a\.com/ }, 'origin'],
    ['a pattern in the list', { origin: [/^https:\/\/a\.com$/] }, 'origin'],
    ['a slash at the end', { origin: ['https://a.com/'] }, 'origin'],
    ['a path', { origin: ['https://a.com/app'] }, 'origin'],
    ['no scheme', { origin: ['a.com'] }, 'origin'],
    ['null', { origin: ['null'] }, 'origin'],
    ['upper case', { origin: ['https://A.com'] }, 'origin'],
    ['user info', { origin: ['https://u@a.com'] }, 'origin'],
    ['a default port', { origin: ['https://a.com:443'] }, 'default port'],
    ['a star inside', { origin: ['https://a.*.com'] }, 'origin'],
    ['a star as part of a label', { origin: ['https://a*.example.com'] }, 'origin'],
    ['a star alone', { origin: ['https://*'] }, 'origin'],
    ['text before a star', { origin: ['x https://*.a.com'] }, 'origin'],
    ['a query', { origin: ['https://a.com?x'] }, 'origin'],
    ['an upper-case scheme', { origin: ['HTTPS://a.com'] }, 'HTTPS://a.com'],
    ['a short IPv4 address', { origin: ['https://127.1'] }, 'https://127.1'],
    ['an IPv6 address in its long form', { origin: ['http://[0:0:0:0:0:0:0:1]:3000'] }, 'origin'],
    ['subdomains of an address', { origin: ['https://*.127.0.0.1'] }, 'origin'],
    ['subdomains at a default port', { origin: ['https://*.a.com:443'] }, 'origin'],
    ['a port beyond all', { origin: ['https://a.com:65536'] }, 'origin'],
    ['Unicode', { origin: ['https://ex\u00e4mple.com'] }, 'origin'],
    ['no text', { origin: [5] }, 'got 5'],
    ['a method in lower case', { origin: ['https://a.com'], methods: ['GET', 'post'] }, "got 'post'"],
    ['headers that are no list', { origin: ['https://a.com'], headers: 'X-A' }, 'headers'],
    ['any header to read in a list', { origin: ['https://a.com'], exposedHeaders: ['*'] }, 'exposedHeaders'],
    ['privateNetwork that is no boolean', { origin: ['https://a.com'], privateNetwork: 1 }, 'privateNetwork'],
    ['an age of more than a day', { origin: ['https://a.com'], maxAge: '25h' }, 'maxAge'],
    ['a method that is none', { origin: ['https://a.com'], methods: ['GET POST'] }, 'methods'],
    ['any method', { origin: ['https://a.com'], methods: ['*'] }, 'methods'],
    ['any header in a list', { origin: ['https://a.com'], allowedHeaders: ['*'] }, 'allowedHeaders'],
    ['a header that is none', { origin: ['https://a.com'], exposedHeaders: ['X-A:'] }, 'exposedHeaders'],
    ['credentials that are no boolean', { origin: ['https://a.com'], credentials: 'true' }, 'credentials'],
    ['no age', { origin: ['https://a.com'], maxAge: 0 }, 'maxAge'],
    ['a misspelt option', { origin: ['https://a.com'], origins: 'x' }, 'did you mean "origin"'],
  ])('cannot be made with %s', (_what, options, named) => {
    const act = () => cors(options as CorsOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
