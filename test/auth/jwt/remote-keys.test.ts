import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import { cloudflareAccess, type JwksOptions, jwt } from '../../../src/auth/jwt/index.js';
import { OptionError } from '../../../src/core/option.js';
import { ask, type HeaderLine } from '../../exchange-fixture.js';
import { GOOD_CLAIMS, NOW, rsaToken } from './tokens.js';

const pair = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync('rsa', { modulusLength: 2048 });
const [ONE, TWO, OTHER] = [pair(), pair(), pair()];
const jwk = (key: KeyObject, kid: string) => ({ ...key.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' });
const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const signed = (kid: string, key: KeyObject, claims: object = {}) =>
  rsaToken({ alg: 'RS256', kid }, { ...GOOD_CLAIMS, exp: NOW / 1000 + 864_000, ...claims }, key);

/** A key provider on this machine. `answer` is its behavior. */
let server: Server;
let requests = 0;
/** The faults that were reported to the service. */
let reported: string[] = [];
let answer: RequestListener;
let now = NOW;

const serving =
  (...keys: object[]): RequestListener =>
  (_request, response) =>
    void response.end(JSON.stringify({ keys }));
const down: RequestListener = (_request, response) => void response.writeHead(500).end();

beforeEach(async () => {
  requests = 0;
  reported = [];
  now = NOW;
  answer = serving(jwk(ONE.publicKey, 'one'));
  server = createServer((request, response) => {
    requests++;
    answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;

function open(jwks: JwksOptions = {}) {
  const guard = authenticate(jwt({ algorithms: ['RS256'], jwksUrl: url(), jwks, cache: false, now: () => now }));
  return async (token: string) => {
    const { passed, status, faults } = await ask(guard, { headers: [bearer(token)] });
    reported.push(...faults.map(String));
    return passed ? 200 : status;
  };
}

describe('keys from jwksUrl', () => {
  it('are fetched once, when they are first needed', async () => {
    const send = open();
    expect(requests).toBe(0);
    expect(await Promise.all([1, 2, 3].map(() => send(signed('one', ONE.privateKey))))).toEqual([200, 200, 200]);
    expect(await send(signed('one', OTHER.privateKey))).toBe(401);
    expect(requests).toBe(1);
  });

  it('are fetched once for twenty unknown kids, and not again before the end of the cooldown', async () => {
    const send = open();
    await send(signed('one', ONE.privateKey));
    now += 31_000;
    const unknown = () => Promise.all(Array.from({ length: 20 }, (_, i) => send(signed(`x${i}`, OTHER.privateKey))));
    expect(new Set(await unknown())).toEqual(new Set([401]));
    expect(requests).toBe(2);
    now += 29_999;
    await unknown();
    expect(requests).toBe(2);
    now += 2;
    await unknown();
    expect([requests, reported]).toEqual([3, []]);
  });

  it('can be rotated without refusing a token of either key', async () => {
    const send = open();
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    answer = serving(jwk(ONE.publicKey, 'one'), jwk(TWO.publicKey, 'two'));
    now += 31_000;
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    answer = serving(jwk(TWO.publicKey, 'two'));
    now += 600_001;
    // The fetch runs in the background, so a later request sees the new keys.
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    await expect.poll(() => send(signed('one', ONE.privateKey))).toBe(401);
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
  });

  it('stay in use for an hour while the provider is down, then cause 503 and never 401', async () => {
    const send = open();
    await send(signed('one', ONE.privateKey));
    answer = down;
    now += 600_000 + 3_600_000;
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    now += 1;
    expect(await send(signed('one', ONE.privateKey))).toBe(503);
    expect(await send(signed('one', OTHER.privateKey))).toBe(503);
    answer = serving(jwk(ONE.publicKey, 'one'));
    now += 1000;
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
  });

  it('cause one report for each failed fetch, however many requests wait', async () => {
    const send = open();
    answer = down;
    const waiting = Array.from({ length: 20 }, () => send(signed('one', ONE.privateKey)));
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([503]));
    expect(reported).toEqual([expect.stringMatching(/could not fetch the keys from http:/)]);
    now += 999;
    expect([await send(signed('one', ONE.privateKey)), requests]).toEqual([503, 1]);
    now += 1;
    expect(await send(signed('one', ONE.privateKey))).toBe(503);
    expect([requests, reported.length]).toEqual([2, 2]);
  });

  it('are fetched before the request after a long idle time, and stay in use if that fails', async () => {
    const send = open();
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    answer = serving(jwk(TWO.publicKey, 'two'));
    now += 600_000 + 60_001;
    expect(await send(signed('one', ONE.privateKey))).toBe(401);
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
    answer = down;
    now += 600_000 + 60_001;
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
    expect(requests).toBe(3);
    now += 1000;
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
  });

  it('are fetched again if the clock is set back', async () => {
    const send = open();
    now += 50_000_000;
    answer = down;
    expect(await send(signed('one', ONE.privateKey))).toBe(503);
    now -= 40_000_000;
    answer = serving(jwk(ONE.publicKey, 'one'));
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    now -= 5_000_000;
    answer = serving(jwk(TWO.publicKey, 'two'));
    expect(await send(signed('two', TWO.privateKey))).toBe(200);
    expect(await send(signed('one', ONE.privateKey))).toBe(401);
  });

  it.each([
    ['must not verify', { key_ops: ['sign', 'verify'] }],
    ['has no exponent', { e: undefined }],
    ['has an invalid modulus', { n: '***' }],
  ])('cause at most one report if one of them %s, and tokens that name it are refused', async (_what, more) => {
    answer = serving({ ...jwk(TWO.publicKey, 'bad'), ...more }, jwk(ONE.publicKey, 'one'));
    const send = open();
    for (let i = 0; i < 5; i++) expect(await send(signed('bad', OTHER.privateKey))).toBe(401);
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    expect(reported.length).toBeLessThanOrEqual(1);
  });

  it('cause 503 for an unknown kid while the provider is down', async () => {
    const send = open();
    await send(signed('one', ONE.privateKey));
    now += 31_000;
    answer = down;
    expect(await send(signed('two', TWO.privateKey))).toBe(503);
    expect(await send(signed('one', ONE.privateKey))).toBe(200);
    const before = requests;
    // A provider in trouble is not asked again for every request.
    expect(await send(signed('two', TWO.privateKey))).toBe(503);
    expect(requests).toBe(before);
  });

  it('cause 503 after the timeout if the provider does not answer', async () => {
    answer = () => undefined;
    const start = performance.now();
    expect(await open({ timeout: '200ms' })(signed('one', ONE.privateKey))).toBe(503);
    expect(performance.now() - start).toBeLessThan(2000);
  });

  it('cause 503 after the timeout if the body never ends', async () => {
    answer = (_request, response) => void response.write('{"keys":[');
    expect(await open({ timeout: '200ms' })(signed('one', ONE.privateKey))).toBe(503);
  });

  it.each<[string, () => RequestListener]>([
    [
      'are not fetched through a redirect',
      () => (request, response) => {
        if (request.url === '/keys') response.writeHead(302, { Location: '/moved' }).end();
        else serving(jwk(ONE.publicKey, 'one'))(request, response);
      },
    ],
    [
      'are not read from an error page',
      () => (_request, response) =>
        void response.writeHead(404).end(JSON.stringify({ keys: [jwk(ONE.publicKey, 'one')] })),
    ],
    ['are not read from text that is not JSON', () => (_request, response) => void response.end('<html>')],
    ['are not read from JSON that is not a key set', () => (_request, response) => void response.end('[]')],
    [
      'are not read from a set that is too large',
      () => (_request, response) =>
        void response.end(JSON.stringify({ keys: [jwk(ONE.publicKey, 'one')], x: 'x'.repeat(300_000) })),
    ],
    [
      'are not read from a set of a thousand keys',
      () => serving(...Array.from({ length: 1000 }, (_, i) => jwk(ONE.publicKey, `k${i}`))),
    ],
    [
      'are not read from a set of 101 small keys',
      () => serving(jwk(ONE.publicKey, 'one'), ...Array.from({ length: 100 }, () => ({ kty: 'EC' }))),
    ],
    [
      'are not read from a set with an oct key without a secret',
      () => serving(jwk(ONE.publicKey, 'one'), { kty: 'oct' }),
    ],
    [
      'are not read from a set with an RSA key that has a secret',
      () => serving(jwk(ONE.publicKey, 'one'), { kty: 'RSA', k: 'c2VjcmV0' }),
    ],
    ['are not read from a set with a secret', () => serving(jwk(ONE.publicKey, 'one'), { kty: 'oct', k: 'c2VjcmV0' })],
    ['are not read from a set with a private key', () => serving(jwk(ONE.privateKey, 'one'))],
    [
      'are not read from a set with an entry that is not a key',
      () => serving(jwk(ONE.publicKey, 'one'), { kid: 'two' }),
    ],
  ])('%s', async (_promise, how) => {
    answer = how();
    expect(await open()(signed('one', ONE.privateKey))).toBe(503);
  });

  it('are used only for signatures and for their algorithm', async () => {
    answer = serving({ ...jwk(ONE.publicKey, 'enc'), use: 'enc' }, { ...jwk(TWO.publicKey, 'ps'), alg: 'PS256' });
    const send = open();
    expect(await send(signed('enc', ONE.privateKey))).toBe(401);
    expect(await send(signed('ps', TWO.privateKey))).toBe(401);
  });

  it('are refused if the modulus is short', async () => {
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 });
    answer = serving(jwk(short.publicKey, 'short'));
    expect(await open()(signed('short', short.privateKey))).toBe(401);
  });
});

describe('cloudflareAccess', () => {
  const TEAM = 'https://my-team.cloudflareaccess.com';
  const ACCESS = { ...GOOD_CLAIMS, aud: ['aud-tag'], iss: TEAM, email: 'a@b.example' };
  const access = (claims: object, key = ONE.privateKey, kid = 'one') =>
    rsaToken({ alg: 'RS256', kid, typ: 'JWT' }, { ...ACCESS, ...claims }, key);
  const guard = () =>
    authenticate(cloudflareAccess({ teamDomain: 'my-team', audience: 'aud-tag', certsUrl: url(), now: () => NOW }));
  const assertion = (token: string): HeaderLine => ['Cf-Access-Jwt-Assertion', token];

  it('accepts a user of Access and identifies them by email address', async () => {
    const { exchange } = await ask(guard(), { headers: [assertion(access({ common_name: 'worker.access' }))] });
    expect(exchange.principal).toMatchObject({ id: 'a@b.example', scheme: 'cloudflare-access' });
  });

  it.each([undefined, ''])('identifies a service token by its common name if its email is %j', async (email) => {
    const { exchange } = await ask(guard(), {
      headers: [assertion(access({ email, sub: '', common_name: 'worker.access' }))],
    });
    expect(exchange.principal?.id).toBe('worker.access');
  });

  it('accepts both keys during a rotation', async () => {
    answer = serving(jwk(ONE.publicKey, 'one'), jwk(TWO.publicKey, 'two'));
    const both = guard();
    expect((await ask(both, { headers: [assertion(access({}))] })).passed).toBe(true);
    expect((await ask(both, { headers: [assertion(access({}, TWO.privateKey, 'two'))] })).passed).toBe(true);
  });

  it.each<[string, () => readonly HeaderLine[], number]>([
    ['the identity header alone', () => [['Cf-Access-Authenticated-User-Email', 'a@b.example']], 401],
    ['a token in Authorization', () => [bearer(access({}))], 401],
    ['a token in a cookie', () => [['Cookie', `CF_Authorization=${access({})}`]], 401],
    ['a token of another application', () => [assertion(access({ aud: ['other'] }))], 401],
    ['a token of another team', () => [assertion(access({ iss: 'https://their-team.cloudflareaccess.com' }))], 401],
    ['a token signed with another key', () => [assertion(access({}, OTHER.privateKey))], 401],
    ['an expired token', () => [assertion(access({ exp: NOW / 1000 }))], 401],
    [
      'a token with another algorithm',
      () => [assertion(rsaToken({ alg: 'RS512', kid: 'one' }, ACCESS, ONE.privateKey, 'sha512'))],
      401,
    ],
    ['a token without a user or service', () => [assertion(access({ email: '' }))], 401],
    ['an opaque token', () => [assertion('opaque')], 401],
    ['a blank token', () => [assertion('')], 401],
    ['two tokens', () => [assertion(access({})), assertion(access({}))], 400],
  ])('refuses %s', async (_what, headers, status) => {
    answer = serving({ ...jwk(ONE.publicKey, 'one'), alg: undefined });
    expect((await ask(guard(), { headers: headers() })).status).toBe(status);
  });

  it('accepts a team domain in both forms', () => {
    for (const teamDomain of ['my-team', 'my-team.cloudflareaccess.com']) {
      expect(() => cloudflareAccess({ teamDomain, audience: 'aud-tag' })).not.toThrow();
    }
  });

  it.each([
    ['no team', { audience: 'a' }],
    ['a team that is a URL', { teamDomain: 'https://my-team.cloudflareaccess.com', audience: 'a' }],
    ['a team with another host', { teamDomain: 'evil.example/', audience: 'a' }],
    ['a team in another domain', { teamDomain: 'my-team.example.com', audience: 'a' }],
    ['no audience', { teamDomain: 'my-team' }],
    ['an empty audience', { teamDomain: 'my-team', audience: '' }],
    ['an empty list of audiences', { teamDomain: 'my-team', audience: [] }],
    ['an issuer of its own', { teamDomain: 'my-team', audience: 'a', issuer: 'b' }],
  ])('refuses %s at construction', (_what, options) => {
    expect(() => cloudflareAccess(options as never)).toThrow(OptionError);
  });

  it('names certsUrl in the message about a bad URL', () => {
    const options = { teamDomain: 'my-team', audience: 'a', certsUrl: 'http://keys.example' };
    expect(() => cloudflareAccess(options)).toThrow('gatewarden: cloudflareAccess "certsUrl" must be an https URL');
  });
});
