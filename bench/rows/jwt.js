// Tokens: verified each time, and seen before.
import { createPublicKey, createSecretKey, generateKeyPairSync } from 'node:crypto';
import { createVerifier } from 'fast-jwt';
import { authenticate, Exchange } from 'gatewarden';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { jwtVerify } from 'jose';
import { nanoseconds } from '../timing.js';

const SECRET = 'a secret for this benchmark, of 32 bytes or more';
const NAMES = { issuer: 'https://auth.example', audience: 'api' };

/** A pair for ES256, a secret for HS256, as PEM or text. The same in the processes of all sides. */
function open(algorithm) {
  return async () => {
    const { privateKey, publicKey } =
      algorithm === 'HS256'
        ? { privateKey: SECRET, publicKey: SECRET }
        : generateKeyPairSync('ec', {
            namedCurve: 'P-256',
            privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
            publicKeyEncoding: { type: 'spki', format: 'pem' },
          });
    const issuer = jwtIssuer({ algorithm, key: privateKey, expiresIn: '1h', ...NAMES });
    return { algorithm, publicKey, token: await issuer.issue({ sub: 'alice' }) };
  };
}

const headers = { get: () => undefined, set: () => undefined, onHead: () => undefined };

/** The whole guard: it reads the header and sets the principal. */
function gatewarden(cache) {
  return async ({ algorithm, publicKey, token }) => {
    const guard = authenticate(jwt({ algorithms: [algorithm], key: publicKey, ...NAMES, ...cache }));
    const request = {
      method: 'GET',
      url: '/',
      remoteAddress: '127.0.0.1',
      encrypted: false,
      fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
    };
    return async (calls) => {
      for (let i = 0; i < calls; i++) {
        const exchange = new Exchange(request, headers);
        const pending = guard(exchange);
        const reply = pending instanceof Promise ? await pending : pending;
        if (reply !== undefined || exchange.principal?.id !== 'alice') throw new Error('refused');
      }
    };
  };
}

/** jose verifies with a key that is imported once, as its documentation recommends. */
async function jose({ algorithm, publicKey, token }) {
  const key = algorithm === 'HS256' ? createSecretKey(Buffer.from(publicKey)) : createPublicKey(publicKey);
  const options = { algorithms: [algorithm], requiredClaims: ['exp'], ...NAMES };
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      const { payload } = await jwtVerify(token, key, options);
      if (payload.sub !== 'alice') throw new Error('refused');
    }
  };
}

function fastJwt(cache) {
  return async ({ algorithm, publicKey, token }) => {
    const verify = createVerifier({
      key: publicKey,
      algorithms: [algorithm],
      allowedIss: NAMES.issuer,
      allowedAud: NAMES.audience,
      requiredClaims: ['exp'],
      ...cache,
    });
    return async (calls) => {
      for (let i = 0; i < calls; i++) if (verify(token).sub !== 'alice') throw new Error('refused');
    };
  };
}

const side = (name, guarantees, prepare) => ({
  name,
  guarantees,
  open: prepare,
  run: (_round, work) => nanoseconds(work, { warmUp: 100 }),
});

const CLAIMS = 'signature, exp, nbf, iss and aud';
const GUARD = `the whole guard, from the header to the principal: ${CLAIMS}, members that are named twice`;
const JOSE = `the token alone: ${CLAIMS}; asynchronous`;
const FAST = `the token alone: ${CLAIMS}`;

const verified = (algorithm) => ({
  name: `jwt: ${algorithm}, verified each time`,
  about: 'One token, without a cache.',
  unit: 'ns',
  better: 'lower',
  ratioTo: 'jose',
  open: open(algorithm),
  sides: [
    side('jose', JOSE, jose),
    side('fast-jwt', FAST, fastJwt()),
    side('gatewarden', GUARD, gatewarden({ cache: false })),
  ],
});

export const rows = [
  verified('HS256'),
  verified('ES256'),
  {
    name: 'jwt: a token that was seen before',
    about: 'One token with ES256, in the cache. jose has none.',
    unit: 'ns',
    better: 'lower',
    ratioTo: 'fast-jwt, cached',
    open: open('ES256'),
    sides: [
      side(
        'fast-jwt, cached',
        'the token alone, looked up by its digest; exp is checked again',
        fastJwt({ cache: 1000 }),
      ),
      side('gatewarden, cached', 'the whole guard, looked up by the token; exp is checked again', gatewarden({})),
    ],
  },
];
