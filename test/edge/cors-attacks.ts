import type { CorsOptions } from '../../src/edge/cors.js';
import type { HeaderLine } from '../exchange-fixture.js';

/** What the attacked service allows. */
export const ATTACKED_CORS: CorsOptions = {
  origin: ['https://a.com', 'https://*.example.com', 'https://*.ports.example:8443', 'http://localhost:5173'],
  methods: ['GET', 'POST'],
  allowedHeaders: ['Content-Type', 'X-API-Key'],
  credentials: true,
};

const VARY = 'Origin';
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';

export interface CorsAttack {
  readonly what: string;
  readonly method: 'GET' | 'OPTIONS';
  readonly headers: readonly HeaderLine[];
  /** 200 where the application answers, 204 for a preflight. */
  readonly status: 200 | 204 | 403;
  /** `Access-Control-Allow-Origin`; where it is absent, so is every other Access-Control header. */
  readonly allowed: string | undefined;
  readonly vary: string;
}

const request = (what: string, allowed: string | undefined, ...headers: HeaderLine[]): CorsAttack => ({
  what,
  method: 'GET',
  headers,
  status: 200,
  allowed,
  vary: VARY,
});
const from = (origin: string): CorsAttack => request(`from ${origin}`, undefined, ['Origin', origin]);
const good = (origin: string): CorsAttack => request(`from ${origin}`, origin, ['Origin', origin]);

const preflight = (
  what: string,
  status: 204 | 403,
  origin: string,
  method: string,
  ...headers: HeaderLine[]
): CorsAttack => ({
  what,
  method: 'OPTIONS',
  headers: [['Origin', origin], ['Access-Control-Request-Method', method], ...headers],
  status,
  allowed: status === 204 ? origin : undefined,
  vary: PREFLIGHT_VARY,
});
const asking = (names: string): HeaderLine => ['Access-Control-Request-Headers', names];

export const CORS_ATTACKS: readonly CorsAttack[] = [
  good('https://a.com'),
  good('http://localhost:5173'),
  good('https://app.example.com'),
  good('https://a.b.c.example.com'),
  good('https://app.ports.example:8443'),
  good(`https://${'a.'.repeat(121)}example.com`),
  request('from nowhere', undefined),
  from('null'),
  from('https://evila.com'),
  from('https://a.com.evil'),
  from('https://a.com:8443'),
  from('https://a.com:443'),
  from('https://a.com.'),
  from('https://a.com/'),
  from('https://A.com'),
  from('HTTPS://a.com'),
  from('http://a.com'),
  from('https://www.a.com'),
  from('https://a.com@evil.example'),
  from('https://evil.example#https://a.com'),
  from('https://evil.example?.example.com'),
  from('https://evil.example/.example.com'),
  from('https://evil.example\\.example.com'),
  from('https://example.com'),
  from('https://evilexample.com'),
  from('https://.example.com'),
  from('https://..example.com'),
  from('https://a..example.com'),
  from('https://*.example.com'),
  from('https://app.example.com.evil'),
  from('https://app.example.com:8443'),
  from('http://app.example.com'),
  from('https://app.ports.example'),
  from('https://app.ports.example:8444'),
  from('https://-.example.com'),
  from(`https://${'a'.repeat(64)}.example.com`),
  from('https://a.example.com.'),
  from('https://a.example.com@evil.example'),
  from('https://evil.example:443@a.example.com'),
  from('https://a.example.com:443'),
  from('https://a%2eexample.com'),
  from('https://ex\u00e4mple.example.com'),
  from('https://evil.example\t.example.com'),
  from('https://app.ports.example:8443:8443'),
  from('https://ports.example:8443'),
  from(`https://${'a.'.repeat(300)}example.com`),
  from('http://localhost:5174'),
  from('http://localhost'),
  from('file://'),
  from(''),
  from('*'),
  request('from two origin in one line', undefined, ['Origin', 'https://a.com, https://a.com']),
  request('from two origin, parted by a space, the second a subdomain', undefined, [
    'Origin',
    'https://evil.example https://app.example.com',
  ]),
  request('from two origin, parted by a space', undefined, ['Origin', 'https://a.com https://evil.example']),
  request('with two Origin lines', undefined, ['Origin', 'https://a.com'], ['Origin', 'https://evil.example']),
  request('with two Origin lines alike', undefined, ['Origin', 'https://a.com'], ['Origin', 'https://a.com']),
  {
    what: 'OPTIONS that is no preflight',
    method: 'OPTIONS',
    headers: [['Origin', 'https://a.com']],
    status: 200,
    allowed: 'https://a.com',
    vary: VARY,
  },
  {
    what: 'OPTIONS from nowhere',
    method: 'OPTIONS',
    headers: [['Access-Control-Request-Method', 'POST']],
    status: 200,
    allowed: undefined,
    vary: VARY,
  },
  request(
    'with a header of preflights and another method',
    'https://a.com',
    ['Origin', 'https://a.com'],
    ['Access-Control-Request-Method', 'POST'],
  ),
  preflight('a preflight', 204, 'https://a.com', 'POST'),
  preflight('a preflight for headers', 204, 'https://a.com', 'POST', asking('content-type,x-api-key')),
  preflight('a preflight for headers in any case', 204, 'https://a.com', 'POST', asking(' X-API-KEY , ,Content-Type')),
  preflight(
    'a preflight for headers in two lines',
    204,
    'https://a.com',
    'POST',
    asking('x-api-key'),
    asking('content-type'),
  ),
  preflight('a preflight from a subdomain', 204, 'https://app.example.com', 'GET'),
  preflight('a preflight from the web into a private network', 204, 'https://a.com', 'POST', [
    'Access-Control-Request-Private-Network',
    'true',
  ]),
  preflight('a preflight from another origin', 403, 'https://evil.example', 'POST'),
  preflight('a preflight from null', 403, 'null', 'POST'),
  preflight('a preflight for another method', 403, 'https://a.com', 'DELETE'),
  preflight('a preflight for a method in another case', 403, 'https://a.com', 'post'),
  preflight('a preflight for no method', 403, 'https://a.com', ''),
  preflight('a preflight for two methods', 403, 'https://a.com', 'GET', ['Access-Control-Request-Method', 'POST']),
  preflight('a preflight for another header', 403, 'https://a.com', 'POST', asking('x-api-key, x-evil')),
  preflight(
    'a preflight for another header in a second line',
    403,
    'https://a.com',
    'POST',
    asking('x-api-key'),
    asking('x-evil'),
  ),
  preflight('a preflight for what is no header', 403, 'https://a.com', 'POST', asking('x-api-key x-evil')),
  preflight('a preflight for a header like another', 403, 'https://a.com', 'POST', asking('x-api-key2')),
  preflight(
    'a preflight for headers parted by semicolons',
    403,
    'https://a.com',
    'POST',
    asking('x-api-key;content-type'),
  ),
  preflight('a preflight for two methods in one line', 403, 'https://a.com', 'GET, POST'),
  preflight('a preflight for any method', 403, 'https://a.com', '*'),
  preflight('a preflight from a suffix', 403, 'https://evila.com', 'POST'),
  preflight('a preflight from another port', 403, 'https://a.com:8443', 'POST'),
  preflight('a preflight for any header', 403, 'https://a.com', 'POST', asking('*')),
  preflight('a preflight with two Origin lines', 403, 'https://a.com', 'POST', ['Origin', 'https://a.com']),
];
