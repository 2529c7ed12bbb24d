import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CorsOptions, cors } from '../../src/edge/cors.js';
import { anyText } from '../any-text.js';
import { type HeaderLine, testExchange } from '../exchange-fixture.js';
import { CORS_OPTIONS } from './cors-cases.js';

const origin = (value: string): HeaderLine => ['Origin', value];
const PREFLIGHT: HeaderLine = ['Access-Control-Request-Method', 'POST'];
const requesting = (names: string): HeaderLine => ['Access-Control-Request-Headers', names];

describe('cors', () => {
  describe('takes linear time for 100 KB of', () => {
    const A = origin('https://a.com');
    const ANY = { origin: ['https://a.com', 'https://*.example.com'], allowedHeaders: '*' } as const;
    const FUNCTION = { origin: () => true };
    /** A header line of `length` characters. */
    const shapes: readonly (readonly [string, CorsOptions, (length: number) => readonly HeaderLine[]])[] = [
      ['names', CORS_OPTIONS, (n) => [A, PREFLIGHT, requesting('x-api-key,'.repeat(n / 10))]],
      ['any names', ANY, (n) => [A, PREFLIGHT, requesting('x-any-key,'.repeat(n / 10))]],
      ['one name', ANY, (n) => [A, PREFLIGHT, requesting('x'.repeat(n))]],
      ['one name that ends with an invalid character', ANY, (n) => [A, PREFLIGHT, requesting(`${'x'.repeat(n)}:`)]],
      ['commas', ANY, (n) => [A, PREFLIGHT, requesting(','.repeat(n))]],
      ['white space', ANY, (n) => [A, PREFLIGHT, requesting(`x${' '.repeat(n)}x`)]],
      ['lines', ANY, (n) => [A, PREFLIGHT, ...Array.from({ length: n / 100 }, () => requesting('x-any-key'))]],
      ['an origin of labels', ANY, (n) => [origin(`https://${'a.'.repeat(n / 2)}example.com`)]],
      ['an origin of one label', ANY, (n) => [origin(`https://${'a-'.repeat(n / 2)}example.com`)]],
      ['an origin, for a function', FUNCTION, (n) => [origin(`https://${'a.'.repeat(n / 2)}com`)]],
    ];
    const SMALL = 12_800;
    it.each(shapes)('%s', async (_what, options, lines) => {
      const guard = cors(options);
      const shortest = (length: number) => {
        const exchanges = Array.from({ length: 25 }, () => testExchange({ method: 'OPTIONS', headers: lines(length) }));
        const times = exchanges.map(({ exchange }) => {
          const start = performance.now();
          void guard(exchange);
          return performance.now() - start;
        });
        return Math.min(...times);
      };
      shortest(SMALL);
      const [small, large] = [shortest(SMALL), shortest(8 * SMALL)];
      // The input is eight times as long; quadratic time would be 64 times as long. Very short times are too noisy.
      expect(large / Math.max(small, 0.02)).toBeLessThan(32);
    });
  });

  it('allows exactly the origins that a character-by-character oracle allows', async () => {
    const list = ['https://*.example.com', 'http://*.local:3000', 'https://a.com:8443', 'https://b.com'];
    const guard = cors({ origin: list });
    /** RFC 6454 section 6.2 and the list, one character and one label at a time. */
    const isAllowed = (from: string) => {
      if (list.includes(from) && !from.includes('*')) return true;
      const [scheme = '', authority = '', ...more] = from.split('://');
      const [host = '', port = '', ...ports] = authority.split(':');
      if (more.length + ports.length > 0 || authority.endsWith(':') || from.length > 512) return false;
      const labels = host.split('.');
      const isLabel = (label: string) =>
        label.length > 0 &&
        label.length < 64 &&
        [...label].every((char) => 'abcdefghijklmnopqrstuvwxyz0123456789-_'.includes(char)) &&
        label.at(0) !== '-' &&
        label.at(-1) !== '-';
      if (!labels.every(isLabel)) return false;
      const ends = (...last: string[]) =>
        labels.length > last.length && last.every((label, i) => labels.at(i - last.length) === label);
      if (scheme === 'https' && port === '') return ends('example', 'com');
      return scheme === 'http' && port === '3000' && ends('local');
    };
    const label = fc.oneof(
      fc.stringMatching(/^[a-z0-9_-]{0,4}$/),
      fc.constantFrom(
        'example',
        'com',
        'local',
        'evil',
        'evilexample',
        'A',
        'a'.repeat(63),
        'a'.repeat(64),
        '*',
        '%61',
      ),
    );
    const host = fc
      .tuple(fc.array(label, { maxLength: 4 }), fc.constantFrom(['example', 'com'], ['local'], ['a', 'com'], ['evil']))
      .map((labels) => labels.flat().join('.'));
    const composed = fc
      .tuple(
        fc.constantFrom('https://', 'http://', 'HTTPS://', 'https:', ''),
        fc.oneof(host, fc.constantFrom('a.com', 'b.com', 'x.example.com', 'x@y.example.com', 'evil/x.example.com')),
        fc.constantFrom('', '', ':3000', ':8443', ':443', ':', '/', '.', '@x.example.com', ' ', '\n'),
      )
      .map((parts) => parts.join(''));
    /** An allowed origin with one character inserted or changed. */
    const mutated = fc
      .tuple(
        fc.constantFrom('https://x.example.com', 'http://x.local:3000', 'https://a.com:8443', 'https://b.com'),
        fc.nat(24),
        fc.nat(1),
        fc.oneof(anyText(2), fc.constantFrom('.', '-', ':', '@', '/', '\0', '\u00e4')),
      )
      .map(([good, at, cut, put]) => good.slice(0, at) + put + good.slice(at + cut));
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(composed, mutated), async (from) => {
        const { exchange, headers } = testExchange({ headers: [origin(from)] });
        expect(await guard(exchange)).toBeUndefined();
        const expected = isAllowed(from);
        if (expected) allowed++;
        expect(headers.get('Access-Control-Allow-Origin')).toBe(expected ? from : undefined);
        expect(headers.get('Vary')).toBe('Origin');
      }),
      { numRuns: 5000 },
    );
    expect(allowed).toBeGreaterThan(100);
  });

  it('allows exactly the preflights for the default methods and headers', async () => {
    const guard = cors({ origin: ['https://a.com'] });
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
    const allowed = ['authorization', 'content-type', 'x-api-key', 'x-request-id'];
    const anyCase = (text: string) =>
      fc
        .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
        .map((upper) => [...text].map((char, i) => (upper[i] === true ? char.toUpperCase() : char)).join(''));
    const name = fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...allowed).chain(anyCase) },
      fc.constantFrom('x-evil', 'x', ''),
    );
    const padded = fc
      .tuple(fc.constantFrom('', ' ', '\t'), name, fc.constantFrom('', ' '))
      .map((parts) => parts.join(''));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...methods, 'TRACE', 'get'),
        fc.array(padded, { maxLength: 5 }),
        async (method, names) => {
          const { exchange } = testExchange({
            method: 'OPTIONS',
            headers: [origin('https://a.com'), ['Access-Control-Request-Method', method], requesting(names.join(','))],
          });
          const requested = names.map((one) => one.trim().toLowerCase()).filter((one) => one !== '');
          const expected = methods.includes(method) && requested.every((one) => allowed.includes(one));
          expect((await guard(exchange))?.status).toBe(expected ? 204 : 403);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
