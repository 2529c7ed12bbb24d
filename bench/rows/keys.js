// API keys: one digest, one lookup and one comparison, however many keys there are.
import { hash, timingSafeEqual } from 'node:crypto';
import { apiKeys, generateApiKey } from 'gatewarden';
import { nanoseconds } from '../timing.js';

const PEPPER = 'a-pepper-of-more-than-32-characters-for-a-benchmark';
const generate = (count, options) =>
  Array.from({ length: count }, (_, i) => generateApiKey({ clientId: `client-${i}`, ...options }));
const exchange = {};
const digestOf = (token, encoding) => hash('sha256', token, encoding);

/** Up to a thousand keys, spread evenly over the set. */
function sample(keys) {
  const step = Math.max(1, Math.floor(keys.length / 1000));
  return keys.filter((_, i) => i % step === 0).map(({ key }) => key);
}

/** Verifies each token in turn. All have to get the same verdict. */
function verifying(verify, tokens, kind) {
  return (calls) => {
    for (let i = 0; i < calls; i++) {
      if (verify(tokens[i % tokens.length]).kind !== kind) throw new Error(`not ${kind}`);
    }
  };
}

const ours = (keys, options) => apiKeys({ keys: keys.map(({ record }) => record), ...options });
const OURS = 'compares digests in constant time; checksum, expiry and revocation checked';

function side(name, guarantees, open) {
  return { name, guarantees, open, run: (_round, work) => nanoseconds(work) };
}

function valid(count, options) {
  const keys = generate(count, options);
  const scheme = ours(keys, options);
  return verifying((token) => scheme.verify(token, exchange), sample(keys), 'authenticated');
}

/** Valid checksums, but none of the keys that are known. */
function unknown(count) {
  const scheme = ours(generate(count));
  return verifying((token) => scheme.verify(token, exchange), sample(generate(1000)), 'invalid');
}

function corrupted(count) {
  const keys = generate(count);
  const scheme = ours(keys);
  const tokens = sample(keys).map((token) => `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`);
  return verifying((token) => scheme.verify(token, exchange), tokens, 'invalid');
}

/** The key's digest is looked up, and nothing else is checked. */
function lookup(count, tokensOf = sample) {
  const keys = generate(count);
  const known = new Map(keys.map(({ key, record }) => [digestOf(key, 'hex'), record]));
  const verify = (token) => ({ kind: known.has(digestOf(token, 'hex')) ? 'authenticated' : 'invalid' });
  const tokens = tokensOf(keys);
  return verifying(verify, tokens, verify(tokens[0]).kind);
}

function looping(count) {
  const keys = generate(count);
  const digests = keys.map(({ key }) => digestOf(key, 'buffer'));
  const verify = (token) => {
    const digest = digestOf(token, 'buffer');
    let found = false;
    for (const candidate of digests) if (timingSafeEqual(digest, candidate)) found = true;
    return { kind: found ? 'authenticated' : 'invalid' };
  };
  return verifying(verify, sample(keys), 'authenticated');
}

async function stored(count) {
  const keys = generate(count);
  const byDigest = new Map(keys.map(({ record }) => [record.digests[0].digest, record]));
  const scheme = apiKeys({ store: { findByDigest: async (digest) => byDigest.get(digest) }, cache: { maxAge: '1h' } });
  const tokens = sample(keys);
  for (const token of tokens) await scheme.verify(token, exchange);
  return verifying((token) => scheme.verify(token, exchange), tokens, 'authenticated');
}

const LOOKUP = 'a digest and a Map';

export const rows = [
  {
    name: 'keys: a valid key',
    about: 'One of up to a thousand keys of the set, in turn.',
    unit: 'ns',
    better: 'lower',
    ratioTo: LOOKUP,
    sides: [
      side(LOOKUP, 'SHA-256 and a lookup among 1,000; nothing else is checked', () => lookup(1000)),
      side('gatewarden, 10 keys', OURS, () => valid(10)),
      side('gatewarden, 1,000 keys', OURS, () => valid(1000)),
      side('gatewarden, 100,000 keys', OURS, () => valid(100_000)),
      side('gatewarden, 1,000 keys, pepper', `${OURS}; digests are HMACs`, () => valid(1000, { pepper: PEPPER })),
      side('gatewarden, a store of 100,000, cached', `${OURS}; up to an hour old`, () => stored(100_000)),
      side('a loop over 10 digests', 'compares all in constant time', () => looping(10)),
      side('a loop over 1,000 digests', 'compares all in constant time', () => looping(1000)),
    ],
  },
  {
    name: 'keys: a key that is refused',
    about:
      'A thousand tokens in turn, none of them among the keys. gatewarden sees a wrong checksum before any digest.',
    unit: 'ns',
    better: 'lower',
    ratioTo: LOOKUP,
    sides: [
      side(LOOKUP, 'SHA-256 and a lookup among 1,000', () => lookup(1000, () => sample(generate(1000)))),
      side('gatewarden, an unknown key of 1,000', OURS, () => unknown(1000)),
      side('gatewarden, an unknown key of 100,000', OURS, () => unknown(100_000)),
      side('gatewarden, a wrong checksum', OURS, () => corrupted(1000)),
    ],
  },
];
