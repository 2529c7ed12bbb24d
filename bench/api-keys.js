// One verification of an API key among 10, 1,000 and 100,000: a digest, a look-up and a comparison, whatever their number.
// Beside it, what a loop over all digests costs, in constant time as it would have to be.
import { createHash, timingSafeEqual } from 'node:crypto';
import { apiKeys, generateApiKey } from 'gatewarden';
import { nanoseconds, table } from './measure.js';

const PEPPER = 'a-pepper-of-more-than-32-characters-for-a-benchmark';
const made = Array.from({ length: 100_000 }, (_, i) => generateApiKey({ clientId: `client-${i}` }));
const peppered = Array.from({ length: 1000 }, (_, i) => generateApiKey({ clientId: `client-${i}`, pepper: PEPPER }));
// Found in other keys' place, with a checksum that is right.
const strangers = Array.from({ length: 1000 }, () => generateApiKey().key);
const exchange = {};

/** Up to a thousand keys from all over the set. */
function sample(keys) {
  const step = Math.max(1, Math.floor(keys.length / 1000));
  return keys.filter((_, i) => i % step === 0).map(({ key }) => key);
}

function verifying(scheme, tokens, kind) {
  if (scheme.verify(tokens[0], exchange).kind !== kind) throw new Error(`not ${kind}`);
  return (calls) => {
    let right = 0;
    for (let i = 0; i < calls; i++) if (scheme.verify(tokens[i % tokens.length], exchange).kind === kind) right++;
    if (right !== calls) throw new Error(`${calls - right} not ${kind}`);
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
      for (const one of digests) if (timingSafeEqual(digest, one)) found = true;
      if (!found) throw new Error('not found');
    }
  };
}

const rows = [];
for (const count of [10, 1000, 100_000]) {
  const keys = made.slice(0, count);
  const scheme = apiKeys({ keys: keys.map(({ record }) => record) });
  const tokens = sample(keys);
  const broken = tokens.map((token) => `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`);
  const of = `${count.toLocaleString('en')} keys`;
  rows.push([`${of}: a good key`, await nanoseconds(verifying(scheme, tokens, 'authenticated'))]);
  rows.push([`${of}: an unknown key`, await nanoseconds(verifying(scheme, strangers, 'invalid'))]);
  rows.push([`${of}: a bad checksum`, await nanoseconds(verifying(scheme, broken, 'invalid'))]);
}
table('apiKeys({ keys })', rows);

const withPepper = apiKeys({ keys: peppered.map(({ record }) => record), pepper: PEPPER });
const byDigest = new Map(made.map(({ record }) => [record.digests[0].digest, record]));
const stored = apiKeys({ store: { findByDigest: async (digest) => byDigest.get(digest) }, cache: { maxAge: '1h' } });
const remembered = sample(made);
for (const token of remembered) await stored.verify(token, exchange);
table('other ways', [
  rows[3],
  ['1,000 keys under a pepper', await nanoseconds(verifying(withPepper, sample(peppered), 'authenticated'))],
  ['a store of 100,000, the answer remembered', await nanoseconds(verifying(stored, remembered, 'authenticated'))],
  [
    'a home-made loop over 10 digests',
    await nanoseconds(looping(made.slice(0, 10), sample(made.slice(0, 10))), { calls: 20_000 }),
  ],
  [
    'a home-made loop over 1,000 digests',
    await nanoseconds(looping(made.slice(0, 1000), sample(made.slice(0, 1000))), { calls: 1000, rounds: 3 }),
  ],
]);
