import { checkExchange } from '../core/check-exchange.js';
import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, boolean, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import { originMatcher } from '../core/origin.js';
import { expectPreflights, isPreflight } from '../core/preflight.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { warnIfTooLate } from './cors-order.js';

/** The options of `cors`. */
export interface CorsOptions {
  /**
   * The origins whose pages may read the responses: one origin such as `https://app.example.com`, a list of them, `'*'`
   * for all origins (without credentials), or a function that returns whether a well-formed origin is allowed, or a promise
   * of that. If it throws, rejects or returns anything else, the request is answered with 500 and a fault is reported.
   * `https://*.example.com` allows all subdomains. Regular expressions are not accepted: one without anchors, or with
   * the flag `g`, can allow a foreign origin.
   */
  readonly origin: string | readonly string[] | ((origin: string, exchange: Exchange) => boolean | Promise<boolean>);
  /** The allowed methods, in upper case. Default GET, HEAD, POST, PUT, PATCH and DELETE. */
  readonly methods?: readonly string[] | undefined;
  /**
   * The request headers that pages may set, or `'*'` for any. Default Authorization, Content-Type, X-API-Key,
   * X-Request-ID.
   */
  readonly allowedHeaders?: '*' | readonly string[] | undefined;
  /** The response headers that pages may read. Default: the headers that the guards of this package set. */
  readonly exposedHeaders?: readonly string[] | undefined;
  /** Whether browsers may send cookies and other credentials. Default false. */
  readonly credentials?: boolean | undefined;
  /**
   * How long browsers may cache the answer to a preflight. Default `'10m'`, at most 1 day. `'0s'` turns the cache off.
   */
  readonly maxAge?: Duration | undefined;
  /** Whether pages on the public web may call this service in a private network. Default false. */
  readonly privateNetwork?: boolean | undefined;
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
/** Method or header name: `token` in RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';
const NAME_RULES = {
  methods: "must be a list of methods, such as ['GET', 'POST']",
  allowedHeaders: "must be '*' or a list of header names, such as ['Content-Type']",
  exposedHeaders: "must be a list of header names, such as ['X-Request-ID']",
};
const MAX_AGE = 86_400_000;
/** Browsers send preflights without credentials, and pages cannot read an answer without CORS headers. */
const COMES_BEFORE = {
  authenticate: 'preflights carry no credentials and would get 401',
  requireScope: 'preflights carry no credentials and would get 401',
  limit: 'pages could not read a refusal, and preflights would be counted',
  upload: 'pages could not read a refusal',
};
const REFUSED = refuse(problem('preflight-refused'));
const PREFLIGHT_ANSWER: Reply = Object.freeze({ status: 204, headers: [], problem: undefined });

/**
 * Sets which other origins' pages may call this service and read its responses (Fetch standard, section 3.3). It
 * answers preflights itself, with 204, or with 403 and no `Access-Control-*` header. Put it before any guard that
 * refuses: otherwise pages cannot read the refusal.
 *
 * A request from an origin that is not allowed passes without `Access-Control-*` headers, and its page cannot read the
 * response. CORS protects the users of browsers, not the service.
 *
 * ```ts
 * guard(cors({ origin: ['https://app.example.com', 'https://*.example.org'], credentials: true }), authenticate(...))
 * ```
 * @throws OptionError for `'*'` with credentials, for an origin that no browser sends (with a path, a trailing slash,
 * upper case or a default port), or for a bad option
 */
export function cors(options: CorsOptions): Guard {
  checkOptionNames('cors', options, OPTIONS);
  const { origin, credentials = false, privateNetwork = false, allowedHeaders = HEADERS } = options;
  const methods = tokens('methods', options.methods ?? METHODS);
  // Methods are case-sensitive, and browsers send `get` as `GET` (Fetch standard, section 2.2.1).
  const notUpperCase = methods.find((method) => method !== method.toUpperCase());
  if (notUpperCase !== undefined)
    throw badOption('cors', 'methods', 'must be in upper case', notUpperCase, `write '${notUpperCase.toUpperCase()}'`);
  const exposed = tokens('exposedHeaders', options.exposedHeaders ?? EXPOSED).join(', ');
  const allowedNames =
    allowedHeaders === '*'
      ? undefined
      : new Set(tokens('allowedHeaders', allowedHeaders).map((name) => name.toLowerCase()));
  const configuredHeaders = allowedHeaders === '*' ? undefined : allowedHeaders.join(', ');
  const maxAge = String(Math.ceil(milliseconds('cors', 'maxAge', options.maxAge ?? '10m', MAX_AGE, 0) / 1000));
  boolean('cors', 'credentials', credentials);
  boolean('cors', 'privateNetwork', privateNetwork);
  const allowsAll = origin === '*';
  if (allowsAll && credentials) {
    throw new OptionError('gatewarden: cors "origin" must not be \'*\' with "credentials"; list the origins instead');
  }
  const matches = allowsAll ? undefined : originMatcher('cors', origin);
  const allowedMethods = methods.join(', ');
  expectPreflights();
  const preflightVary = privateNetwork ? `${PREFLIGHT_VARY}, Access-Control-Request-Private-Network` : PREFLIGHT_VARY;

  /**
   * The value of `Access-Control-Allow-Origin`, or undefined if the origin is not allowed. A promise only if the function of
   * the service returns one.
   */
  function allowedOrigin(exchange: Exchange): string | undefined | Promise<string | undefined> {
    // Sent with any `Origin` and without one, so that the response does not vary by it (Fetch standard, "CORS protocol
    // and HTTP caches").
    if (matches === undefined) return '*';
    const lines = exchange.request.fieldLines('origin');
    const [origin] = lines;
    if (lines.length !== 1 || origin === undefined) return undefined;
    const allowed = matches(origin, exchange);
    if (typeof allowed === 'boolean') return allowed ? origin : undefined;
    return allowed.then((isAllowed) => (isAllowed ? origin : undefined));
  }

  function allow(exchange: Exchange, allowed: string): void {
    exchange.set('Access-Control-Allow-Origin', allowed);
    if (credentials) exchange.set('Access-Control-Allow-Credentials', 'true');
  }

  function answerRequest(exchange: Exchange, allowed: string | undefined): undefined {
    if (allowed === undefined) return;
    allow(exchange, allowed);
    if (exposed !== '') exchange.set('Access-Control-Expose-Headers', exposed);
  }

  function preflight(exchange: Exchange): Reply | Promise<Reply> {
    const { request } = exchange;
    exchange.append('Vary', preflightVary);
    const requestMethods = request.fieldLines('access-control-request-method');
    const [method = ''] = requestMethods;
    if (requestMethods.length !== 1 || !methods.includes(method)) return REFUSED;
    const requestHeaders = allowedNamesIn(request.fieldLines('access-control-request-headers'), allowedNames);
    if (requestHeaders === undefined) return REFUSED;
    const allowHeaders = configuredHeaders ?? requestHeaders.join(', ');
    const allowed = allowedOrigin(exchange);
    return allowed instanceof Promise
      ? allowed.then((late) => answerPreflight(exchange, late, allowHeaders))
      : answerPreflight(exchange, allowed, allowHeaders);
  }

  function answerPreflight(exchange: Exchange, allowed: string | undefined, allowHeaders: string): Reply {
    if (allowed === undefined) return REFUSED;
    allow(exchange, allowed);
    exchange.set('Access-Control-Allow-Methods', allowedMethods);
    if (allowHeaders !== '') exchange.set('Access-Control-Allow-Headers', allowHeaders);
    exchange.set('Access-Control-Max-Age', maxAge);
    if (privateNetwork && exchange.request.fieldLines('access-control-request-private-network')[0] === 'true') {
      exchange.set('Access-Control-Allow-Private-Network', 'true');
    }
    return PREFLIGHT_ANSWER;
  }

  return inOrder(
    function cors(exchange: Exchange): ReturnType<Guard> {
      checkExchange('cors', exchange);
      exchange.hasPassedCors = true;
      warnIfTooLate(exchange);
      if (isPreflight(exchange.request)) return preflight(exchange);
      // Also for an origin that is not allowed: otherwise a cache could serve that response to an allowed one.
      if (!allowsAll) exchange.append('Vary', 'Origin');
      const allowed = allowedOrigin(exchange);
      if (allowed instanceof Promise) return allowed.then((late) => answerRequest(exchange, late));
      return answerRequest(exchange, allowed);
    },
    { name: 'cors', before: COMES_BEFORE },
  );
}

/** The header names that a preflight requests. Undefined if one is not allowed, or is not a header name. */
function allowedNamesIn(
  lines: readonly string[],
  allowed: ReadonlySet<string> | undefined,
): readonly string[] | undefined {
  const names: string[] = [];
  for (const line of lines) {
    for (const part of line.split(',')) {
      const name = part.trim();
      if (name === '') continue;
      if (allowed === undefined ? !TOKEN.test(name) : !allowed.has(name.toLowerCase())) return undefined;
      names.push(name);
    }
  }
  return names;
}

function tokens(option: keyof typeof NAME_RULES, list: readonly string[]): readonly string[] {
  if (!Array.isArray(list) || !list.every((name) => typeof name === 'string' && TOKEN.test(name))) {
    throw badOption('cors', option, NAME_RULES[option], list);
  }
  // Browsers read '*' as an ordinary name if the request has credentials (Fetch standard, section 3.3.2).
  if (list.includes('*'))
    throw badOption(
      'cors',
      option,
      "must not list '*'",
      list,
      option === 'allowedHeaders' ? "write allowedHeaders: '*'" : 'list the names',
    );
  return [...list];
}
