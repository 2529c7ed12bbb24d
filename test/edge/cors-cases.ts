import type { CorsOptions } from '../../src/edge/cors.js';
import type { HeaderLine } from '../exchange-fixture.js';

/** The configuration that the cases are sent to. */
export const CORS_OPTIONS: CorsOptions = {
  origin: ['https://a.com', 'https://*.example.com', 'https://*.ports.example:8443', 'http://localhost:5173'],
  methods: ['GET', 'POST'],
  allowedHeaders: ['Content-Type', 'X-API-Key'],
  credentials: true,
};

const VARY = 'Origin';
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';

export interface CorsCase {
  readonly promise: string;
  readonly method: 'GET' | 'OPTIONS';
  readonly headers: readonly HeaderLine[];
  /** 200 if the application answers, 204 or 403 for a preflight. */
  readonly status: 200 | 204 | 403;
  /** `Access-Control-Allow-Origin`. If it is absent, so is every other Access-Control header. */
  readonly allowed: string | undefined;
  readonly vary: string;
}

const request = (what: string, allowed: string | undefined, ...headers: HeaderLine[]): CorsCase => ({
  promise: `${allowed === undefined ? 'sends no CORS headers for' : 'allows'} a request ${what}`,
  method: 'GET',
  headers,
  status: 200,
  allowed,
  vary: VARY,
});
const foreign = (origin: string): CorsCase => request(`from ${origin}`, undefined, ['Origin', origin]);
const allowed = (origin: string): CorsCase => request(`from ${origin}`, origin, ['Origin', origin]);

const preflight = (
  what: string,
  status: 204 | 403,
  origin: string,
  method: string,
  ...headers: HeaderLine[]
): CorsCase => ({
  promise: `${status === 204 ? 'allows' : 'refuses'} a preflight ${what}`,
  method: 'OPTIONS',
  headers: [['Origin', origin], ['Access-Control-Request-Method', method], ...headers],
  status,
  allowed: status === 204 ? origin : undefined,
  vary: PREFLIGHT_VARY,
});
const requesting = (names: string): HeaderLine => ['Access-Control-Request-Headers', names];

export const CORS_CASES: readonly CorsCase[] = [
  allowed('https://a.com'),
  allowed('http://localhost:5173'),
  allowed('https://app.example.com'),
  allowed('https://a.b.c.example.com'),
  allowed('https://app.ports.example:8443'),
  allowed(`https://${'a.'.repeat(121)}example.com`),
  request('without Origin', undefined),
  foreign('null'),
  foreign('https://evila.com'),
  foreign('https://a.com.evil'),
  foreign('https://a.com:8443'),
  foreign('https://a.com:443'),
  foreign('https://a.com.'),
  foreign('https://a.com/'),
  foreign('https://A.com'),
  foreign('HTTPS://a.com'),
  foreign('http://a.com'),
  foreign('https://www.a.com'),
  foreign('https://a.com@evil.example'),
  foreign('https://evil.example#https://a.com'),
  foreign('https://evil.example?.example.com'),
  foreign('https://evil.example/.example.com'),
  foreign('https://evil.example\\.example.com'),
  foreign('https://example.com'),
  foreign('https://evilexample.com'),
  foreign('https://.example.com'),
  foreign('https://..example.com'),
  foreign('https://a..example.com'),
  foreign('https://*.example.com'),
  foreign('https://app.example.com.evil'),
  foreign('https://app.example.com:8443'),
  foreign('http://app.example.com'),
  foreign('https://app.ports.example'),
  foreign('https://app.ports.example:8444'),
  foreign('https://-.example.com'),
  foreign(`https://${'a'.repeat(64)}.example.com`),
  foreign('https://a.example.com.'),
  foreign('https://a.example.com@evil.example'),
  foreign('https://evil.example:443@a.example.com'),
  foreign('https://a.example.com:443'),
  foreign('https://a%2eexample.com'),
  foreign('https://ex\u00e4mple.example.com'),
  foreign('https://evil.example\t.example.com'),
  foreign('https://app.ports.example:8443:8443'),
  foreign('https://ports.example:8443'),
  foreign(`https://${'a.'.repeat(300)}example.com`),
  foreign('http://localhost:5174'),
  foreign('http://localhost'),
  foreign('file://'),
  foreign(''),
  foreign('*'),
  request('with two origins in one line', undefined, ['Origin', 'https://a.com, https://a.com']),
  request('with two origins separated by a space, the second an allowed subdomain', undefined, [
    'Origin',
    'https://evil.example https://app.example.com',
  ]),
  request('with two origins separated by a space, the first allowed', undefined, [
    'Origin',
    'https://a.com https://evil.example',
  ]),
  request('with two Origin lines', undefined, ['Origin', 'https://a.com'], ['Origin', 'https://evil.example']),
  request('with two equal Origin lines', undefined, ['Origin', 'https://a.com'], ['Origin', 'https://a.com']),
  {
    promise: 'passes an OPTIONS request without Access-Control-Request-Method',
    method: 'OPTIONS',
    headers: [['Origin', 'https://a.com']],
    status: 200,
    allowed: 'https://a.com',
    vary: VARY,
  },
  {
    promise: 'passes an OPTIONS request without Origin',
    method: 'OPTIONS',
    headers: [['Access-Control-Request-Method', 'POST']],
    status: 200,
    allowed: undefined,
    vary: VARY,
  },
  request(
    'with Access-Control-Request-Method but another method than OPTIONS',
    'https://a.com',
    ['Origin', 'https://a.com'],
    ['Access-Control-Request-Method', 'POST'],
  ),
  preflight('for an allowed method', 204, 'https://a.com', 'POST'),
  preflight('for allowed headers', 204, 'https://a.com', 'POST', requesting('content-type,x-api-key')),
  preflight('for allowed headers in any case', 204, 'https://a.com', 'POST', requesting(' X-API-KEY , ,Content-Type')),
  preflight(
    'for allowed headers in two lines',
    204,
    'https://a.com',
    'POST',
    requesting('x-api-key'),
    requesting('content-type'),
  ),
  preflight('from a subdomain', 204, 'https://app.example.com', 'GET'),
  preflight('into a private network, without allowing the private network', 204, 'https://a.com', 'POST', [
    'Access-Control-Request-Private-Network',
    'true',
  ]),
  preflight('from another origin', 403, 'https://evil.example', 'POST'),
  preflight('from null', 403, 'null', 'POST'),
  preflight('for another method', 403, 'https://a.com', 'DELETE'),
  preflight('for an allowed method in another case', 403, 'https://a.com', 'post'),
  preflight('for an empty method', 403, 'https://a.com', ''),
  preflight('for two methods', 403, 'https://a.com', 'GET', ['Access-Control-Request-Method', 'POST']),
  preflight('for another header', 403, 'https://a.com', 'POST', requesting('x-api-key, x-evil')),
  preflight(
    'for another header in a second line',
    403,
    'https://a.com',
    'POST',
    requesting('x-api-key'),
    requesting('x-evil'),
  ),
  preflight('for text that is not a header name', 403, 'https://a.com', 'POST', requesting('x-api-key x-evil')),
  preflight(
    'for a header name that only begins like an allowed one',
    403,
    'https://a.com',
    'POST',
    requesting('x-api-key2'),
  ),
  preflight('for headers separated by semicolons', 403, 'https://a.com', 'POST', requesting('x-api-key;content-type')),
  preflight('for two methods in one line', 403, 'https://a.com', 'GET, POST'),
  preflight('for the method *', 403, 'https://a.com', '*'),
  preflight('from an origin that only ends like an allowed one', 403, 'https://evila.com', 'POST'),
  preflight('from another port', 403, 'https://a.com:8443', 'POST'),
  preflight('for the header *', 403, 'https://a.com', 'POST', requesting('*')),
  preflight('with two Origin lines', 403, 'https://a.com', 'POST', ['Origin', 'https://a.com']),
];
