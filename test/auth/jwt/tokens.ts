import { createHmac, createPublicKey, createSign, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** The service's clock, in epoch milliseconds; a whole second. */
export const NOW = Date.UTC(2026, 0, 1);
export const HMAC_SECRET = 'c4n4ry-hmac-secret-for-tests-0123456789-abcdef';
export const { publicKey: RSA_PUBLIC, privateKey: RSA_PRIVATE } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const { privateKey: ATTACKER } = generateKeyPairSync('rsa', { modulusLength: 2048 });

export const GOOD_CLAIMS: Readonly<Record<string, unknown>> = {
  sub: 'alice',
  iss: 'https://auth.example',
  aud: 'api',
  iat: NOW / 1000 - 10,
  exp: NOW / 1000 + 60,
};

export const encoded = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

const HASHES: Readonly<Record<string, string>> = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' };

/** Header and claims are objects, or the exact text to sign. */
export function hmacToken(
  header: unknown,
  claims: unknown,
  secret: string | Buffer = HMAC_SECRET,
  hash = 'sha256',
): string {
  const signed = `${encoded(header)}.${encoded(claims)}`;
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
}

/** A private key as text, which Workers sign with as well. */
export const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' });

export function rsaToken(header: unknown, claims: unknown, key: KeyObject = RSA_PRIVATE, hash = 'sha256'): string {
  const signed = `${encoded(header)}.${encoded(claims)}`;
  return `${signed}.${createSign(hash).update(signed).sign(pem(key)).toString('base64url')}`;
}

export const goodToken = (claims: object = {}, header: object = {}): string =>
  hmacToken({ alg: 'HS256', typ: 'JWT', ...header }, { ...GOOD_CLAIMS, ...claims });

export interface JwtAttack {
  readonly what: string;
  /** The configured algorithm. */
  readonly against: 'HS256' | 'RS256';
  readonly token: string;
}

const HS = (what: string, token: string): JwtAttack => ({ what, against: 'HS256', token });
const RS = (what: string, token: string): JwtAttack => ({ what, against: 'RS256', token });
const without = (name: string): object =>
  Object.fromEntries(Object.entries(GOOD_CLAIMS).filter(([key]) => key !== name));
const h256 = { alg: 'HS256', typ: 'JWT' };
const claimed = (claims: object) => hmacToken(h256, { ...GOOD_CLAIMS, ...claims });

function unsecured(): JwtAttack[] {
  const casings = ['none', 'None', 'NONE', 'nOnE', 'nonE', 'NoNe', 'none ', ' none', 'none\0'];
  return casings.flatMap((alg) => {
    const signed = `${encoded({ alg, typ: 'JWT' })}.${encoded(GOOD_CLAIMS)}`;
    return [
      HS(`alg ${JSON.stringify(alg)}, unsigned`, `${signed}.`),
      HS(`alg ${JSON.stringify(alg)}, signed`, hmacToken({ alg, typ: 'JWT' }, GOOD_CLAIMS)),
      RS(`alg ${JSON.stringify(alg)}, unsigned, against a key pair`, `${signed}.`),
    ];
  });
}

function forms(): JwtAttack[] {
  const good = goodToken();
  const [header = '', claims = '', signature = ''] = good.split('.');
  const lastBits = signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(signature.length - 1) + 1);
  return [
    HS('an empty signature', `${header}.${claims}.`),
    HS('two parts', `${header}.${claims}`),
    HS('four parts', `${good}.${signature}`),
    HS('five parts', `${good}.${signature}.${signature}`),
    HS('empty parts', '..'),
    HS('an empty header', `.${claims}.${signature}`),
    HS('a signature cut short', good.slice(0, -2)),
    HS('a signature with other unused bits', `${header}.${claims}.${lastBits}`),
    HS('padding', `${good}=`),
    HS('the other base64 alphabet', `${header}.${claims}.${signature.replace(/[-_]/g, '+')}+/`),
    HS('claims of another token', `${header}.${encoded({ ...GOOD_CLAIMS, sub: 'admin' })}.${signature}`),
    HS('a header that is a list', hmacToken([h256], GOOD_CLAIMS)),
    HS('a header that is not JSON', hmacToken('HS256', GOOD_CLAIMS)),
    HS('claims []', hmacToken(h256, [])),
    HS('claims "x"', hmacToken(h256, '"x"')),
    HS('claims null', hmacToken(h256, 'null')),
    HS('claims that are not JSON', hmacToken(h256, '{')),
    HS('a byte order mark before the claims', hmacToken(h256, `\uFEFF${JSON.stringify(GOOD_CLAIMS)}`)),
    HS('a byte order mark before the header', hmacToken(`\uFEFF${JSON.stringify(h256)}`, GOOD_CLAIMS)),
    HS(
      'sub twice',
      hmacToken(
        h256,
        `{"sub":"alice","sub":"admin","exp":${GOOD_CLAIMS.exp},"iss":"https://auth.example","aud":"api"}`,
      ),
    ),
    HS(
      'sub twice, once escaped',
      hmacToken(h256, `{"sub":"a","s\\u0075b":"b","exp":${GOOD_CLAIMS.exp},"iss":"https://auth.example","aud":"api"}`),
    ),
    HS(
      'a nested member twice',
      hmacToken(h256, JSON.stringify({ ...GOOD_CLAIMS, x: 0 }).replace('"x":0', '"x":{"a":1,"a":2}')),
    ),
    HS('alg twice', hmacToken('{"alg":"none","alg":"HS256"}', GOOD_CLAIMS)),
    HS('claims that are not UTF-8', notUtf8()),
  ];
}

function notUtf8(): string {
  const claims = Buffer.from(JSON.stringify({ ...GOOD_CLAIMS, name: 'XX' }));
  claims.set([0xc3, 0x28], claims.indexOf('XX'));
  const signed = `${encoded(h256)}.${claims.toString('base64url')}`;
  return `${signed}.${createHmac('sha256', HMAC_SECRET).update(signed).digest('base64url')}`;
}

function algorithms(): JwtAttack[] {
  const spki = RSA_PUBLIC.export({ type: 'spki', format: 'pem' }).toString();
  const pkcs1 = RSA_PUBLIC.export({ type: 'pkcs1', format: 'pem' }).toString();
  const modulus = String(RSA_PUBLIC.export({ format: 'jwk' }).n);
  const confused = (what: string, secret: string | Buffer) =>
    RS(`HS256 keyed with ${what}`, hmacToken(h256, GOOD_CLAIMS, secret));
  return [
    HS('alg a list', hmacToken({ alg: ['HS256'] }, GOOD_CLAIMS)),
    HS('alg missing', hmacToken({ typ: 'JWT' }, GOOD_CLAIMS)),
    HS('alg null', hmacToken({ alg: null }, GOOD_CLAIMS)),
    HS('alg hs256', hmacToken({ alg: 'hs256' }, GOOD_CLAIMS)),
    HS('alg __proto__', hmacToken({ alg: '__proto__' }, GOOD_CLAIMS)),
    HS('HS512 with the same secret', hmacToken({ alg: 'HS512' }, GOOD_CLAIMS, HMAC_SECRET, HASHES.HS512)),
    HS('HS384 with the same secret', hmacToken({ alg: 'HS384' }, GOOD_CLAIMS, HMAC_SECRET, HASHES.HS384)),
    HS('RS256 with a foreign key', rsaToken({ alg: 'RS256' }, GOOD_CLAIMS, ATTACKER)),
    confused('the public PEM', spki),
    confused('the public PEM, trimmed', spki.trim()),
    confused('the public PEM in PKCS #1', pkcs1),
    confused('the public DER', RSA_PUBLIC.export({ type: 'spki', format: 'der' })),
    confused('the modulus', modulus),
    confused('the bytes of the modulus', Buffer.from(modulus, 'base64url')),
    confused('nothing', ''),
    RS('RS512 with the right key', rsaToken({ alg: 'RS512' }, GOOD_CLAIMS, RSA_PRIVATE, 'sha512')),
    RS('PS256 with the right key', pss()),
    RS('RS256 with another key', rsaToken({ alg: 'RS256' }, GOOD_CLAIMS, ATTACKER)),
  ];
}

function pss(): string {
  const signed = `${encoded({ alg: 'PS256' })}.${encoded(GOOD_CLAIMS)}`;
  const key = { key: pem(RSA_PRIVATE), padding: 6, saltLength: 32 };
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

/** Tokens that bring their own key, or the URL of one. */
export function ownKeys(url: string): JwtAttack[] {
  const jwk = createPublicKey(ATTACKER).export({ format: 'jwk' });
  const header = (more: object) => rsaToken({ alg: 'RS256', kid: 'mine', ...more }, GOOD_CLAIMS, ATTACKER);
  return [
    RS('jwk', header({ jwk })),
    RS('jku', header({ jku: url })),
    RS('x5u', header({ x5u: url })),
    RS('x5c', header({ x5c: ['MIIB'] })),
    HS(
      'jwk of a secret',
      hmacToken({ ...h256, jwk: { kty: 'oct', k: encoded('x'.repeat(32)) } }, GOOD_CLAIMS, 'x'.repeat(32)),
    ),
    HS('jku', hmacToken({ ...h256, jku: url }, GOOD_CLAIMS, 'x'.repeat(32))),
  ];
}

function keyIds(): JwtAttack[] {
  const kid = (value: unknown) => hmacToken({ ...h256, kid: value }, GOOD_CLAIMS, '');
  return [
    HS('kid a path', kid('../../../../dev/null')),
    HS('kid SQL', kid("x' UNION SELECT 'secret'; --")),
    HS('kid an object', goodToken({}, { kid: { $ne: null } })),
    HS('kid a number', goodToken({}, { kid: 1 })),
    HS('kid empty', goodToken({}, { kid: '' })),
    HS('kid of 5 KB', goodToken({}, { kid: 'k'.repeat(5000) })),
    HS('crit', goodToken({}, { crit: ['x'], x: 1 })),
    HS('crit b64', goodToken({}, { crit: ['b64'], b64: false })),
    HS('crit empty', goodToken({}, { crit: [] })),
  ];
}

function claims(): JwtAttack[] {
  const now = NOW / 1000;
  return [
    HS('exp now', claimed({ exp: now })),
    HS('exp past', claimed({ exp: now - 1 })),
    HS('exp a string', claimed({ exp: String(now + 60) })),
    HS('exp null', claimed({ exp: null })),
    HS('exp negative', claimed({ exp: -1 })),
    HS('exp absent', hmacToken(h256, without('exp'))),
    HS('exp infinite', hmacToken(h256, JSON.stringify({ ...GOOD_CLAIMS, exp: 0 }).replace('"exp":0', '"exp":1e400'))),
    HS('exp a list', claimed({ exp: [now + 60] })),
    HS('nbf in a second', claimed({ nbf: now + 1 })),
    HS('nbf a string', claimed({ nbf: String(now) })),
    HS('iat in a second', claimed({ iat: now + 1 })),
    HS('iat a string', claimed({ iat: String(now) })),
    HS('another iss', claimed({ iss: 'https://auth.example.evil' })),
    HS('iss a list', claimed({ iss: ['https://auth.example'] })),
    HS('no iss', hmacToken(h256, without('iss'))),
    HS('another aud', claimed({ aud: 'api2' })),
    HS('aud an empty list', claimed({ aud: [] })),
    HS('no aud', hmacToken(h256, without('aud'))),
    HS('no sub', hmacToken(h256, without('sub'))),
    HS('sub empty', claimed({ sub: '' })),
    HS('sub a number', claimed({ sub: 1 })),
    HS('sub of 513 characters', claimed({ sub: 'a'.repeat(513) })),
    HS('sub an object', claimed({ sub: { toString: 'admin' } })),
    HS('jti a number', claimed({ jti: 1 })),
    HS('jti empty', claimed({ jti: '' })),
  ];
}

/** Tokens that must be refused. */
export const JWT_ATTACKS: readonly JwtAttack[] = [
  ...unsecured(),
  ...forms(),
  ...algorithms(),
  ...ownKeys('http://127.0.0.1:1/keys'),
  ...keyIds(),
  ...claims(),
];
