import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
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

describe('a token', () => {
  it('that is good lets its subject in, with what it says', async () => {
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
    ['of a key pair', rs256(), rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['with one of several audiences', hs256(), goodToken({ aud: ['web', 'api'] })],
    ['that ends in a second', hs256(), goodToken({ exp: NOW / 1000 + 1 })],
    ['that has just begun', hs256(), goodToken({ nbf: NOW / 1000, iat: NOW / 1000 })],
    [
      'with names alike in different objects',
      hs256(),
      goodToken({ a: { sub: 1, x: '"sub":"b"' }, b: [{ sub: 2 }, { sub: 3 }] }),
    ],
    ['whose header says where keys are, which nobody asks', hs256(), goodToken({}, { jku: 'http://127.0.0.1:1/' })],
    ['with another claim as subject', hs256({ subject: 'user_id' }), goodToken({ user_id: 'alice' })],
    [
      'with a subject that a function finds',
      hs256({ subject: ({ email }) => String(email) }),
      goodToken({ email: 'a@b.example' }),
    ],
    ['of a typ that is asked for', hs256({ typ: 'at+jwt' }), hmacToken({ alg: 'HS256', typ: 'at+jwt' }, GOOD_CLAIMS)],
    [
      'from a clock that is a little ahead',
      hs256({ clockTolerance: '5s' }),
      goodToken({ iat: NOW / 1000 + 5, nbf: NOW / 1000 + 5 }),
    ],
    ['that has just ended, within the tolerance', hs256({ clockTolerance: '5s' }), goodToken({ exp: NOW / 1000 - 4 })],
  ])('%s lets in', async (_what, scheme, token) => {
    const { passed, faults } = await send(scheme, token);
    expect([passed, faults]).toEqual([true, []]);
  });

  it.each([
    ['of another typ than is asked for', hs256({ typ: 'at+jwt' }), goodToken()],
    ['without a claim that is asked for', hs256({ requiredClaims: ['email'] }), goodToken()],
    ['beyond the tolerance', hs256({ clockTolerance: '5s' }), goodToken({ exp: NOW / 1000 - 5 })],
    ['without the claim that is the subject', hs256({ subject: 'user_id' }), goodToken()],
    ['whose subject is inherited', hs256({ subject: 'constructor' }), goodToken()],
  ])('%s is refused', async (_what, scheme, token) => {
    expect((await send(scheme, token)).status).toBe(401);
  });

  it('without a dot is left to the next scheme; any other is not', async () => {
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
    ['none', {}, []],
    ['nonsense', { scope: 5, scopes: 'admin' }, []],
  ])('has scopes of %s', async (_what, claims, scopes) => {
    expect((await send(hs256(), goodToken(claims))).exchange.principal?.scopes).toEqual(scopes);
  });
});

describe('an attack', () => {
  it.each(JWT_ATTACKS.map((attack) => [attack.what, attack] as const))(
    '%s is a 401 like any other',
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

  it('with a key of its own makes nobody ask for it', async () => {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked++;
      response.end('{}');
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    for (const { token, against } of ownKeys(url)) {
      expect((await send(against === 'HS256' ? hs256() : rs256(), token)).status).toBe(401);
    }
    expect(asked).toBe(0);
  });

  it('by changing any character of a good token fails', async () => {
    const scheme = hs256({ cache: false });
    const good = goodToken({ jti: 'j' });
    expect((await send(scheme, good)).passed).toBe(true);
    const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/='];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.constantFrom(...alphabet),
        fc.constantFrom(0, 1),
        async (at, other, kept) => {
          const changed = good.slice(0, at) + other + good.slice(at + 1 - kept);
          fc.pre(changed !== good);
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

describe('several keys', () => {
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
  const by = (kid: string | undefined, secret: string) =>
    hmacToken({ alg: 'HS256', ...(kid === undefined ? {} : { kid }) }, GOOD_CLAIMS, secret);

  it.each([
    ['the old one until its end', 0, by('old', HMAC_SECRET), true],
    ['the old one at its end', 30_000, by('old', HMAC_SECRET), false],
    ['the new one', 30_000, by('new', NEW), true],
    ['none by the kid of another', 0, by('old', NEW), false],
    ['none by an unknown kid', 0, by('other', NEW), false],
    ['none without a kid', 0, by(undefined, NEW), false],
    ['none without a kid, though the first key made it', 0, by(undefined, HMAC_SECRET), false],
    ['none by an inherited kid', 0, by('__proto__', NEW), false],
  ])('%s', async (_what, later, token, passes) => {
    now = NOW + later;
    expect((await send(scheme, token)).passed).toBe(passes);
  });
});

describe('a token that has been verified before', () => {
  it('is answered without a promise, until it ends', async () => {
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

  it('that is remembered begins no earlier, where the clock is set back', async () => {
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

  it('is verified anew after a minute, unless told otherwise', async () => {
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

  it('is verified anew after a while', async () => {
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

  it('stands for no other that begins or ends alike', async () => {
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

  it('is not remembered where it was refused, nor where nothing shall be', async () => {
    const { exchange } = testExchange();
    const bad = hs256();
    await bad.verify(goodToken({ aud: 'other' }), exchange);
    expect(bad.verify(goodToken({ aud: 'other' }), exchange)).toBeInstanceOf(Promise);
    const none = hs256({ cache: false });
    await none.verify(goodToken(), exchange);
    expect(none.verify(goodToken(), exchange)).toBeInstanceOf(Promise);
  });

  it.each([
    ['at once', (revoked: boolean) => revoked],
    ['later', (revoked: boolean) => Promise.resolve(revoked)],
  ])('is asked after every time whether it was taken back, %s', async (_how, answer) => {
    const asked: string[] = [];
    let revoked = false;
    const scheme = hs256({
      isRevoked(jti) {
        asked.push(jti);
        return answer(revoked);
      },
    });
    const token = goodToken({ jti: 'j-1' });
    expect((await send(scheme, token)).passed).toBe(true);
    expect((await send(scheme, token)).passed).toBe(true);
    revoked = true;
    expect((await send(scheme, token)).status).toBe(401);
    expect(asked).toEqual(['j-1', 'j-1', 'j-1']);
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
    ['gives nothing', () => undefined, 503],
    ['gives what is neither true nor false', async () => 'no', 503],
    ['says yes', () => true, 401],
  ])('is not let in where isRevoked %s', async (_what, isRevoked, status) => {
    const answer = await send(hs256({ isRevoked: isRevoked as () => boolean }), goodToken({ jti: 'j-1' }));
    expect([answer.status, answer.exchange.principal]).toEqual([status, undefined]);
    expect(answer.faults).toHaveLength(status === 503 ? 1 : 0);
  });

  it.each([
    ['never answers', () => new Promise<boolean>(() => undefined), 503],
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library
    ['gives a yes of another library', () => ({ then: (done: (late: boolean) => void) => done(true) }), 401],
  ])('is not let in either where isRevoked %s', async (_what, isRevoked, status) => {
    const scheme = hs256({ isRevoked: isRevoked as () => Promise<boolean>, timeout: '20ms' });
    expect((await send(scheme, goodToken({ jti: 'j-1' }))).status).toBe(status);
  });

  it('that is remembered ends with its key', async () => {
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

  it('has claims that no handler can change for the next one', async () => {
    const { exchange } = await send(hs256(), goodToken({ realm_access: { roles: ['user'] } }));
    const access = principalOf(exchange).claims?.realm_access as { roles: string[] };
    expect(() => access.roles.push('admin')).toThrow(TypeError);
  });

  it.each([
    ['no list', () => 'admin' as never],
    ['a list of other things', () => [5] as never],
    ['a promise', (async () => ['admin']) as never],
  ])('lets nobody in by scopes that are %s', async (_what, scopes) => {
    const { status, faults } = await ask(sequence(authenticate(hs256({ scopes }))), { headers: [bearer(goodToken())] });
    expect([status, faults.length]).toEqual([500, 1]);
  });

  it('without a jti cannot be taken back, and is refused where that is asked', async () => {
    expect((await send(hs256({ isRevoked: () => false }), goodToken())).status).toBe(401);
  });
});

describe('construction', () => {
  const { publicKey: small } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const { publicKey: ed448 } = generateKeyPairSync('ed448');
  const { publicKey: p384 } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const pem = RSA_PUBLIC.export({ type: 'spki', format: 'pem' }).toString();
  const SECRET = HMAC_SECRET;

  it.each<[string, object, string]>([
    ['no algorithms', { key: SECRET }, 'algorithms'],
    ['an empty list of them', { algorithms: [], key: SECRET }, 'algorithms'],
    ['none', { algorithms: ['none'], key: SECRET }, 'algorithms'],
    ['an unknown one', { algorithms: ['HS1'], key: SECRET }, 'algorithms'],
    ['one by its inherited name', { algorithms: ['constructor'], key: SECRET }, 'algorithms'],
    ['those of two families', { algorithms: ['HS256', 'RS256'], key: SECRET }, 'family'],
    ['no key', { algorithms: ['HS256'] }, 'one of'],
    ['two sources of keys', { algorithms: ['HS256'], key: SECRET, keys: [] }, 'one of'],
    ['an empty list of keys', { algorithms: ['HS256'], keys: [] }, 'keys'],
    [
      'a kid twice',
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
      'a key whose end is no date',
      { algorithms: ['HS256'], keys: [{ kid: 'a', key: SECRET, expiresAt: new Date(Number.NaN) }] },
      'keys[0].expiresAt',
    ],
    ['a misspelt member of a key', { algorithms: ['HS256'], keys: [{ kid: 'a', key: SECRET, expires: 1 }] }, 'expires'],
    ['an empty secret', { algorithms: ['HS256'], key: '' }, 'key'],
    ['a secret of 31 bytes', { algorithms: ['HS256'], key: SECRET.slice(0, 31) }, '32 bytes'],
    ['a secret of 47 bytes for HS384', { algorithms: ['HS384'], key: 'x'.repeat(47) }, '48 bytes'],
    ['a secret of 63 bytes for one of two', { algorithms: ['HS256', 'HS512'], key: 'x'.repeat(63) }, '64 bytes'],
    ['a PEM key as secret', { algorithms: ['HS256'], key: pem }, 'PEM'],
    ['a PEM key as the bytes of a secret', { algorithms: ['HS256'], key: Buffer.from(` ${pem}`) }, 'PEM'],
    ['a public key as secret', { algorithms: ['HS256'], key: RSA_PUBLIC }, 'secret'],
    ['a secret as public key', { algorithms: ['RS256'], key: SECRET }, 'public key'],
    ['bytes as public key', { algorithms: ['RS256'], key: Buffer.from(pem) }, 'public key'],
    ['a short RSA key', { algorithms: ['RS256'], key: small }, '2048'],
    ['an RSA key for ES256', { algorithms: ['ES256'], key: RSA_PUBLIC }, 'curve'],
    ['a key for Ed448', { algorithms: ['EdDSA'], key: ed448 }, 'Ed25519'],
    ['the curve of another', { algorithms: ['ES256'], key: p384 }, 'curve'],
    ['an RSA key for EdDSA', { algorithms: ['EdDSA'], key: RSA_PUBLIC }, 'Ed25519'],
    ['a key set for secrets', { algorithms: ['HS256'], jwksUrl: 'https://a.example/keys' }, 'jwksUrl'],
    ['a key set without TLS', { algorithms: ['RS256'], jwksUrl: 'http://a.example/keys' }, 'jwksUrl'],
    [
      'a key set elsewhere without TLS',
      { algorithms: ['RS256'], jwksUrl: 'http://localhost.a.example/keys' },
      'jwksUrl',
    ],
    ['a key set with a name', { algorithms: ['RS256'], jwksUrl: 'https://u@a.example/keys' }, 'jwksUrl'],
    ['a key set with a password', { algorithms: ['RS256'], jwksUrl: 'https://:p@a.example/keys' }, 'jwksUrl'],
    ['a key set with credentials', { algorithms: ['RS256'], jwksUrl: 'https://u:p@a.example/keys' }, 'jwksUrl'],
    ['a key set nowhere', { algorithms: ['RS256'], jwksUrl: 'keys' }, 'jwksUrl'],
    ['an empty issuer', { algorithms: ['HS256'], key: SECRET, issuer: '' }, 'issuer'],
    ['an empty list of audiences', { algorithms: ['HS256'], key: SECRET, audience: [] }, 'audience'],
    [
      'a tolerance of more than five minutes',
      { algorithms: ['HS256'], key: SECRET, clockTolerance: 300_001 },
      'clockTolerance',
    ],
    ['a tolerance of an hour', { algorithms: ['HS256'], key: SECRET, clockTolerance: '1h' }, 'clockTolerance'],
    ['a subject that is no name', { algorithms: ['HS256'], key: SECRET, subject: '' }, 'subject'],
    ['a misspelt option', { algorithms: ['HS256'], key: SECRET, aud: 'api' }, 'aud'],
    ['a misspelt option of the cache', { algorithms: ['HS256'], key: SECRET, cache: { ttl: 5 } }, 'ttl'],
    ['an audience that is not set', { algorithms: ['HS256'], key: SECRET, audience: undefined }, 'audience'],
    ['an issuer that is not set', { algorithms: ['HS256'], key: SECRET, issuer: undefined }, 'issuer'],
    ['a typ that is not set', { algorithms: ['HS256'], key: SECRET, typ: undefined }, 'typ'],
    [
      'required claims that are not set',
      { algorithms: ['HS256'], key: SECRET, requiredClaims: undefined },
      'requiredClaims',
    ],
    ['isRevoked that is not set', { algorithms: ['HS256'], key: SECRET, isRevoked: undefined }, 'isRevoked'],
    ['a timeout of two minutes', { algorithms: ['HS256'], key: SECRET, timeout: '2m' }, 'timeout'],
    ['isRevoked that is no function', { algorithms: ['HS256'], key: SECRET, isRevoked: true }, 'isRevoked'],
  ])('refuses %s and shows no key', (_what, options, named) => {
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
    ['a private key, of which it uses the public half', { key: RSA_PRIVATE }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['PEM', { key: pem }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    ['a JWK', { key: RSA_PUBLIC.export({ format: 'jwk' }) }, rsaToken({ alg: 'RS256' }, GOOD_CLAIMS)],
    [
      'a secret as JWK',
      { algorithms: ['HS256'], key: { kty: 'oct', k: Buffer.from(SECRET).toString('base64url') } },
      goodToken(),
    ],
    ['a secret as bytes', { algorithms: ['HS256'], key: Buffer.from(SECRET) }, goodToken()],
  ])('takes %s', async (_what, options, token) => {
    expect((await send(rs256(options), token)).passed).toBe(true);
  });
});
