// A token that is already cached, compared with jose's jwtVerify of the same token, which verifies it every time.
import { authenticate, Exchange } from 'gatewarden';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { jwtVerify } from 'jose';

const key = 'a secret for this benchmark, of 32 bytes or more';
const options = { issuer: 'https://auth.example', audience: 'api' };
const token = await jwtIssuer({ algorithm: 'HS256', key, expiresIn: '1h', ...options }).issue({ sub: 'alice' });
const headers = { get: () => undefined, set: () => undefined, onHead: () => undefined };
const request = {
  method: 'GET',
  url: '/',
  remoteAddress: '127.0.0.1',
  encrypted: false,
  fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
};
const guard = authenticate(jwt({ algorithms: ['HS256'], key, ...options }));
const uncached = authenticate(jwt({ algorithms: ['HS256'], key, cache: false, ...options }));
const bytes = new TextEncoder().encode(key);

async function nanoseconds(count, act) {
  for (let i = 0; i < count / 10; i++) await act();
  const start = performance.now();
  for (let i = 0; i < count; i++) await act();
  return ((performance.now() - start) * 1e6) / count;
}

const exchange = () => new Exchange(request, headers);
const rows = [
  ["jose's jwtVerify", await nanoseconds(20_000, () => jwtVerify(token, bytes, { algorithms: ['HS256'], ...options }))],
  ['authenticate(jwt(...)), not cached', await nanoseconds(20_000, () => uncached(exchange()))],
  ['authenticate(jwt(...)), cached', await nanoseconds(200_000, () => guard(exchange()))],
];
const [[, base]] = rows;
for (const [name, time] of rows) {
  console.log(`${name.padEnd(42)} ${time.toFixed(0).padStart(8)} ns  ${(base / time).toFixed(1).padStart(6)} x`);
}
