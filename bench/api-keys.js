// The verification of one API key among 10, 1,000 and 100,000: a digest, a lookup and a comparison, however many keys there
// are. For comparison, a loop over all digests that compares each in constant time.
import { createHash, timingSafeEqual } from 'node:crypto';
import { apiKeys, generateApiKey } from 'gatewarden';
import { nanoseconds, table } from './measure.js';

const PEPPER = 'a-pepper-of-more-than-32-characters-for-a-benchmark';
const generated = Array.from({ length: 100_000 }, (_, i) => generateApiKey({ clientId: `client-${i}` }));
const peppered = Array.from({ length: 1000 }, (_, i) => generateApiKey({ clientId: `client-${i}`, pepper: PEPPER }));
// Valid checksums, but not among the known keys.
const unknown = Array.from({ length: 1000 }, () => generateApiKey().key);
const exchange = {};

/** Up to a thousand keys, spread evenly over the set. */
function sample(keys) {
  const step = Math.max(1, Math.floor(keys.length / 1000));
  return keys.filter((_, i) => i % step === 0).map(({ key }) => key);
}

function verifying(scheme, tokens, kind) {
  if (scheme.verify(tokens[0], exchange).kind !== kind) throw new Error(`not ${kind}`);
  return (calls) => {
    let expected = 0;
    for (let i = 0; i < calls; i++) if (scheme.verify(tokens[i % tokens.length], exchange).kind === kind) expected++;
    if (expected !== calls) throw new Error(`${calls - expected} not ${kind}`);
  };
}

function looping(keys, tokens) {
  const digests = keys.map(({ key }) => createHash('sha256').update(key).digest());
  return (calls) => {
    for (let i = 0; i < calls; i++) {
      const digest = createHash('sha256')
        .update(tokens[i % tokens.length])
        .digest();
      let found = false;
      for (const candidate of digests) if (timingSafeEqual(digest, candidate)) found = true;
      if (!found) throw new Error('not found');
    }
  };
}

const rows = [];
for (const count of [10, 1000, 100_000]) {
  const keys = generated.slice(0, count);
  const scheme = apiKeys({ keys: keys.map(({ record }) => record) });
  const tokens = sample(keys);
  const corrupted = tokens.map((token) => `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`);
  const label = `${count.toLocaleString('en')} keys`;
  rows.push([`${label}: a valid key`, await nanoseconds(verifying(scheme, tokens, 'authenticated'))]);
  rows.push([`${label}: an unknown key`, await nanoseconds(verifying(scheme, unknown, 'invalid'))]);
  rows.push([`${label}: a wrong checksum`, await nanoseconds(verifying(scheme, corrupted, 'invalid'))]);
}
table('apiKeys({ keys })', rows);

const withPepper = apiKeys({ keys: peppered.map(({ record }) => record), pepper: PEPPER });
const byDigest = new Map(generated.map(({ record }) => [record.digests[0].digest, record]));
const stored = apiKeys({ store: { findByDigest: async (digest) => byDigest.get(digest) }, cache: { maxAge: '1h' } });
const cachedTokens = sample(generated);
for (const token of cachedTokens) await stored.verify(token, exchange);
table('other configurations', [
  rows[3],
  ['1,000 keys with a pepper', await nanoseconds(verifying(withPepper, sample(peppered), 'authenticated'))],
  ['a store of 100,000 keys, cached', await nanoseconds(verifying(stored, cachedTokens, 'authenticated'))],
  [
    'a simple loop over 10 digests',
    await nanoseconds(looping(generated.slice(0, 10), sample(generated.slice(0, 10))), { calls: 20_000 }),
  ],
  [
    'a simple loop over 1,000 digests',
    await nanoseconds(looping(generated.slice(0, 1000), sample(generated.slice(0, 1000))), { calls: 1000, rounds: 3 }),
  ],
]);
