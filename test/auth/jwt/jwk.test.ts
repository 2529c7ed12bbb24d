import { createHash, createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import { type JwtAlgorithm, type JwtOptions, jwt, jwtIssuer } from '../../../src/auth/jwt/index.js';
import { OptionError } from '../../../src/core/option.js';
import { ask, testExchange } from '../../exchange-fixture.js';
import { encoded, GOOD_CLAIMS, goodToken, HMAC_SECRET, NOW, pem, RSA_PRIVATE, RSA_PUBLIC, rsaToken } from './tokens.js';

const { publicKey: EC_PUBLIC, privateKey: EC_PRIVATE } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const RSA = RSA_PUBLIC.export({ format: 'jwk' });
const EC = EC_PUBLIC.export({ format: 'jwk' });
const SECRET = { kty: 'oct', k: Buffer.from(HMAC_SECRET).toString('base64url') };

interface Family {
  readonly algorithm: JwtAlgorithm;
  readonly jwk: JsonWebKey;
  readonly privateJwk: JsonWebKey;
  readonly token: string;
}
const FAMILIES: readonly Family[] = [
  {
    algorithm: 'RS256',
    jwk: RSA,
    privateJwk: RSA_PRIVATE.export({ format: 'jwk' }),
    token: rsaToken({ alg: 'RS256', kid: 'k' }, GOOD_CLAIMS),
  },
  { algorithm: 'ES256', jwk: EC, privateJwk: EC_PRIVATE.export({ format: 'jwk' }), token: ecToken() },
  { algorithm: 'HS256', jwk: SECRET, privateJwk: SECRET, token: goodToken({}, { kid: 'k' }) },
];

function ecToken(): string {
  const signed = `${encoded({ alg: 'ES256', kid: 'k' })}.${encoded(GOOD_CLAIMS)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: pem(EC_PRIVATE), dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** With the exponent 1, this padded digest (RFC 8017 section 9.2) is the signature: no private key is needed. */
function forgedToken(key: KeyObject): string {
  const signed = `${encoded({ alg: 'RS256', kid: 'weak' })}.${encoded(GOOD_CLAIMS)}`;
  const size = Number(key.asymmetricKeyDetails?.modulusLength) / 8;
  const digest = createHash('sha256').update(signed).digest();
  const info = Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), digest]);
  const padding = Buffer.alloc(size - info.length - 3, 0xff);
  const padded = Buffer.concat([Buffer.from([0, 1]), padding, Buffer.from([0]), info]);
  return `${signed}.${padded.toString('base64url')}`;
}

const BASE = { issuer: 'https://auth.example', audience: 'api', now: () => NOW } as const;

async function send(options: Omit<JwtOptions, keyof typeof BASE>, token: string) {
  const guard = authenticate(jwt({ ...BASE, ...options }));
  const { passed, status, faults } = await ask(guard, { headers: [['Authorization', `Bearer ${token}`]] });
  return { status: passed ? 200 : status, faults: faults.map(String) };
}

/** A provider that publishes these keys. */
async function provider(...keys: object[]): Promise<string> {
  const server = createServer((_request, response) => response.end(JSON.stringify({ keys }))).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
}

/** What a JWK may say about its use, and the rule that the refusal names. */
const RESTRICTIONS: readonly (readonly [what: string, members: object, rule: string | undefined])[] = [
  ['nothing', {}, undefined],
  ['use "sig"', { use: 'sig' }, undefined],
  ['use "enc"', { use: 'enc' }, '"use" must be "sig" or absent'],
  ['use "SIG"', { use: 'SIG' }, '"use" must be "sig" or absent'],
  ['an empty use', { use: '' }, '"use" must be "sig" or absent'],
  ['use null', { use: null }, '"use" must be "sig" or absent'],
  ['use as a list', { use: ['sig'] }, '"use" must be "sig" or absent'],
  ['key_ops for signatures', { key_ops: ['sign', 'verify'] }, undefined],
  ['use and key_ops', { use: 'sig', key_ops: ['verify', 'sign'] }, undefined],
  ['key_ops for encryption', { key_ops: ['encrypt', 'decrypt'] }, '"key_ops" must contain "verify" or be absent'],
  ['key_ops for encryption beside use "sig"', { use: 'sig', key_ops: ['encrypt'] }, '"key_ops"'],
  ['use "enc" beside key_ops for signatures', { use: 'enc', key_ops: ['verify', 'sign'] }, '"use"'],
  ['empty key_ops', { key_ops: [] }, '"key_ops"'],
  ['key_ops null', { key_ops: null }, '"key_ops"'],
  ['key_ops as text', { key_ops: 'verify' }, '"key_ops"'],
  ['key_ops with a repeated member', { key_ops: ['verify', 'sign', 'verify'] }, '"key_ops"'],
  ['key_ops with a member that is not text', { key_ops: ['verify', 'sign', 5] }, '"key_ops"'],
  ['alg "RSA1_5"', { alg: 'RSA1_5' }, '"alg" must say so or be absent'],
  ['alg "A256GCM"', { alg: 'A256GCM' }, '"alg"'],
  ['alg "A256KW"', { alg: 'A256KW' }, '"alg"'],
  ['alg "ES521"', { alg: 'ES521' }, '"alg"'],
  ['alg "ES224"', { alg: 'ES224' }, '"alg"'],
  ['alg "none"', { alg: 'none' }, '"alg"'],
  ['an empty alg', { alg: '' }, '"alg"'],
  ['alg null', { alg: null }, '"alg"'],
];

describe.each(FAMILIES)('a JWK for $algorithm', ({ algorithm, jwk, privateJwk, token }) => {
  const algorithms = [algorithm];

  it.each(RESTRICTIONS)(
    'that says %s is accepted or refused as key, in keys and by jwtIssuer',
    async (_what, members, rule) => {
      const key = { ...jwk, ...members } as JsonWebKey;
      const uses: readonly (readonly [option: string, act: () => unknown])[] = [
        ['jwt "key"', () => jwt({ algorithms, key })],
        ['jwt "keys[0].key"', () => jwt({ algorithms, keys: [{ kid: 'k', key }] })],
        [
          'jwtIssuer "key"',
          () => jwtIssuer({ algorithm, key: { ...privateJwk, ...members } as JsonWebKey, expiresIn: '1h' }),
        ],
      ];
      if (rule === undefined) {
        for (const [, act] of uses) expect(act).not.toThrow();
        expect(await send({ algorithms, key }, token)).toEqual({ status: 200, faults: [] });
        expect(await send({ algorithms, keys: [{ kid: 'k', key }] }, token)).toEqual({ status: 200, faults: [] });
        return;
      }
      for (const [option, act] of uses) {
        expect(act).toThrow(OptionError);
        expect(act).toThrow(option);
        expect(act).toThrow(option.startsWith('jwtIssuer') ? rule.replace('"verify"', '"sign"') : rule);
      }
    },
  );

  it('that says its own alg is accepted', async () => {
    expect((await send({ algorithms, key: { ...jwk, alg: algorithm } }, token)).status).toBe(200);
  });

  it('is refused if its key_ops do not contain the operation', () => {
    const signOnly = { ...jwk, key_ops: ['sign'] };
    expect(() => jwt({ algorithms, key: signOnly })).toThrow('its "key_ops" must contain "verify" or be absent');
    const verifyOnly = { ...privateJwk, key_ops: ['verify'] };
    expect(() => jwtIssuer({ algorithm, key: verifyOnly, expiresIn: '1h' })).toThrow(
      'its "key_ops" must contain "sign" or be absent',
    );
  });

  it('shows no part of itself in a message', () => {
    const act = () => jwt({ algorithms, key: { ...privateJwk, use: 'c4n4ry', alg: 'c4n4ry' } });
    expect(act).toThrow(OptionError);
    for (const secret of [privateJwk.k, privateJwk.d, 'c4n4ry']) {
      if (secret !== undefined) expect(act).not.toThrow(secret);
    }
  });
});

describe('alg of a JWK', () => {
  const RS512 = rsaToken({ alg: 'RS512', kid: 'k' }, GOOD_CLAIMS, RSA_PRIVATE, 'sha512');
  const RS256 = rsaToken({ alg: 'RS256', kid: 'k' }, GOOD_CLAIMS);
  const algorithms = ['RS256', 'RS512'] as const;

  it('allows no other algorithm for its tokens, although the service allows several', async () => {
    const key = { ...RSA, alg: 'RS256' };
    for (const source of [{ key }, { keys: [{ kid: 'k', key }] }]) {
      expect((await send({ algorithms, ...source }, RS256)).status).toBe(200);
      expect((await send({ algorithms, ...source }, RS512)).status).toBe(401);
    }
    const { exchange } = testExchange();
    expect(await jwt({ ...BASE, algorithms, key }).verify(RS512, exchange)).toMatchObject({
      reason: 'algorithm not allowed',
    });
    expect((await send({ algorithms, key: RSA }, RS512)).status).toBe(200);
  });

  it('allows no other algorithm for tokens of a key from jwksUrl', async () => {
    const jwksUrl = await provider({ ...RSA, kid: 'k', alg: 'RS256' });
    expect((await send({ algorithms, jwksUrl }, RS256)).status).toBe(200);
    expect((await send({ algorithms, jwksUrl }, RS512)).status).toBe(401);
  });

  it('lets each of several keys have the curve of its algorithm', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey.export({ format: 'jwk' });
    const keys = [
      { kid: 'k', key: { ...EC, alg: 'ES256' } },
      { kid: 'other', key: { ...p384, alg: 'ES384' } },
    ];
    expect((await send({ algorithms: ['ES256', 'ES384'], keys }, ecToken())).status).toBe(200);
    expect(() => jwt({ algorithms: ['ES256', 'ES384'], key: { ...EC, alg: 'ES384' } })).toThrow('curve secp384r1');
  });
});

describe('keys from jwksUrl', () => {
  it.each(RESTRICTIONS.filter(([, , rule]) => rule !== undefined))(
    'verify no token if the key says %s, and the others of the set stay in use',
    async (_what, members) => {
      const jwksUrl = await provider({ ...RSA, kid: 'k', ...members }, { ...RSA, kid: 'good', alg: 'RS256' });
      const options = { algorithms: ['RS256'], jwksUrl } as const;
      expect(await send(options, rsaToken({ alg: 'RS256', kid: 'k' }, GOOD_CLAIMS))).toEqual({
        status: 401,
        faults: [],
      });
      expect((await send(options, rsaToken({ alg: 'RS256', kid: 'good' }, GOOD_CLAIMS))).status).toBe(200);
    },
  );
});

describe('an RSA key with a bad exponent', () => {
  const EXPONENTS = ['AQ', 'AAE', 'AAAB', 'AQ==', 'AA', '', 'Ag', 'BA', 'AQAA'];
  const rule = 'must be an RSA key with an odd exponent of at least 3 for RS256';

  it.each(EXPONENTS)('e = %j is refused at construction, in every form', (e) => {
    const jwk = { ...RSA, e };
    const keyObject = createPublicKey({ key: jwk, format: 'jwk' });
    const pem = keyObject.export({ type: 'spki', format: 'pem' });
    for (const key of [jwk, keyObject, pem]) {
      expect(() => jwt({ algorithms: ['RS256'], key })).toThrow(`jwt "key" ${rule}`);
      expect(() => jwt({ algorithms: ['RS256'], keys: [{ kid: 'k', key }] })).toThrow(`jwt "keys[0].key" ${rule}`);
    }
  });

  it('is refused by jwtIssuer', () => {
    const key = { ...RSA_PRIVATE.export({ format: 'jwk' }), e: 'AQ', d: 'AQ', dp: 'AQ', dq: 'AQ' };
    expect(() => jwtIssuer({ algorithm: 'RS256', key, expiresIn: '1h' })).toThrow(`jwtIssuer "key" ${rule}`);
  });

  it.each(EXPONENTS)('e = %j is skipped in a key set and reported, and the others stay in use', async (e) => {
    const jwksUrl = await provider({ ...RSA, e, kid: 'weak', alg: 'RS256' }, { ...RSA, kid: 'good' });
    const options = { algorithms: ['RS256'], jwksUrl } as const;
    expect(await send(options, forgedToken(RSA_PUBLIC))).toEqual({
      status: 401,
      faults: [
        "Error: gatewarden: a key in the provider's key set is not used: its RSA exponent must be odd and at least 3",
      ],
    });
    expect((await send(options, rsaToken({ alg: 'RS256', kid: 'good' }, GOOD_CLAIMS))).status).toBe(200);
  });

  it('is accepted with the exponents 3 and 65537', () => {
    for (const e of ['Aw', 'AQAB']) expect(() => jwt({ algorithms: ['RS256'], key: { ...RSA, e } })).not.toThrow();
  });
});
