import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, boolean, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { originMatcher } from './origin.js';

/** What `cors` takes. */
export interface CorsOptions {
  /**
   * Whose pages may read the answers: origins such as `https://app.example.com`, or `https://*.example.com` for all its
   * subdomains; `'*'` for everybody's, without credentials; or a function, asked for every well-formed origin. No regular
   * expressions: one that is not anchored, or keeps state, lets strangers in.
   */
  readonly origin: string | readonly string[] | ((origin: string, exchange: Exchange) => boolean);
  /** In upper case, as browsers ask for them. Default GET, HEAD, POST, PUT, PATCH and DELETE. */
  readonly methods?: readonly string[];
  /** Request headers that pages may set; `'*'` for any. Default Authorization, Content-Type, X-API-Key, X-Request-ID. */
  readonly allowedHeaders?: '*' | readonly string[];
  /** Response headers that pages may read. Default those that the guards of this package set. */
  readonly exposedHeaders?: readonly string[];
  /** Whether browsers may send cookies and the like. Default false. */
  readonly credentials?: boolean;
  /** How long browsers may keep the answer to a preflight. Default 10 min. */
  readonly maxAge?: Duration;
  /** Whether public pages may reach this service in a private network. Default false. */
  readonly privateNetwork?: boolean;
}

const OPTIONS: OptionNames<CorsOptions> = {
  origin: true,
  methods: true,
  allowedHeaders: true,
  exposedHeaders: true,
  credentials: true,
  maxAge: true,
  privateNetwork: true,
};
const METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
const HEADERS: readonly string[] = ['Authorization', 'Content-Type', 'X-API-Key', 'X-Request-ID'];
const EXPOSED: readonly string[] = [
  'RateLimit',
  'RateLimit-Policy',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'Retry-After',
  'X-Request-ID',
  'X-Process-Time',
];
/** `token` of RFC 9110 section 5.6.2: methods and names of headers. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';
const REFUSED = refuse(problem('preflight-refused'));

/**
 * Says which other origins' pages may call this service and read its answers (the Fetch standard, section 3.3). Answers
 * preflights itself: 204, or 403 without any allowance. Put it before whatever refuses, or pages cannot read the refusal.
 * An origin that is not allowed gets no header at all; its request goes on, as requests that need no preflight would
 * anyway: CORS protects the caller's browser, not the service.
 *
 * ```ts
 * guard(cors({ origin: ['https://app.example.com', 'https://*.example.org'], credentials: true }), authenticate(...))
 * ```
 * @throws OptionError for `'*'` with credentials, an origin that no browser sends (a path, a slash at its end, upper case,
 * a default port), and names that are none
 */
export function cors(options: CorsOptions): Guard {
  checkOptionNames('cors', options, OPTIONS);
  const { origin, credentials = false, privateNetwork = false, allowedHeaders = HEADERS } = options;
  const methods = tokens('methods', options.methods ?? METHODS);
  // Methods are case-sensitive, and browsers make `GET` of `get` (the Fetch standard, section 2.2.1).
  const lower = methods.find((method) => method !== method.toUpperCase());
  if (lower !== undefined) throw badOption('cors', 'methods', 'must be in upper case', lower);
  const exposed = tokens('exposedHeaders', options.exposedHeaders ?? EXPOSED).join(', ');
  const known =
    allowedHeaders === '*'
      ? undefined
      : new Set(tokens('allowedHeaders', allowedHeaders).map((name) => name.toLowerCase()));
  const allowHeaders = allowedHeaders === '*' ? undefined : allowedHeaders.join(', ');
  const maxAge = String(Math.ceil(milliseconds('cors', 'maxAge', options.maxAge ?? '10m', 86_400_000) / 1000));
  boolean('cors', 'credentials', credentials);
  boolean('cors', 'privateNetwork', privateNetwork);
  const everybody = origin === '*';
  if (everybody && credentials) {
    throw new OptionError('gatewarden: cors "origin" cannot be \'*\' with credentials: name the origins');
  }
  const matches = everybody ? undefined : originMatcher('cors', origin);
  const allowedMethods = methods.join(', ');
  const preflightVary = privateNetwork ? `${PREFLIGHT_VARY}, Access-Control-Request-Private-Network` : PREFLIGHT_VARY;

  /** What `Access-Control-Allow-Origin` is to say; undefined where it is to be left out. */
  function allowance(exchange: Exchange): string | undefined {
    // Whatever Origin came, also none: only then does the answer not vary by it (the Fetch standard, "CORS protocol and
    // HTTP caches").
    if (matches === undefined) return '*';
    const lines = exchange.request.fieldLines('origin');
    const [origin] = lines;
    if (lines.length !== 1 || origin === undefined) return undefined;
    return matches(origin, exchange) ? origin : undefined;
  }

  function allow(exchange: Exchange, allowed: string): void {
    exchange.set('Access-Control-Allow-Origin', allowed);
    if (credentials) exchange.set('Access-Control-Allow-Credentials', 'true');
  }

  function preflight(exchange: Exchange, asked: readonly string[]): Reply {
    const { request } = exchange;
    exchange.append('Vary', preflightVary);
    const allowed = allowance(exchange);
    const [method = ''] = asked;
    if (allowed === undefined || asked.length !== 1 || !methods.includes(method)) return REFUSED;
    const wanted = namesIn(request.fieldLines('access-control-request-headers'), known);
    if (wanted === undefined) return REFUSED;
    allow(exchange, allowed);
    exchange.set('Access-Control-Allow-Methods', allowedMethods);
    const granted = allowHeaders ?? wanted.join(', ');
    if (granted !== '') exchange.set('Access-Control-Allow-Headers', granted);
    exchange.set('Access-Control-Max-Age', maxAge);
    if (privateNetwork && request.fieldLines('access-control-request-private-network')[0] === 'true') {
      exchange.set('Access-Control-Allow-Private-Network', 'true');
    }
    return { status: 204, headers: [], problem: undefined };
  }

  return function cors(exchange) {
    const { request } = exchange;
    if (request.method === 'OPTIONS' && request.fieldLines('origin').length > 0) {
      const asked = request.fieldLines('access-control-request-method');
      if (asked.length > 0) return preflight(exchange, asked);
    }
    // Also where nothing is allowed, or a cache would keep that answer for those to whom it is.
    if (!everybody) exchange.append('Vary', 'Origin');
    const allowed = allowance(exchange);
    if (allowed === undefined) return undefined;
    allow(exchange, allowed);
    if (exposed !== '') exchange.set('Access-Control-Expose-Headers', exposed);
    return undefined;
  };
}

/** The names that a preflight asks for, if all of them are known; undefined where one is not, or is no name. */
function namesIn(lines: readonly string[], known: ReadonlySet<string> | undefined): readonly string[] | undefined {
  const names: string[] = [];
  for (const line of lines) {
    for (const part of line.split(',')) {
      const name = part.trim();
      if (name === '') continue;
      if (known === undefined ? !TOKEN.test(name) : !known.has(name.toLowerCase())) return undefined;
      names.push(name);
    }
  }
  return names;
}

function tokens(option: string, list: readonly string[]): readonly string[] {
  if (!Array.isArray(list) || !list.every((name) => typeof name === 'string' && TOKEN.test(name))) {
    throw badOption('cors', option, 'must be a list of names', list);
  }
  if (list.includes('*'))
    throw badOption('cors', option, "must name them: '*' means itself where there are credentials", list);
  return [...list];
}
