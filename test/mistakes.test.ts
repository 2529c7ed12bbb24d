import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  accessLog,
  adminApiKey,
  apiKeys,
  audit,
  authenticate,
  clientIp,
  cors,
  dailyQuota,
  failedAuthLimit,
  type Guard,
  generateApiKey,
  gpuTime,
  ingestToken,
  limit,
  memoryStore,
  OptionError,
  principalOf,
  problem,
  problemFormat,
  reportFaults,
  requireScope,
  securityHeaders,
  sequence,
  sharedSecret,
  signedRequest,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { duration, integer, readEnv, secret, size } from 'gatewarden/env';
import { guard as expressGuard } from 'gatewarden/express';
import { guard as fastifyGuard } from 'gatewarden/fastify';
import { guard as honoGuard } from 'gatewarden/hono';
import { jwt } from 'gatewarden/jwt';
import { redisStore } from 'gatewarden/redis';
import { imageInspector, upload } from 'gatewarden/upload';
import { describe, expect, it } from 'vitest';
import { ask } from './exchange-fixture.js';

/** What JavaScript callers can pass, whatever the types say. */
type Any = never;

const SECRET = 'c4n4ry-secret-0123456789-0123456789';
const perMinute = slidingWindow({ limit: 60, window: '1m' });
const shared = sharedSecret({ secrets: [SECRET] });
const middleware = (_request: IncomingMessage, _response: ServerResponse, next: () => void) => next();
const { record } = generateApiKey();

/** Ordinary mistakes that are reported when the service starts, each with its message. */
const AT_START: readonly (readonly [mistake: string, act: () => unknown, message: string])[] = [
  // Durations and sizes without a unit, or with a wrong one.
  [
    'window: 60',
    () => slidingWindow({ limit: 60, window: 60 as Any }),
    `gatewarden: slidingWindow "window" needs a unit, got 60; write '60s' or '60ms'`,
  ],
  [
    "window: '60'",
    () => slidingWindow({ limit: 60, window: '60' as Any }),
    `gatewarden: slidingWindow "window" needs a unit, got '60'; write '60s' or '60ms'`,
  ],
  [
    "window: '1 minute'",
    () => slidingWindow({ limit: 60, window: '1 minute' as Any }),
    `gatewarden: slidingWindow "window" must be a length of time such as '500ms', '30s', '15m' or '24h', got '1 minute'`,
  ],
  [
    "cors' maxAge: 600",
    () => cors({ origin: '*', maxAge: 600 as Any }),
    `gatewarden: cors "maxAge" needs a unit, got 600; write '600s' or '600ms'`,
  ],
  [
    "redisStore's timeout: 250",
    () => redisStore({ client: client(), timeout: 250 as Any }),
    `gatewarden: redisStore "timeout" needs a unit, got 250; write '250s' or '250ms'`,
  ],
  [
    "a file size of '50 MB'",
    () => upload({ files: { types: ['image/png'], maxBytes: '50 MB' } }),
    `gatewarden: upload "files.maxBytes" must be a positive size: a whole number of bytes, or a string such as '64kb' or '50mb', got '50 MB'`,
  ],
  [
    'duration() for a bare number',
    () => readEnv({ PERIOD: duration() }, { PERIOD: '60' }),
    `gatewarden: bad settings: "PERIOD" needs a unit, got '60'; write '60s' or '60ms'`,
  ],
  // Misspelt options, and those of other packages.
  [
    "cors' origins",
    () => cors({ origins: ['https://a.com'] } as Any),
    'gatewarden: cors has no option "origins". Did you mean "origin"? It takes ...',
  ],
  [
    "express-rate-limit's windowMs and max",
    () => slidingWindow({ windowMs: 60_000, max: 5 } as Any),
    'gatewarden: slidingWindow has no option "windowMs". Did you mean "window"? It takes ...',
  ],
  [
    "express-rate-limit's max",
    () => limit({ by: 'client-ip', policies: perMinute, max: 5 } as Any),
    'gatewarden: limit has no option "max". It takes ...',
  ],
  [
    "helmet's frameguard",
    () => securityHeaders({ frameguard: false } as Any),
    'gatewarden: securityHeaders has no option "frameguard". It takes ...',
  ],
  [
    "multer's dest",
    () => upload({ files: { types: ['image/png'], maxBytes: '1mb' }, dest: '/tmp' } as Any),
    'gatewarden: upload has no option "dest". It takes ...',
  ],
  [
    'secret instead of secrets',
    () => sharedSecret({ secret: SECRET } as Any),
    'gatewarden: sharedSecret has no option "secret". Did you mean "secrets"? It takes ...',
  ],
  [
    'maxKeys of memoryStore',
    () => memoryStore({ maxKeys: 5 } as Any),
    'gatewarden: memoryStore has no option "maxKeys". It takes ...',
  ],
  [
    'a cache with max',
    () => apiKeys({ store: { findByDigest: async () => null }, cache: { max: 5 } as Any }),
    'gatewarden: apiKeys "cache" has no option "max". It takes ...',
  ],
  [
    'trustProxy of clientIp',
    () => clientIp({ trustProxy: true } as Any),
    'gatewarden: clientIp has no option "trustProxy". It takes ...',
  ],
  ['unit of size()', () => size({ unit: 'mb' } as Any), 'gatewarden: size has no option "unit". It takes ...'],
  // Wrong types and values.
  [
    'no options',
    () => (limit as (options?: unknown) => unknown)(),
    'gatewarden: limit takes an object of options: limit({ ... })',
  ],
  [
    'no policies',
    () => limit({ by: 'client-ip' } as Any),
    'gatewarden: limit "policies" must be a policy or a list of at least one, got undefined; make one with slidingWindow(...), dailyQuota(...), concurrency(...) or gpuTime(...)',
  ],
  [
    'GPU time without an estimate',
    () => gpuTime({ limit: '10m', window: 'day' } as Any),
    `gatewarden: gpuTime "estimate" must be what a job takes, such as '30s', a function that returns milliseconds, or learnedEstimate(), which learns it, got undefined`,
  ],
  [
    'a policy made by hand',
    () => limit({ by: 'client-ip', policies: { limit: 5, window: '1m' } as Any }),
    'gatewarden: limit "policies" must be a policy or a list of at least one, got [Object]; make one with slidingWindow(...), dailyQuota(...), concurrency(...) or gpuTime(...)',
  ],
  [
    'no "by"',
    () => limit({ policies: perMinute }),
    `gatewarden: limit "by" must be given, since policy "60s" has no "by" of its own; use 'client-ip' (the usual choice), 'principal', 'principal-or-client-ip', 'global' or a function that returns a key`,
  ],
  [
    "by: 'ip'",
    () => limit({ by: 'ip' as Any, policies: perMinute }),
    `gatewarden: limit "by" must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key, got 'ip'`,
  ],
  [
    'a limit that is text',
    () => slidingWindow({ limit: '60' as Any, window: '1m' }),
    `gatewarden: slidingWindow "limit" must be a positive integer, got '60'`,
  ],
  [
    'a cost of 0',
    () => limit({ by: 'client-ip', policies: perMinute, cost: 0 }),
    'gatewarden: limit "cost" must be a positive integer, got 0',
  ],
  [
    'an unknown refund cause',
    () => limit({ by: 'client-ip', policies: perMinute, refundOn: ['error' as Any] }),
    `gatewarden: limit "refundOn" must be a list of refused, refused-after-body, server-error, aborted, got [ 'error' ]`,
  ],
  [
    'a city as time zone',
    () => dailyQuota({ limit: 5, timeZone: 'Berlin' }),
    `gatewarden: dailyQuota "timeZone" must be an IANA time zone such as 'Europe/Berlin', got 'Berlin'`,
  ],
  [
    'a store class that is not a store',
    () => limit({ store: new Map() as Any, by: 'global', policies: perMinute }),
    'gatewarden: limit "store" must be a store such as memoryStore(), got [Map]',
  ],
  [
    'a client instead of options',
    () => redisStore(client() as Any),
    'gatewarden: redisStore has no option "isCluster". It takes ...',
  ],
  [
    'a URL as client',
    () => redisStore({ client: 'redis://:c4n4ry-password@localhost' as Any }),
    'gatewarden: redisStore "client" must be a client of ioredis (Redis, Cluster), of redis 5 (createClient, createCluster, createSentinel) or of @valkey/valkey-glide (GlideClient, GlideClusterClient)',
  ],
  [
    'a secret that is not set',
    () => sharedSecret({ secrets: [undefined as Any] }),
    'gatewarden: sharedSecret "secrets[0]" is not set; it must be a string of at least 32 characters, such as the output of `openssl rand -hex 32`',
  ],
  [
    'an empty secret',
    () => sharedSecret({ secrets: [''] }),
    'gatewarden: sharedSecret "secrets[0]" is empty; it must be a string of at least 32 characters, such as the output of `openssl rand -hex 32`',
  ],
  [
    'a short secret',
    () => sharedSecret({ secrets: ['c4n4ry-short'] }),
    'gatewarden: sharedSecret "secrets[0]" must be a string of at least 32 characters, such as the output of `openssl rand -hex 32`',
  ],
  [
    'a secret instead of options',
    () => sharedSecret(SECRET as Any),
    'gatewarden: sharedSecret takes an object of options: sharedSecret({ ... })',
  ],
  [
    'a scope with a space',
    () => sharedSecret({ secrets: [SECRET], scopes: ['read write'] }),
    `gatewarden: sharedSecret "scopes" must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3), got [ 'read write' ]`,
  ],
  [
    'no keys',
    () => apiKeys({ keys: [] }),
    'gatewarden: apiKeys "keys" must be a list of at least one key or record, such as one from `npx gatewarden keygen`',
  ],
  [
    'keys and a store',
    () => apiKeys({ keys: [record], store: { findByDigest: async () => null } } as Any),
    'gatewarden: apiKeys accepts "keys" or "store", not both',
  ],
  [
    'an empty admin key',
    () => adminApiKey(''),
    'gatewarden: apiKeyRecord "key" is empty; it must be an API key, such as one from `npx gatewarden keygen`',
  ],
  [
    'an ingest token that is not set',
    () => ingestToken({ tokens: [''] }),
    'gatewarden: ingestToken "tokens[0]" is empty; it must be a string of at least 16 characters, such as the output of `openssl rand -hex 32`',
  ],
  [
    'no replay store',
    () => signedRequest({ keys: [{ id: 'a', secret: SECRET }] } as Any),
    'gatewarden: signedRequest "replayStore" must be a replay store, such as memoryReplayStore() or redisReplayStore()',
  ],
  [
    'no authenticator',
    () => (authenticate as (a?: unknown) => unknown)(),
    'gatewarden: authenticate "authenticators" must be an authenticator, such as sharedSecret(...) or apiKeys(...), or a list of them',
  ],
  [
    'options instead of an authenticator',
    () => authenticate({ secrets: [SECRET] } as Any),
    'gatewarden: authenticate "authenticators" must be an authenticator, such as sharedSecret(...) or apiKeys(...), or a list of them',
  ],
  [
    "optional: 'true'",
    () => authenticate(shared, { optional: 'true' as Any }),
    `gatewarden: authenticate "optional" must be true or false, got 'true'`,
  ],
  [
    'no scope',
    () => (requireScope as (scope?: unknown) => unknown)(),
    'gatewarden: requireScope "scopes" must be a scope or a list of scopes (RFC 6749 section 3.3), got undefined',
  ],
  [
    'no algorithms',
    () => jwt({ key: SECRET } as Any),
    'gatewarden: jwt "algorithms" must list one or more of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, got undefined',
  ],
  [
    'algorithms of two families',
    () => jwt({ algorithms: ['HS256', 'RS256'], key: SECRET }),
    `gatewarden: jwt "algorithms" must be of one family (HS*, RS* and PS*, ES*, or EdDSA), got [ 'HS256', 'RS256' ]`,
  ],
  [
    'a short JWT secret',
    () => jwt({ algorithms: ['HS256'], key: 'c4n4ry-short' }),
    'gatewarden: jwt "key" must be at least 32 bytes long for HS256',
  ],
  [
    'an audience that is not set',
    () => jwt({ algorithms: ['HS256'], key: SECRET, audience: undefined as Any }),
    'gatewarden: jwt "audience" must have a value, got undefined; to skip this check, leave the option out',
  ],
  [
    "Express' trust proxy: true",
    () => clientIp({ trust: true as Any }),
    `gatewarden: clientIp "trust" must be a list of trusted proxies, such as ['loopback', '10.0.0.0/8'], got true`,
  ],
  [
    'a host name as trusted proxy',
    () => clientIp({ trust: ['proxy.internal'] }),
    `gatewarden: clientIp "trust" must hold addresses, ranges such as '10.0.0.0/8', or the names loopback, linklocal, uniquelocal, cloudflare, got 'proxy.internal'`,
  ],
  [
    'a URL as trusted host',
    () => trustedHosts({ hosts: ['https://api.example.com'] }),
    `gatewarden: trustedHosts "hosts" must hold hosts such as 'api.example.com', '*.example.com' or '[::1]', got 'https://api.example.com'`,
  ],
  [
    'an origin with a slash at its end',
    () => cors({ origin: 'https://app.example.com/' }),
    `gatewarden: cors "origin" must hold origins as browsers send them, such as 'https://app.example.com' or 'https://*.example.com': lower case, no path, no trailing slash, no default port, got 'https://app.example.com/'`,
  ],
  [
    "'*' with credentials",
    () => cors({ origin: '*', credentials: true }),
    `gatewarden: cors "origin" must not be '*' with "credentials"; list the origins instead`,
  ],
  [
    'methods in lower case',
    () => cors({ origin: '*', methods: ['post'] }),
    `gatewarden: cors "methods" must be in upper case, got 'post'; write 'POST'`,
  ],
  [
    'a file extension as type',
    () => upload({ files: { types: ['png'], maxBytes: '1mb' } }),
    `gatewarden: upload "files.types" must contain only media types that can be detected from content, such as 'image/jpeg', got 'png'`,
  ],
  [
    'decode without sharp',
    () => imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: {} as Any }),
    'gatewarden: upload "decode.sharp" must be the default export of sharp: `import sharp from \'sharp\'`, got undefined',
  ],
  [
    'a logger without levels',
    () => accessLog({ logger: { log: () => undefined } as Any }),
    'gatewarden: accessLog "logger" must have the methods info, warn and error, got [Object]; pass pino() or console',
  ],
  ['no sink', () => audit({} as Any), 'gatewarden: audit "sink" must be a function, got undefined'],
  [
    'an unknown problem code',
    () => problemFormat({ 'rate-limited': () => ({ body: {} }) } as Any),
    'gatewarden: problemFormat has no option "rate-limited". It takes ...',
  ],
  [
    'no reporter',
    () => reportFaults(undefined as Any),
    'gatewarden: reportFaults takes a function of the error and the exchange, got undefined',
  ],
  [
    'failures counted by principal',
    () => failedAuthLimit({ limit: 5, window: '1m', by: 'principal' as Any }),
    `gatewarden: failedAuthLimit "by" must not be principal, got 'principal'; a request has none before it is authenticated`,
  ],
  [
    'a variable that must be set',
    () => readEnv({ API_KEY: secret() }, {}),
    'gatewarden: bad settings: "API_KEY" must be set',
  ],
  [
    'two bad variables',
    () => readEnv({ N: integer({ max: 5 }), P: duration() }, { N: '9', P: 'soon' }),
    `gatewarden: bad settings:\n  "N" must be a whole number from 0 to 5, got '9'\n  "P" must be a length of time such as '500ms', '30s', '15m' or '24h', got 'soon'`,
  ],
  // Guards in the wrong place.
  [
    'middleware as a guard',
    () => sequence(middleware as Any),
    'gatewarden: a guard takes one argument, an exchange; did you pass framework middleware?',
  ],
  [
    'an authenticator as a guard',
    () => expressGuard(shared as Any),
    'gatewarden: a guard must be a function, got [Object]; put it into authenticate(...)',
  ],
  [
    'a list of guards as a guard',
    () => expressGuard([securityHeaders()] as Any),
    'gatewarden: a guard must be a function, got a list; pass the guards one by one',
  ],
  [
    'guard(...) in guard(...)',
    () => expressGuard(expressGuard(securityHeaders()) as Any),
    'gatewarden: a guard takes one argument, an exchange; did you pass framework middleware?',
  ],
  [
    "Express' guard() of nothing",
    () => expressGuard(),
    'gatewarden: guard() needs at least one guard, such as guard(securityHeaders())',
  ],
  [
    "Fastify's guard() of nothing",
    () => fastifyGuard(),
    'gatewarden: guard() needs at least one guard, such as guard(securityHeaders())',
  ],
  [
    "Hono's guard() of nothing",
    () => honoGuard(),
    'gatewarden: guard() needs at least one guard, such as guard(securityHeaders())',
  ],
  [
    'limit by principal before authenticate',
    () => sequence(limit({ by: 'principal', policies: perMinute }), authenticate(shared)),
    'gatewarden: put authenticate(...) before limit(...): limit counts by the principal',
  ],
  [
    'limit by address before clientIp',
    () => sequence(limit({ by: 'client-ip', policies: perMinute }), clientIp()),
    'gatewarden: put clientIp(...) before limit(...): limit counts by the address that clientIp finds',
  ],
  [
    'requireScope before authenticate',
    () => sequence(requireScope('admin'), authenticate(shared)),
    'gatewarden: put authenticate(...) before requireScope(...): scopes belong to a principal',
  ],
  [
    'a forwarder before authenticate',
    () => sequence(clientIp({ forwarder: () => true }), authenticate(shared)),
    'gatewarden: put authenticate(...) before clientIp(...): "forwarder" is asked about the principal',
  ],
  [
    'failedAuthLimit before clientIp',
    () => sequence(authenticate(shared, { failedAuthLimit: failedAuthLimit({ limit: 5, window: '1m' }) }), clientIp()),
    'gatewarden: put clientIp(...) before authenticate(...): failed attempts are counted by the address that clientIp finds',
  ],
  [
    'cors after authenticate',
    () => sequence(authenticate(shared), cors({ origin: '*' })),
    'gatewarden: put cors(...) before authenticate(...): preflights carry no credentials and would get 401',
  ],
  [
    'cors after limit',
    () => sequence(limit({ by: 'client-ip', policies: perMinute }), cors({ origin: '*' })),
    'gatewarden: put cors(...) before limit(...): pages could not read a refusal, and preflights would be counted',
  ],
  [
    'audit after authenticate',
    () => sequence(authenticate(shared), audit({ sink: () => undefined })),
    'gatewarden: put audit(...) before authenticate(...): audit records the decisions that come after it',
  ],
  [
    'upload before authenticate',
    () => sequence(upload({ files: { types: ['image/png'], maxBytes: '1mb' } }), authenticate(shared)),
    'gatewarden: put authenticate(...) before upload(...): upload would read bodies of callers that are refused',
  ],
  [
    'one limit twice',
    () => {
      const once = limit({ by: 'client-ip', policies: perMinute });
      return sequence(once, once);
    },
    'gatewarden: one limit(...) appears twice: it would charge the request twice; put it there once',
  ],
];

function client() {
  const nothing = async () => undefined;
  return {
    isCluster: false,
    evalshaBuffer: nothing,
    evalBuffer: nothing,
    eval: nothing,
    info: nothing,
    on: () => undefined,
    off: () => undefined,
  } as Any;
}

describe('a mistake that is reported when the service starts', () => {
  it.each(AT_START)('%s', (_mistake, act, message) => {
    expect(act).toThrow(OptionError);
    // A message that ends in "..." goes on with all of the factory's options.
    const [start = '', rest] = message.split(/\.\.\.$/);
    expect(act).toThrow(rest === undefined ? new OptionError(message) : start);
  });
});

/** Mistakes that only a request can show. The request gets a 5xx, and the fault says what to do. */
const AT_A_REQUEST: readonly (readonly [mistake: string, guard: Guard, message: string])[] = [
  [
    'limit by principal without authenticate',
    limit({ by: 'principal', policies: perMinute }),
    'gatewarden: limit counts by principal, but there is no principal; put authenticate(...) before limit, without "optional", or count by \'principal-or-client-ip\'',
  ],
  [
    'requireScope without authenticate',
    requireScope('admin'),
    'gatewarden: there is no principal; put authenticate(...) before this, without "optional"',
  ],
  [
    'principalOf without authenticate',
    (exchange) => void principalOf(exchange),
    'gatewarden: there is no principal; put authenticate(...) before this, without "optional"',
  ],
  [
    'a guard that was not called',
    securityHeaders as Any,
    'gatewarden: securityHeaders was passed without being called; write securityHeaders(...)',
  ],
  ['a guard that returns true', () => true as Any, 'gatewarden: a guard must return a reply or undefined, got true'],
  [
    'a guard that returns a problem',
    function closed() {
      return problem('scope-insufficient') as Any;
    },
    'gatewarden: the guard "closed" must return a reply or undefined, got [Object]',
  ],
  [
    'a guard that returns a string',
    async () => SECRET as Any,
    'gatewarden: a guard must return a reply or undefined, got a string',
  ],
  [
    'a partition key that is empty',
    limit({ by: () => '', policies: perMinute }),
    'gatewarden: limit needs a non-empty string as partition key; check what "by" returns',
  ],
  [
    'a cost that is not a number',
    limit({ by: 'global', policies: perMinute, cost: () => '5' as Any }),
    `gatewarden: limit "cost" must be a positive integer, got '5'`,
  ],
];

describe('a mistake that is reported at the first request', () => {
  it.each(AT_A_REQUEST)('%s', async (_mistake, guard, message) => {
    const { faults, passed, status } = await ask(guard, { headers: [['Origin', 'https://a.com']] });
    expect(faults.map((fault) => (fault as Error).message)).toEqual([message]);
    expect(passed).toBe(false);
    expect(status).toBe(500);
  });
});
