import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CorsOptions, cors } from '../../src/edge/cors.js';
import { OptionError } from '../../src/option.js';
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
    const { sent } = await send({ origins: ['https://a.com'] }, 'GET', origin('https://a.com'));
    expect(sent).toEqual({
      Vary: 'Origin',
      'Access-Control-Allow-Origin': 'https://a.com',
      'Access-Control-Expose-Headers':
        'RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-ID, X-Process-Time',
    });
  });

  it('answers a preflight with what is allowed at all', async () => {
    const { sent, status, body } = await send(
      { origins: ['https://a.com'] },
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

  it('lets everybody read where that is asked for, without a word of the origin', async () => {
    for (const from of ['https://a.com', 'null']) {
      const { sent } = await send({ origins: '*', exposedHeaders: [] }, 'GET', origin(from));
      expect(sent).toEqual({ 'Access-Control-Allow-Origin': '*' });
    }
    expect((await send({ origins: '*' }, 'GET')).sent).toEqual({});
  });

  it('gives any header back by its name where all are allowed', async () => {
    const { sent } = await send(
      { origins: ['https://a.com'], headers: '*' },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      asking('X-Any, x-thing'),
    );
    expect(sent['Access-Control-Allow-Headers']).toBe('X-Any, x-thing');
    const bad = await send(
      { origins: ['https://a.com'], headers: '*' },
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
      { origins: ['https://a.com'], privateNetwork },
      'OPTIONS',
      origin('https://a.com'),
      PREFLIGHT,
      ['Access-Control-Request-Private-Network', asked],
    );
    expect(sent['Access-Control-Allow-Private-Network']).toBe(said);
  });

  it('joins an earlier Vary', async () => {
    const { exchange, headers } = await ask((exchange) => {
      exchange.set('Vary', 'Accept');
      return cors({ origins: ['https://a.com'] })(exchange);
    });
    expect([exchange.outcome, headers.get('Vary')]).toEqual([undefined, 'Accept, Origin']);
  });

  describe('asks a function', () => {
    const asked: string[] = [];
    const byFunction: CorsOptions = {
      origins(from) {
        asked.push(from);
        return from.endsWith('.com');
      },
    };
    it.each([
      ['https://a.com', true, 1],
      ['https://a.org', false, 1],
      ['null', false, 0],
      ['https://a.com/', false, 0],
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
    ])('and takes %s for no', async (_what, origins) => {
      const { sent } = await send({ origins: origins as unknown as () => boolean }, 'GET', origin('https://a.com'));
      expect(sent['Access-Control-Allow-Origin']).toBeUndefined();
    });

    it('that fails, and refuses the request', async () => {
      const broken: CorsOptions = {
        origins() {
          throw new Error('no such table');
        },
      };
      expect((await send(broken, 'GET', origin('https://a.com'))).status).toBe(500);
    });
  });

  it('reads 100 KB of requested headers in linear time', async () => {
    const time = async (count: number) => {
      const line = asking(Array.from({ length: count }, () => 'x-api-key').join(','));
      const times: number[] = [];
      for (let i = 0; i < 15; i++) {
        const start = performance.now();
        await send({ origins: ['https://a.com'] }, 'OPTIONS', origin('https://a.com'), PREFLIGHT, line);
        times.push(performance.now() - start);
      }
      return Math.min(...times);
    };
    await time(1000);
    const [small, large] = [await time(1250), await time(10_000)];
    // Eight times as long: quadratic would be sixty-four.
    expect(large / small).toBeLessThan(32);
  });

  it('allows by a pattern exactly what a slow reading of it does', async () => {
    const options: CorsOptions = { origins: ['https://*.example.com', 'https://a.com:8443'] };
    const label = fc.stringMatching(/^[a-z0-9]{1,4}$/);
    const host = fc
      .array(fc.oneof(label, fc.constantFrom('example', 'com', 'a', '')), { minLength: 1, maxLength: 5 })
      .map((labels) => labels.join('.'));
    const any = fc
      .tuple(
        fc.constantFrom('https', 'http', 'HTTPS'),
        fc.oneof(host, fc.constantFrom('a.com', 'x.example.com')),
        fc.constantFrom('', ':8443', ':443', ':', '/', '@x.example.com'),
      )
      .map(([scheme, name, rest]) => `${scheme}://${name}${rest}`);
    await fc.assert(
      fc.asyncProperty(any, async (from) => {
        const parts = /^https:\/\/((?:[a-z0-9]+\.)+)example\.com$/.exec(from);
        const expected = parts !== null || from === 'https://a.com:8443';
        const { sent } = await send(options, 'GET', origin(from));
        expect(sent['Access-Control-Allow-Origin']).toBe(expected ? from : undefined);
      }),
      { numRuns: 2000 },
    );
  });

  it.each<[string, object, string]>([
    ['no origins', {}, 'origins'],
    ['an empty list', { origins: [] }, 'origins'],
    ['everybody with credentials', { origins: '*', credentials: true }, 'credentials'],
    ['everybody among others', { origins: ['*'] }, 'origins'],
    ['a pattern', { origins: /a\.com/ }, 'origins'],
    ['a pattern in the list', { origins: [/^https:\/\/a\.com$/] }, 'origins'],
    ['a slash at the end', { origins: ['https://a.com/'] }, 'origins'],
    ['a path', { origins: ['https://a.com/app'] }, 'origins'],
    ['no scheme', { origins: ['a.com'] }, 'origins'],
    ['null', { origins: ['null'] }, 'origins'],
    ['upper case', { origins: ['https://A.com'] }, 'origins'],
    ['user info', { origins: ['https://u@a.com'] }, 'origins'],
    ['a default port', { origins: ['https://a.com:443'] }, 'default port'],
    ['a star inside', { origins: ['https://a.*.com'] }, 'origins'],
    ['a star as part of a label', { origins: ['https://a*.example.com'] }, 'origins'],
    ['a star alone', { origins: ['https://*'] }, 'origins'],
    ['a query', { origins: ['https://a.com?x'] }, 'origins'],
    ['a method that is none', { origins: ['https://a.com'], methods: ['GET POST'] }, 'methods'],
    ['any method', { origins: ['https://a.com'], methods: ['*'] }, 'methods'],
    ['any header in a list', { origins: ['https://a.com'], headers: ['*'] }, 'headers'],
    ['a header that is none', { origins: ['https://a.com'], exposedHeaders: ['X-A:'] }, 'exposedHeaders'],
    ['credentials that are no boolean', { origins: ['https://a.com'], credentials: 'true' }, 'credentials'],
    ['no age', { origins: ['https://a.com'], maxAge: 0 }, 'maxAge'],
    ['a misspelt option', { origins: ['https://a.com'], origin: 'x' }, 'origin'],
  ])('cannot be made with %s', (_what, options, named) => {
    const act = () => cors(options as CorsOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
