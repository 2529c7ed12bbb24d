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
  ingestToken,
  limit,
  memoryStore,
  OptionError,
  principalOf,
  problem,
  problemFormat,
  refuse,
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
import { guard as fastifyGuard, gatewarden } from 'gatewarden/fastify';
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

/** Ordinary mistakes that are reported when the service starts, each with its whole message. */
const AT_START: readonly (readonly [mistake: string, act: () => unknown, message: string])[] = [
  // Durations and sizes without a unit, or with a wrong one.
  ['window: 60', () => slidingWindow({ limit: 60, window: 60 as Any }), ''],
  ["window: '60'", () => slidingWindow({ limit: 60, window: '60' as Any }), ''],
  ["window: '1 minute'", () => slidingWindow({ limit: 60, window: '1 minute' as Any }), ''],
  ["cors' maxAge: 600", () => cors({ origin: '*', maxAge: 600 as Any }), ''],
  ["redisStore's timeout: 250", () => redisStore({ client: client(), timeout: 250 as Any }), ''],
  ["a file size of '50 MB'", () => upload({ files: { types: ['image/png'], maxBytes: '50 MB' } }), ''],
  ['duration() for a bare number', () => readEnv({ PERIOD: duration() }, { PERIOD: '60' }), ''],
  // Misspelt options, and those of other packages.
  ["cors' origins", () => cors({ origins: ['https://a.com'] } as Any), ''],
  ["express-rate-limit's windowMs and max", () => slidingWindow({ windowMs: 60_000, max: 5 } as Any), ''],
  ["express-rate-limit's max", () => limit({ by: 'client-ip', policies: perMinute, max: 5 } as Any), ''],
  ["helmet's frameguard", () => securityHeaders({ frameguard: false } as Any), ''],
  ["multer's dest", () => upload({ files: { types: ['image/png'], maxBytes: '1mb' }, dest: '/tmp' } as Any), ''],
  ['secret instead of secrets', () => sharedSecret({ secret: SECRET } as Any), ''],
  ['maxKeys of memoryStore', () => memoryStore({ maxKeys: 5 } as Any), ''],
  ['a cache with max', () => apiKeys({ store: { findByDigest: async () => null }, cache: { max: 5 } as Any }), ''],
  ['trustProxy of clientIp', () => clientIp({ trustProxy: true } as Any), ''],
  ['unit of size()', () => size({ unit: 'mb' } as Any), ''],
  // Wrong types and values.
  ['no options', () => (limit as (options?: unknown) => unknown)(), ''],
  ['no policies', () => limit({ by: 'client-ip' } as Any), ''],
  ['a policy made by hand', () => limit({ by: 'client-ip', policies: { limit: 5, window: '1m' } as Any }), ''],
  ['no "by"', () => limit({ policies: perMinute }), ''],
  ["by: 'ip'", () => limit({ by: 'ip' as Any, policies: perMinute }), ''],
  ['a limit that is text', () => slidingWindow({ limit: '60' as Any, window: '1m' }), ''],
  ['a cost of 0', () => limit({ by: 'client-ip', policies: perMinute, cost: 0 }), ''],
  ['an unknown refund cause', () => limit({ by: 'client-ip', policies: perMinute, refundOn: ['error' as Any] }), ''],
  ['a city as time zone', () => dailyQuota({ limit: 5, timeZone: 'Berlin' }), ''],
  [
    'a store class that is not a store',
    () => limit({ store: new Map() as Any, by: 'global', policies: perMinute }),
    '',
  ],
  ['a client instead of options', () => redisStore(client() as Any), ''],
  ['a URL as client', () => redisStore({ client: 'redis://:c4n4ry-password@localhost' as Any }), ''],
  ['a secret that is not set', () => sharedSecret({ secrets: [undefined as Any] }), ''],
  ['an empty secret', () => sharedSecret({ secrets: [''] }), ''],
  ['a short secret', () => sharedSecret({ secrets: ['c4n4ry-short'] }), ''],
  ['a secret instead of options', () => sharedSecret(SECRET as Any), ''],
  ['a scope with a space', () => sharedSecret({ secrets: [SECRET], scopes: ['read write'] }), ''],
  ['no keys', () => apiKeys({ keys: [] }), ''],
  ['keys and a store', () => apiKeys({ keys: [record], store: { findByDigest: async () => null } } as Any), ''],
  ['an empty admin key', () => adminApiKey(''), ''],
  ['an ingest token that is not set', () => ingestToken({ tokens: [''] }), ''],
  ['no replay store', () => signedRequest({ keys: [{ id: 'a', secret: SECRET }] } as Any), ''],
  ['no authenticator', () => (authenticate as (a?: unknown) => unknown)(), ''],
  ['options instead of an authenticator', () => authenticate({ secrets: [SECRET] } as Any), ''],
  ["optional: 'true'", () => authenticate(shared, { optional: 'true' as Any }), ''],
  ['no scope', () => (requireScope as (scope?: unknown) => unknown)(), ''],
  ['no algorithms', () => jwt({ key: SECRET } as Any), ''],
  ['algorithms of two families', () => jwt({ algorithms: ['HS256', 'RS256'], key: SECRET }), ''],
  ['a short JWT secret', () => jwt({ algorithms: ['HS256'], key: 'c4n4ry-short' }), ''],
  ['an audience that is not set', () => jwt({ algorithms: ['HS256'], key: SECRET, audience: undefined as Any }), ''],
  ["Express' trust proxy: true", () => clientIp({ trust: true as Any }), ''],
  ['a host name as trusted proxy', () => clientIp({ trust: ['proxy.internal'] }), ''],
  ['a URL as trusted host', () => trustedHosts({ hosts: ['https://api.example.com'] }), ''],
  ['an origin with a slash at its end', () => cors({ origin: 'https://app.example.com/' }), ''],
  ["'*' with credentials", () => cors({ origin: '*', credentials: true }), ''],
  ['methods in lower case', () => cors({ origin: '*', methods: ['post'] }), ''],
  ['a file extension as type', () => upload({ files: { types: ['png'], maxBytes: '1mb' } }), ''],
  ['decode without sharp', () => imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: {} as Any }), ''],
  ['a logger without levels', () => accessLog({ logger: { log: () => undefined } as Any }), ''],
  ['no sink', () => audit({} as Any), ''],
  ['an unknown problem code', () => problemFormat({ 'rate-limited': () => ({ body: {} }) } as Any), ''],
  ['no reporter', () => reportFaults(undefined as Any), ''],
  ['failures counted by principal', () => failedAuthLimit({ limit: 5, window: '1m', by: 'principal' as Any }), ''],
  ['a variable that must be set', () => readEnv({ API_KEY: secret() }, {}), ''],
  ['two bad variables', () => readEnv({ N: integer({ max: 5 }), P: duration() }, { N: '9', P: 'soon' }), ''],
  // Guards in the wrong place.
  ['middleware as a guard', () => sequence(middleware as Any), ''],
  ['an authenticator as a guard', () => expressGuard(shared as Any), ''],
  ['a list of guards as a guard', () => expressGuard([securityHeaders()] as Any), ''],
  ['guard(...) in guard(...)', () => expressGuard(expressGuard(securityHeaders()) as Any), ''],
  ['a guard that was not called', () => expressGuard(securityHeaders as Any), ''],
  ["Express' guard() of nothing", () => expressGuard(), ''],
  ["Fastify's guard() of nothing", () => fastifyGuard(), ''],
  ["Hono's guard() of nothing", () => honoGuard(), ''],
  [
    'limit by principal before authenticate',
    () => sequence(limit({ by: 'principal', policies: perMinute }), authenticate(shared)),
    '',
  ],
  ['limit by address before clientIp', () => sequence(limit({ by: 'client-ip', policies: perMinute }), clientIp()), ''],
  ['requireScope before authenticate', () => sequence(requireScope('admin'), authenticate(shared)), ''],
  ['a forwarder before authenticate', () => sequence(clientIp({ forwarder: () => true }), authenticate(shared)), ''],
  [
    'failedAuthLimit before clientIp',
    () => sequence(authenticate(shared, { failedAuthLimit: failedAuthLimit({ limit: 5, window: '1m' }) }), clientIp()),
    '',
  ],
  ['cors after authenticate', () => sequence(authenticate(shared), cors({ origin: '*' })), ''],
  ['cors after limit', () => sequence(limit({ by: 'client-ip', policies: perMinute }), cors({ origin: '*' })), ''],
  ['audit after authenticate', () => sequence(authenticate(shared), audit({ sink: () => undefined })), ''],
  [
    'upload before authenticate',
    () => sequence(upload({ files: { types: ['image/png'], maxBytes: '1mb' } }), authenticate(shared)),
    '',
  ],
  [
    'one limit twice',
    () => {
      const once = limit({ by: 'client-ip', policies: perMinute });
      return sequence(once, once);
    },
    '',
  ],
];

function client() {
  const nothing = async () => undefined;
  return {
    isCluster: false,
    evalsha: nothing,
    eval: nothing,
    info: nothing,
    on: () => undefined,
    off: () => undefined,
  } as Any;
}

describe('a mistake that is reported when the service starts', () => {
  it.each(AT_START)('%s', (_mistake, act, message) => {
    expect(act).toThrow(new OptionError(message));
  });
});

/** Mistakes that only a request can show. The request gets a 5xx, and the fault says what to do. */
const AT_A_REQUEST: readonly (readonly [mistake: string, guard: Guard, message: string])[] = [
  ['limit by principal without authenticate', limit({ by: 'principal', policies: perMinute }), ''],
  ['requireScope without authenticate', requireScope('admin'), ''],
  ['principalOf without authenticate', (exchange) => void principalOf(exchange), ''],
  ['a guard that returns true', () => true as Any, ''],
  [
    'a guard that returns a problem',
    function closed() {
      return problem('scope-insufficient') as Any;
    },
    '',
  ],
  ['a guard that returns a string', async () => SECRET as Any, ''],
  ['a partition key that is empty', limit({ by: () => '', policies: perMinute }), ''],
  ['a cost that is not a number', limit({ by: 'global', policies: perMinute, cost: () => '5' as Any }), ''],
  ['an asynchronous origin function', cors({ origin: (async () => true) as Any }), ''],
];

describe('a mistake that is reported at the first request', () => {
  it.each(AT_A_REQUEST)('%s', async (_mistake, guard, message) => {
    const { faults, passed, status } = await ask(guard, { headers: [['Origin', 'https://a.com']] });
    expect(faults.map((fault) => (fault as Error).message)).toEqual([message]);
    expect(passed).toBe(false);
    expect(status).toBe(500);
  });
});
void gatewarden;
void refuse;
