import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import { type JwtAlgorithm, type JwtIssuerOptions, type JwtKey, jwt, jwtIssuer } from '../../../src/auth/jwt/index.js';
import { OptionError } from '../../../src/core/option.js';
import { ask } from '../../exchange-fixture.js';
import { HMAC_SECRET, NOW, RSA_PRIVATE, RSA_PUBLIC } from './tokens.js';

const rsa = { publicKey: RSA_PUBLIC, privateKey: RSA_PRIVATE };
const LONG = `${HMAC_SECRET}${HMAC_SECRET}`;
const PAIRS: readonly (readonly [JwtAlgorithm, JwtKey, JwtKey])[] = [
  ['HS256', HMAC_SECRET, HMAC_SECRET],
  ['HS384', LONG, LONG],
  ['HS512', LONG, LONG],
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const).map(
    (name) => [name, rsa.privateKey, rsa.publicKey] as const,
  ),
  ...(
    [
      ['ES256', 'prime256v1'],
      ['ES384', 'secp384r1'],
      ['ES512', 'secp521r1'],
    ] as const
  ).map(([name, namedCurve]) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    return [name, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), publicKey] as const;
  }),
  (() => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    return ['EdDSA', privateKey.export({ format: 'jwk' }), publicKey.export({ format: 'jwk' })] as const;
  })(),
];

describe('jwtIssuer', () => {
  it.each(PAIRS)('issues %s tokens that jwt accepts until they expire', async (algorithm, key, verification) => {
    let now = NOW + 999;
    const options = { issuer: 'https://auth.example', audience: 'api' };
    const issuer = jwtIssuer({ algorithm, key, kid: 'k1', expiresIn: '1h', now: () => now, ...options });
    const token = await issuer.issue({ sub: 'alice', scope: 'read' });
    const scheme = jwt({
      algorithms: [algorithm],
      keys: [{ kid: 'k1', key: verification }],
      now: () => now,
      ...options,
    });
    const send = () => ask(authenticate(scheme), { headers: [['Authorization', `Bearer ${token}`]] });
    expect((await send()).exchange.principal).toMatchObject({
      id: 'alice',
      scopes: ['read'],
      expiresAt: NOW + 3_600_000,
      credentialId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    now = NOW + 3_600_000;
    expect((await send()).status).toBe(401);
  });

  const hmac = { algorithm: 'HS256', key: HMAC_SECRET, expiresIn: '1h', now: () => NOW } as const;

  it.each<[string, object]>([
    ['no subject', { scope: 'read' }],
    ['an undefined subject', { sub: undefined }],
    ['a null subject', { sub: null }],
    ['an empty subject', { sub: '' }],
    ['a number for a subject', { sub: 7 }],
    ['a subject of 513 characters', { sub: 'a'.repeat(513) }],
    ['a subject that is inherited', Object.create({ sub: 'alice' })],
  ])('issues no token with %s, which jwt would refuse', async (_what, claims) => {
    await expect(jwtIssuer(hmac).issue(claims as { sub: string })).rejects.toThrow(
      new TypeError(
        'gatewarden: jwtIssuer needs the claim "sub", a string of 1 to 512 characters: jwt refuses tokens without it',
      ),
    );
  });

  it('issues tokens whose client is named by another claim', async () => {
    const issuer = jwtIssuer({ ...hmac, subject: 'client_id' });
    const token = await issuer.issue({ client_id: 'acme' });
    const scheme = jwt({ algorithms: ['HS256'], key: HMAC_SECRET, subject: 'client_id', now: () => NOW });
    const { exchange } = await ask(authenticate(scheme), { headers: [['Authorization', `Bearer ${token}`]] });
    expect(exchange.principal).toMatchObject({ id: 'acme' });
    // @ts-expect-error It needs this claim, not sub.
    await expect(issuer.issue({ sub: 'acme' })).rejects.toThrow('jwtIssuer needs the claim "client_id"');
    // @ts-expect-error It needs sub.
    await expect(jwtIssuer(hmac).issue({ client_id: 'acme' })).rejects.toThrow('jwtIssuer needs the claim "sub"');
    expect(() => jwtIssuer({ ...hmac, subject: '' })).toThrow('jwtIssuer "subject" must be a non-empty string');
  });

  it('sets a different jti in every token', async () => {
    const issuer = jwtIssuer({ algorithm: 'HS256', key: HMAC_SECRET, expiresIn: '1h', now: () => NOW });
    expect(await issuer.issue({ sub: 'a' })).not.toBe(await issuer.issue({ sub: 'a' }));
  });

  it.each(['iat', 'exp', 'jti', 'iss', 'aud'])('refuses the claim %s, which it sets itself', async (name) => {
    const issuer = jwtIssuer({ algorithm: 'HS256', key: HMAC_SECRET, expiresIn: '1h' });
    await expect(issuer.issue({ sub: 'a', [name]: 1 })).rejects.toThrow(name);
  });

  it.each<[string, object, string]>([
    ['no algorithm', { key: HMAC_SECRET, expiresIn: '1h' }, 'algorithm'],
    ['the algorithm none', { algorithm: 'none', key: HMAC_SECRET, expiresIn: '1h' }, 'algorithm'],
    ['a short secret', { algorithm: 'HS256', key: HMAC_SECRET.slice(0, 31), expiresIn: '1h' }, '32 bytes'],
    ['a public key', { algorithm: 'RS256', key: RSA_PUBLIC, expiresIn: '1h' }, 'private'],
    ['a secret as private key', { algorithm: 'RS256', key: HMAC_SECRET, expiresIn: '1h' }, 'private'],
    ['no expiresIn', { algorithm: 'HS256', key: HMAC_SECRET }, 'expiresIn'],
    ['an expiresIn of ten years', { algorithm: 'HS256', key: HMAC_SECRET, expiresIn: '3650d' }, 'expiresIn'],
    ['an empty issuer', { algorithm: 'HS256', key: HMAC_SECRET, expiresIn: '1h', issuer: '' }, 'issuer'],
    ['a misspelt option', { algorithm: 'HS256', key: HMAC_SECRET, expiresin: '1h' }, 'expiresin'],
  ])('refuses %s at construction without showing a key', (_what, options, named) => {
    const act = () => jwtIssuer(options as JwtIssuerOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
    expect(act).not.toThrow(/c4n4ry/);
  });
});
