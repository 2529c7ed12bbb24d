import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import type { Authenticator } from '../../../src/auth/authenticator.js';
import { type JwtOptions, jwt } from '../../../src/auth/jwt/index.js';
import { sharedSecret } from '../../../src/auth/shared-secret.js';
import { OptionError } from '../../../src/core/option.js';
import { principalOf } from '../../../src/core/principal.js';
import { sequence } from '../../../src/core/sequence.js';
import { ask, type HeaderLine, testExchange } from '../../exchange-fixture.js';
import {
  GOOD_CLAIMS,
  goodToken,
  HMAC_SECRET,
  hmacToken,
  JWT_ATTACKS,
  NOW,
  ownKeys,
  RSA_PRIVATE,
  RSA_PUBLIC,
  rsaToken,
} from './tokens.js';

const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const BASE = { issuer: 'https://auth.example', audience: 'api', now: () => NOW } as const;
const hs256 = (more: Partial<JwtOptions> = {}) => jwt({ algorithms: ['HS256'], key: HMAC_SECRET, ...BASE, ...more });
const rs256 = (more: Partial<JwtOptions> = {}) => jwt({ algorithms: ['RS256'], key: RSA_PUBLIC, ...BASE, ...more });
const send = (scheme: ReturnType<typeof jwt>, token: string) => ask(authenticate(scheme), { headers: [bearer(token)] });

describe('jwt', () => {
  it('accepts a valid token and sets the principal from its claims', async () => {
    const { exchange, passed } = await send(hs256(), goodToken({ scope: 'read write', jti: 'j-1', plan: 'gold' }));
    expect(passed).toBe(true);
    expect(exchange.principal).toEqual({
      id: 'alice',
      scheme: 'jwt',
      scopes: ['read', 'write'],
      credentialId: 'j-1',
      expiresAt: NOW + 60_000,
      claims: { ...GOOD_CLAIMS, scope: 'read write', jti: 'j-1', plan: 'gold' },
    });
  });

  it.each([
    ['signed with a key pair', rs256(), rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['with one of several audiences', hs256(), goodToken({ aud: ['web', 'api'] })],
    ['that expires in a second', hs256(), goodToken({ exp: NOW / 1000 + 1 })],
    ['that is valid from this second on', hs256(), goodToken({ nbf: NOW / 1000, iat: NOW / 1000 })],
    [
      'with the same name in different objects',
      hs256(),
      goodToken({ a: { sub: 1, x: '"sub":"b"' }, b: [{ sub: 2 }, { sub: 3 }] }),
    ],
    ['with a jku header, which is ignored', hs256(), goodToken({}, { jku: 'http://127.0.0.1:1/' })],
    ['with another claim as subject', hs256({ subject: 'user_id' }), goodToken({ user_id: 'alice' })],
    [
      'with a subject from a function',
      hs256({ subject: ({ email }) => String(email) }),
      goodToken({ email: 'a@b.example' }),
    ],
    ['of the required typ', hs256({ typ: 'at+jwt' }), hmacToken({ alg: 'HS256', typ: 'at+jwt' }, GOOD_CLAIMS)],
    [
      'from a clock that is ahead within the tolerance',
      hs256({ clockTolerance: '5s' }),
      goodToken({ iat: NOW / 1000 + 5, nbf: NOW / 1000 + 5 }),
    ],
    ['that has expired within the tolerance', hs256({ clockTolerance: '5s' }), goodToken({ exp: NOW / 1000 - 4 })],
  ])('accepts a token %s', async (_what, scheme, token) => {
    const { passed, faults } = await send(scheme, token);
    expect([passed, faults]).toEqual([true, []]);
  });

  it.each([
    ['of another typ than the required one', hs256({ typ: 'at+jwt' }), goodToken()],
    ['without a required claim', hs256({ requiredClaims: ['email'] }), goodToken()],
    ['that has expired beyond the tolerance', hs256({ clockTolerance: '5s' }), goodToken({ exp: NOW / 1000 - 5 })],
    ['without the claim of the subject', hs256({ subject: 'user_id' }), goodToken()],
    ['whose subject is an inherited property', hs256({ subject: 'constructor' }), goodToken()],
  ])('refuses a token %s', async (_what, scheme, token) => {
    expect((await send(scheme, token)).status).toBe(401);
  });

  it('leaves a token without a dot to the next scheme, and no other token', async () => {
    const secret = 'opaque-c4n4ry-secret-0123456789-abcdefghij';
    const guard = authenticate([hs256(), sharedSecret({ secrets: [secret] })]);
    const opaque = await ask(guard, { headers: [bearer(secret)] });
    expect(opaque.exchange.principal?.scheme).toBe('shared-secret');
    expect((await ask(guard, { headers: [bearer(goodToken())] })).exchange.principal?.scheme).toBe('jwt');
  });

  it.each([
    ['scope', { scope: ' read  write ' }, ['read', 'write']],
    ['scp as text', { scp: ' read  write ' }, ['read', 'write']],
    ['scp as a list', { scp: ['read', 5, 'write'] }, ['read', 'write']],
    ['scopes', { scopes: ['admin'] }, ['admin']],
    ['no claim', {}, []],
    ['claims of the wrong type', { scope: 5, scopes: 'admin' }, []],
  ])('reads scopes from %s', async (_what, claims, scopes) => {
    expect((await send(hs256(), goodToken(claims))).exchange.principal?.scopes).toEqual(scopes);
  });
});

describe('jwt, for forged tokens,', () => {
  it.each(JWT_ATTACKS.map((attack) => [attack.what, attack] as const))(
    'refuses a token with the same 401 as any other: %s',
    async (_what, { token, against }) => {
      const answer = await send(against === 'HS256' ? hs256() : rs256(), token);
      expect({
        status: answer.status,
        challenge: answer.replyHeaders['WWW-Authenticate'],
        code: JSON.parse(answer.body).code,
        principal: answer.exchange.principal,
        faults: answer.faults,
      }).toEqual({
        status: 401,
        challenge: 'Bearer realm="api", error="invalid_token"',
        code: 'credentials-invalid',
        principal: undefined,
        faults: [],
      });
    },
  );

  it('never fetches a key that a token refers to', async () => {
    let fetches = 0;
    const server = createServer((_request, response) => {
      fetches++;
      response.end('{}');
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    for (const { token, against } of ownKeys(url)) {
      expect((await send(against === 'HS256' ? hs256() : rs256(), token)).status).toBe(401);
    }
    expect(fetches).toBe(0);
  });

  it('refuses a valid token with any one character changed or removed', async () => {
    const scheme = hs256({ cache: false });
    const valid = goodToken({ jti: 'j' });
    expect((await send(scheme, valid)).passed).toBe(true);
    const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/='];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(valid.length - 1),
        fc.constantFrom(...alphabet),
        fc.constantFrom(0, 1),
        async (at, other, keep) => {
          const changed = valid.slice(0, at) + other + valid.slice(at + 1 - keep);
          fc.pre(changed !== valid);
          const answer = await send(scheme, changed);
          expect(answer.passed).toBe(false);
          expect([400, 401]).toContain(answer.status);
          expect(answer.faults).toEqual([]);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('jwt with several keys', () => {
  const NEW = 'c4n4ry-newer-hmac-secret-for-tests-0123456789';
  let now = NOW;
  const scheme = hs256({
    key: undefined as never,
    keys: [
      { kid: 'old', key: HMAC_SECRET, expiresAt: new Date(NOW + 30_000) },
      { kid: 'new', key: NEW },
    ],
    cache: false,
    now: () => now,
  });
  const signedWith = (kid: string | undefined, secret: string) =>
    hmacToken({ alg: 'HS256', ...(kid === undefined ? {} : { kid }) }, GOOD_CLAIMS, secret);

  it.each([
    ['accepts the old key before it expires', 0, signedWith('old', HMAC_SECRET), true],
    ['refuses the old key when it expires', 30_000, signedWith('old', HMAC_SECRET), false],
    ['accepts the new key', 30_000, signedWith('new', NEW), true],
    ['refuses a signature with another key than kid names', 0, signedWith('old', NEW), false],
    ['refuses an unknown kid', 0, signedWith('other', NEW), false],
    ['refuses a token without kid', 0, signedWith(undefined, NEW), false],
    ['refuses a token without kid, although the first key signed it', 0, signedWith(undefined, HMAC_SECRET), false],
    ['refuses a kid that is an inherited property', 0, signedWith('__proto__', NEW), false],
  ])('%s', async (_what, later, token, passes) => {
    now = NOW + later;
    expect((await send(scheme, token)).passed).toBe(passes);
  });
});

describe('expiresAt of a key', () => {
  it.each([
    ['a Date', new Date(NOW + 30_000)],
    ['an ISO 8601 string', new Date(NOW + 30_000).toISOString()],
    ['epoch milliseconds', NOW + 30_000],
  ])('can be %s', async (_what, expiresAt) => {
    let now = NOW;
    const keys = [{ kid: 'one', key: HMAC_SECRET, expiresAt }];
    const scheme = jwt({ algorithms: ['HS256'], keys, cache: false, now: () => now });
    const token = hmacToken({ alg: 'HS256', kid: 'one' }, GOOD_CLAIMS);
    expect((await send(scheme, token)).passed).toBe(true);
    now += 30_000;
    expect((await send(scheme, token)).status).toBe(401);
  });
});

describe('the token cache', () => {
  it('returns a verdict without a promise until the token expires', async () => {
    let now = NOW;
    const scheme = hs256({ now: () => now });
    const token = goodToken({ exp: NOW / 1000 + 30 });
    const { exchange } = testExchange();
    expect(scheme.verify(token, exchange)).toBeInstanceOf(Promise);
    await scheme.verify(token, exchange);
    expect(scheme.verify(token, exchange)).toMatchObject({ kind: 'authenticated' });
    now = NOW + 29_999;
    expect(scheme.verify(token, exchange)).toMatchObject({ kind: 'authenticated' });
    now = NOW + 30_000;
    expect(scheme.verify(token, exchange)).toEqual({ kind: 'invalid', reason: 'expired' });
    now = NOW - 3_600_000;
  });

  it('does not accept a token before nbf if the clock is set back', async () => {
    let now = NOW;
    const scheme = hs256({ now: () => now, clockTolerance: '1s' });
    const token = goodToken({ nbf: NOW / 1000 });
    const { exchange } = testExchange();
    await scheme.verify(token, exchange);
    now = NOW - 1000;
    expect(scheme.verify(token, exchange)).toMatchObject({ kind: 'authenticated' });
    now = NOW - 1001;
    expect(scheme.verify(token, exchange)).toEqual({ kind: 'invalid', reason: 'not yet valid' });
  });

  it('verifies a token again after a minute by default', async () => {
    let now = NOW;
    const scheme = hs256({ now: () => now });
    const token = goodToken({ exp: NOW / 1000 + 3600 });
    const { exchange } = testExchange();
    await scheme.verify(token, exchange);
    now = NOW + 60_000;
    expect(scheme.verify(token, exchange)).not.toBeInstanceOf(Promise);
    now = NOW + 60_001;
    expect(scheme.verify(token, exchange)).toBeInstanceOf(Promise);
  });

  it('verifies a token again after maxAge', async () => {
    let now = NOW;
    const scheme = hs256({ now: () => now, cache: { maxAge: '10s' } });
    const token = goodToken();
    const { exchange } = testExchange();
    await scheme.verify(token, exchange);
    now = NOW + 10_000;
    expect(scheme.verify(token, exchange)).not.toBeInstanceOf(Promise);
    now = NOW + 10_001;
    expect(scheme.verify(token, exchange)).toBeInstanceOf(Promise);
  });

  it('keeps at most maxEntries tokens and drops the least recently used', async () => {
    const scheme = hs256({ cache: { maxEntries: 2 } });
    const { exchange } = testExchange();
    const [first, second, third] = ['a', 'b', 'c'].map((sub) => goodToken({ sub })) as [string, string, string];
    for (const token of [first, second]) await scheme.verify(token, exchange);
    expect(scheme.verify(first, exchange)).not.toBeInstanceOf(Promise);
    await scheme.verify(third, exchange);
    expect(scheme.verify(first, exchange)).not.toBeInstanceOf(Promise);
    expect(scheme.verify(second, exchange)).toBeInstanceOf(Promise);
  });

  it('does not accept another token that begins or ends alike', async () => {
    const scheme = hs256();
    const token = goodToken();
    await send(scheme, token);
    const [header, claims, signature = ''] = token.split('.');
    for (const other of [
      `${header}.${claims}.${signature.slice(0, -4)}AAAA`,
      `${header}.${claims}`,
      `${header}.${claims}.`,
      `${token}.`,
    ]) {
      expect((await send(scheme, other)).status).toBe(401);
    }
  });

  it('does not keep a refused token, and keeps nothing if it is turned off', async () => {
    const { exchange } = testExchange();
    const refusing = hs256();
    await refusing.verify(goodToken({ aud: 'other' }), exchange);
    expect(refusing.verify(goodToken({ aud: 'other' }), exchange)).toBeInstanceOf(Promise);
    const uncached = hs256({ cache: false });
    await uncached.verify(goodToken(), exchange);
    expect(uncached.verify(goodToken(), exchange)).toBeInstanceOf(Promise);
  });

  it.each([
    ['synchronous', (revoked: boolean) => revoked],
    ['asynchronous', (revoked: boolean) => Promise.resolve(revoked)],
  ])('does not skip a %s isRevoked', async (_how, answer) => {
    const calls: string[] = [];
    let revoked = false;
    const scheme = hs256({
      isRevoked(jti) {
        calls.push(jti);
        return answer(revoked);
      },
    });
    const token = goodToken({ jti: 'j-1' });
    expect((await send(scheme, token)).passed).toBe(true);
    expect((await send(scheme, token)).passed).toBe(true);
    revoked = true;
    expect((await send(scheme, token)).status).toBe(401);
    expect(calls).toEqual(['j-1', 'j-1', 'j-1']);
  });

  it.each<[string, () => unknown, number]>([
    [
      'throws',
      () => {
        throw new Error('down');
      },
      503,
    ],
    ['rejects', () => Promise.reject(new Error('down')), 503],
    ['returns undefined', () => undefined, 503],
    ['resolves to a string', async () => 'no', 503],
    ['returns true', () => true, 401],
  ])('refuses a token if isRevoked %s', async (_what, isRevoked, status) => {
    const answer = await send(hs256({ isRevoked: isRevoked as () => boolean }), goodToken({ jti: 'j-1' }));
    expect([answer.status, answer.exchange.principal]).toEqual([status, undefined]);
    expect(answer.faults).toHaveLength(status === 503 ? 1 : 0);
  });

  it.each([
    ['never resolves', () => new Promise<boolean>(() => undefined), 503],
    // biome-ignore lint/suspicious/noThenProperty: some libraries return thenables that are not promises
    ['returns a thenable that resolves to true', () => ({ then: (done: (late: boolean) => void) => done(true) }), 401],
  ])('also refuses a token if isRevoked %s', async (_what, isRevoked, status) => {
    const scheme = hs256({ isRevoked: isRevoked as () => Promise<boolean>, timeout: '20ms' });
    expect((await send(scheme, goodToken({ jti: 'j-1' }))).status).toBe(status);
  });

  it('does not keep a token longer than its key', async () => {
    let now = NOW;
    const scheme = jwt({
      algorithms: ['HS256'],
      keys: [{ kid: 'one', key: HMAC_SECRET, expiresAt: new Date(NOW + 1000) }],
      now: () => now,
      cache: { maxAge: '1h' },
    });
    const token = hmacToken({ alg: 'HS256', kid: 'one' }, { ...GOOD_CLAIMS, exp: NOW / 1000 + 86_400 });
    expect((await send(scheme, token)).passed).toBe(true);
    now += 999;
    expect((await send(scheme, token)).passed).toBe(true);
    now += 1;
    expect((await send(scheme, token)).status).toBe(401);
  });

  it('shares claims that no handler can change', async () => {
    const { exchange } = await send(hs256(), goodToken({ realm_access: { roles: ['user'] } }));
    const access = principalOf(exchange).claims?.realm_access as { roles: string[] };
    expect(() => access.roles.push('admin')).toThrow(TypeError);
  });

  it.each([
    ['not a list', () => 'admin' as never],
    ['a list of numbers', () => [5] as never],
    ['a promise', (async () => ['admin']) as never],
  ])('fails with a fault if scopes returns %s', async (_what, scopes) => {
    const { status, faults } = await ask(sequence(authenticate(hs256({ scopes }))), { headers: [bearer(goodToken())] });
    expect([status, faults.length]).toEqual([500, 1]);
  });

  it('refuses a token without jti if there is isRevoked', async () => {
    expect((await send(hs256({ isRevoked: () => false }), goodToken())).status).toBe(401);
  });
});

describe('the reason of a refusal', () => {
  const { exchange } = testExchange();
  const withJti = goodToken({ jti: 'j-1' });
  it.each<[string, Authenticator, string]>([
    ['expired', hs256(), goodToken({ exp: NOW / 1000 })],
    ['not yet valid', hs256(), goodToken({ nbf: NOW / 1000 + 1 })],
    ['invalid signature', hs256(), hmacToken({ alg: 'HS256' }, GOOD_CLAIMS, 'x'.repeat(32))],
    ['invalid claim aud', hs256(), goodToken({ aud: 'other' })],
    [
      'exp is not a number',
      hs256(),
      hmacToken({ alg: 'HS256' }, JSON.stringify({ ...GOOD_CLAIMS, exp: 0 }).replace('"exp":0', '"exp":1e400')),
    ],
    ['iat is in the future', hs256(), goodToken({ iat: NOW / 1000 + 1 })],
    ['missing subject', hs256(), goodToken({ sub: '' })],
    ['missing jti', hs256({ isRevoked: () => false }), goodToken()],
    ['revoked', hs256({ isRevoked: () => true }), withJti],
    ['revocation check failed', hs256({ isRevoked: () => 'no' as never }), withJti],
    ['unknown key', hs256({ key: undefined as never, keys: [{ kid: 'a', key: HMAC_SECRET }] }), goodToken()],
    ['algorithm not allowed', hs256(), hmacToken({ alg: 'HS512' }, GOOD_CLAIMS)],
  ])('is: %s', async (reason, scheme, token) => {
    expect(await scheme.verify(token, exchange)).toMatchObject({ reason });
  });
});

describe('jwt at construction', () => {
  const { publicKey: small } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  // Not every runtime can generate one.
  const ed448 = `-----BEGIN PUBLIC KEY-----
MEMwBQYDK2VxAzoAaIvG/5M+wLJzZdwwBKQ4yYEJ6Eavotr9R5OeypOLwf6Zvtv9
G8FyjwF6NKI/VqZ+LXQ/qbj4u2iA
-----END PUBLIC KEY-----`;
  const { publicKey: p384 } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const pem = RSA_PUBLIC.export({ type: 'spki', format: 'pem' }).toString();
  const SECRET = HMAC_SECRET;

  it.each<[string, object, string]>([
    ['no algorithms', { key: SECRET }, 'algorithms'],
    ['an empty list of algorithms', { algorithms: [], key: SECRET }, 'algorithms'],
    ['the algorithm none', { algorithms: ['none'], key: SECRET }, 'algorithms'],
    ['an unknown algorithm', { algorithms: ['HS1'], key: SECRET }, 'algorithms'],
    ['the name of an inherited property as algorithm', { algorithms: ['constructor'], key: SECRET }, 'algorithms'],
    ['algorithms of two families', { algorithms: ['HS256', 'RS256'], key: SECRET }, 'family'],
    ['no key', { algorithms: ['HS256'] }, 'one of'],
    ['two sources of keys', { algorithms: ['HS256'], key: SECRET, keys: [] }, 'one of'],
    ['an empty list of keys', { algorithms: ['HS256'], keys: [] }, 'keys'],
    [
      'the same kid twice',
      {
        algorithms: ['HS256'],
        keys: [
          { kid: 'a', key: SECRET },
          { kid: 'a', key: SECRET },
        ],
      },
      'keys[1].kid',
    ],
    [
      'a key with an invalid expiresAt',
      { algorithms: ['HS256'], keys: [{ kid: 'a', key: SECRET, expiresAt: new Date(Number.NaN) }] },
      'keys[0].expiresAt',
    ],
    ['a misspelt member of a key', { algorithms: ['HS256'], keys: [{ kid: 'a', key: SECRET, expires: 1 }] }, 'expires'],
    ['an empty secret', { algorithms: ['HS256'], key: '' }, 'key'],
    ['a secret of 31 bytes', { algorithms: ['HS256'], key: SECRET.slice(0, 31) }, '32 bytes'],
    ['a secret of 47 bytes for HS384', { algorithms: ['HS384'], key: 'x'.repeat(47) }, '48 bytes'],
    ['a secret of 63 bytes for HS256 and HS512', { algorithms: ['HS256', 'HS512'], key: 'x'.repeat(63) }, '64 bytes'],
    ['a PEM key as secret', { algorithms: ['HS256'], key: pem }, 'PEM'],
    ['a PEM key as the bytes of a secret', { algorithms: ['HS256'], key: Buffer.from(` ${pem}`) }, 'PEM'],
    ['a public key as secret', { algorithms: ['HS256'], key: RSA_PUBLIC }, 'secret'],
    ['a secret as public key', { algorithms: ['RS256'], key: SECRET }, 'public key'],
    ['bytes as public key', { algorithms: ['RS256'], key: Buffer.from(pem) }, 'public key'],
    ['a short RSA key', { algorithms: ['RS256'], key: small }, '2048'],
    ['an RSA key for ES256', { algorithms: ['ES256'], key: RSA_PUBLIC }, 'curve'],
    ['a key for Ed448', { algorithms: ['EdDSA'], key: ed448 }, 'Ed25519'],
    ['a key on the curve of another algorithm', { algorithms: ['ES256'], key: p384 }, 'curve'],
    ['an RSA key for EdDSA', { algorithms: ['EdDSA'], key: RSA_PUBLIC }, 'Ed25519'],
    ['a key set with HMAC', { algorithms: ['HS256'], jwksUrl: 'https://a.example/keys' }, 'jwksUrl'],
    ['a key set without TLS', { algorithms: ['RS256'], jwksUrl: 'http://a.example/keys' }, 'jwksUrl'],
    [
      'a key set without TLS on a host that begins like localhost',
      { algorithms: ['RS256'], jwksUrl: 'http://localhost.a.example/keys' },
      'jwksUrl',
    ],
    ['a key set URL with a user name', { algorithms: ['RS256'], jwksUrl: 'https://u@a.example/keys' }, 'jwksUrl'],
    ['a key set URL with a password', { algorithms: ['RS256'], jwksUrl: 'https://:p@a.example/keys' }, 'jwksUrl'],
    ['a key set URL with credentials', { algorithms: ['RS256'], jwksUrl: 'https://u:p@a.example/keys' }, 'jwksUrl'],
    ['a key set URL that is not a URL', { algorithms: ['RS256'], jwksUrl: 'keys' }, 'jwksUrl'],
    ['an empty issuer', { algorithms: ['HS256'], key: SECRET, issuer: '' }, 'issuer'],
    ['an empty list of audiences', { algorithms: ['HS256'], key: SECRET, audience: [] }, 'audience'],
    [
      'a tolerance of more than five minutes',
      { algorithms: ['HS256'], key: SECRET, clockTolerance: '300001ms' },
      "must be at most '5m'",
    ],
    [
      'a tolerance without a unit',
      { algorithms: ['HS256'], key: SECRET, clockTolerance: 5 },
      "needs a unit, got 5; write '5s' or '5ms'",
    ],
    ['a tolerance of an hour', { algorithms: ['HS256'], key: SECRET, clockTolerance: '1h' }, 'clockTolerance'],
    ['an empty subject', { algorithms: ['HS256'], key: SECRET, subject: '' }, 'subject'],
    ['a misspelt option', { algorithms: ['HS256'], key: SECRET, aud: 'api' }, 'aud'],
    ['a misspelt option of the cache', { algorithms: ['HS256'], key: SECRET, cache: { ttl: 5 } }, 'ttl'],
    ['an undefined audience', { algorithms: ['HS256'], key: SECRET, audience: undefined }, 'audience'],
    ['an undefined issuer', { algorithms: ['HS256'], key: SECRET, issuer: undefined }, 'issuer'],
    ['an undefined typ', { algorithms: ['HS256'], key: SECRET, typ: undefined }, 'typ'],
    ['undefined requiredClaims', { algorithms: ['HS256'], key: SECRET, requiredClaims: undefined }, 'requiredClaims'],
    ['an undefined isRevoked', { algorithms: ['HS256'], key: SECRET, isRevoked: undefined }, 'isRevoked'],
    ['a timeout of two minutes', { algorithms: ['HS256'], key: SECRET, timeout: '2m' }, 'timeout'],
    ['isRevoked that is not a function', { algorithms: ['HS256'], key: SECRET, isRevoked: true }, 'isRevoked'],
  ])('refuses %s without showing a key', (_what, options, named) => {
    let thrown: unknown;
    try {
      jwt(options as unknown as JwtOptions);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(OptionError);
    expect(String(thrown)).toContain(named);
    expect(String(thrown)).not.toMatch(/c4n4ry|BEGIN|u:p/);
  });

  it.each<[string, Partial<JwtOptions>, string]>([
    ['a private key, using its public half', { key: RSA_PRIVATE }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['PEM', { key: pem }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['a JWK', { key: RSA_PUBLIC.export({ format: 'jwk' }) }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    [
      'a secret as JWK',
      { algorithms: ['HS256'], key: { kty: 'oct', k: Buffer.from(SECRET).toString('base64url') } },
      goodToken(),
    ],
    ['a secret as bytes', { algorithms: ['HS256'], key: Buffer.from(SECRET) }, goodToken()],
  ])('accepts %s as key', async (_what, options, token) => {
    expect((await send(rs256(options), token)).passed).toBe(true);
  });
});
