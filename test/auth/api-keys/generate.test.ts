import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { apiKeyRecord } from '../../../src/auth/api-keys/api-key-record.js';
import { apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import {
  type GenerateApiKeyOptions,
  generateApiKey,
  type RotateApiKeyOptions,
  rotateApiKey,
} from '../../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { sequence } from '../../../src/core/sequence.js';
import { limit } from '../../../src/limit/limit.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { slidingWindow } from '../../../src/limit/policy.js';
import { ask } from '../../exchange-fixture.js';
import { expectNothingOf, header, NOW, optionError, RecordStore } from './key-fixture.js';

const now = () => NOW;
const HOUR = 3_600_000;
const iso = (time: number) => new Date(time).toISOString();

describe('generateApiKey', () => {
  it('returns a key, and a record with its digest and nothing of its secret', () => {
    const { key, record } = generateApiKey({
      clientId: 'acme',
      name: 'Acme Inc.',
      scopes: ['generate'],
      expiresAt: NOW + HOUR,
      limits: { perHour: 100 },
      metadata: { plan: 'gold' },
      now,
    });
    expect(key).toMatch(/^gk_live_[0-9A-Za-z]{61}$/);
    expect(record).toStrictEqual({
      id: key.slice(8, 20),
      clientId: 'acme',
      name: 'Acme Inc.',
      digests: [{ digest: digestApiKey(key), expiresAt: iso(NOW + HOUR) }],
      scopes: ['generate'],
      enabled: true,
      limits: { perHour: 100 },
      metadata: { plan: 'gold' },
    });
    expectNothingOf(key.slice(20), JSON.stringify(record));
  });

  it('needs no options', () => {
    const { key, record } = generateApiKey();
    const id = key.slice(8, 20);
    expect(record).toStrictEqual({
      id,
      clientId: id,
      digests: [{ digest: digestApiKey(key) }],
      scopes: [],
      enabled: true,
    });
  });

  it('makes keys with another prefix, whose checksum apiKeys then checks', async () => {
    const { key, record } = generateApiKey({ prefix: 'sam_' });
    expect(key).toMatch(/^sam_[0-9A-Za-z]{61}$/);
    const store = new RecordStore(record);
    const guard = authenticate(apiKeys({ store, prefix: 'sam_' }));
    expect((await ask(guard, { headers: [header(key)] })).passed).toBe(true);
    expect((await ask(guard, { headers: [header(`${key}0`)] })).status).toBe(401);
    expect(store.asked.length).toBe(1);
  });

  it.each<readonly [what: string, options: unknown, named: string]>([
    ['an empty client', { clientId: '' }, '"clientId"'],
    ['a client of two lines', { clientId: 'a\nb' }, '"clientId"'],
    ['a name that is a number', { name: 5 }, '"name"'],
    ['scopes as a string', { scopes: 'admin' }, '"scopes"'],
    ['a scope of two words', { scopes: ['a b'] }, '"scopes"'],
    ['an expiry that is now', { expiresAt: NOW, now }, '"expiresAt"'],
    ['an expiry in the past', { expiresAt: new Date(NOW - 1), now }, '"expiresAt"'],
    ['a duration as the expiry', { expiresAt: '90d', now }, '"expiresAt"'],
    ['a malformed prefix', { prefix: 'gk' }, '"prefix"'],
    ['a short pepper', { pepper: 'short' }, '"pepper"'],
    ['an empty pepper', { pepper: '' }, 'openssl rand -hex 32'],
    ['a limit as a string', { limits: { perHour: '1' } }, '"limits"'],
    ['metadata that JSON cannot hold', { metadata: 1n }, '"metadata"'],
    ['a clock that is not a function', { now: NOW }, '"now"'],
    ['a clock that returns NaN', { now: () => Number.NaN }, '"now"'],
    ['a misspelt option', { scope: ['a'] }, '"scope"'],
    ['a client instead of options', 'acme', 'generateApiKey'],
  ])('refuses %s', (_what, options, named) => {
    expect(optionError(() => generateApiKey(options as GenerateApiKeyOptions)).message).toContain(named);
  });
});

describe.each([
  ['a Date', new Date(NOW + HOUR)],
  ['an ISO 8601 string', iso(NOW + HOUR)],
  ['epoch milliseconds', NOW + HOUR],
])('%s as the expiry', (_what, expiresAt) => {
  const expected = [expect.objectContaining({ expiresAt: iso(NOW + HOUR) })];

  it('is accepted by generateApiKey', () => {
    expect(generateApiKey({ expiresAt, now }).record.digests).toEqual(expected);
  });

  it('is accepted by rotateApiKey', () => {
    const { record } = rotateApiKey(generateApiKey({ now }).record, { overlap: '1m', expiresAt, now });
    expect(record.digests.slice(1)).toEqual(expected);
  });

  it('is accepted by apiKeyRecord', () => {
    expect(apiKeyRecord('Zk9-c4n4ry-legacy-key-0123', { clientId: 'a', expiresAt }).digests).toEqual(expected);
  });
});

describe('rotateApiKey', () => {
  const first = generateApiKey({ clientId: 'acme', limits: { perHour: 5 }, now });

  it('adds a key to the record, and lets the earlier ones expire', () => {
    const { key, record } = rotateApiKey(first.record, { overlap: '1h', expiresAt: NOW + 9 * HOUR, now });
    expect(record).toStrictEqual({
      ...first.record,
      digests: [
        { digest: digestApiKey(first.key), expiresAt: iso(NOW + HOUR) },
        { digest: digestApiKey(key), expiresAt: iso(NOW + 9 * HOUR) },
      ],
    });
    expect(key.slice(0, 20)).toBe(first.key.slice(0, 20));
    expect(key.slice(20)).not.toBe(first.key.slice(20));
  });

  it('never delays an expiry, and removes keys that have expired or would begin too late', () => {
    const digests = [
      { digest: 'a'.repeat(64), expiresAt: NOW },
      { digest: 'b'.repeat(64), expiresAt: NOW + 1 },
      { digest: 'c'.repeat(64), notBefore: NOW + HOUR },
      { digest: 'd'.repeat(64), notBefore: NOW + HOUR - 1, expiresAt: NOW + 5 * HOUR },
    ];
    const { key, record } = rotateApiKey({ ...first.record, digests }, { overlap: `${HOUR}ms`, now });
    expect(record.digests).toStrictEqual([
      { digest: 'b'.repeat(64), expiresAt: iso(NOW + 1) },
      { digest: 'd'.repeat(64), notBefore: NOW + HOUR - 1, expiresAt: iso(NOW + HOUR) },
      { digest: digestApiKey(key) },
    ]);
  });

  it('adds a generated key to a record with an opaque one', async () => {
    const old = 'Zk9-c4n4ry-legacy-key-0123';
    const { key, record } = rotateApiKey(apiKeyRecord(old, { clientId: 'partner' }), { overlap: '1h', now });
    expect([record.id, record.clientId]).toEqual(['partner', 'partner']);
    const guard = authenticate(apiKeys({ keys: [record], now }));
    for (const token of [old, key]) {
      expect((await ask(guard, { headers: [header(token)] })).exchange.principal?.id).toBe('partner');
    }
  });

  it.each<readonly [what: string, record: unknown, options: unknown, named: string]>([
    ['a missing overlap', first.record, { now }, '"overlap"'],
    ['an overlap of no time', first.record, { overlap: '0s', now }, '"overlap"'],
    ['an overlap without a unit', first.record, { overlap: 1, now }, '"overlap" needs a unit'],
    ['a record without digests', { ...first.record, digests: [] }, { overlap: '1h', now }, '"record.digests"'],
    ['a misspelt option', first.record, { overlap: '1h', pepers: 'x' }, '"pepers"'],
    ['an expiry in the past', first.record, { overlap: '1h', expiresAt: NOW, now }, '"expiresAt"'],
  ])('refuses %s', (_what, record, options, named) => {
    const error = optionError(() => rotateApiKey(record as typeof first.record, options as RotateApiKeyOptions));
    expect(error.message).toContain(named);
    expectNothingOf(first.key.slice(20), inspect(error));
  });

  it.each(['a set', 'a store'])(
    'accepts the old and the new key of %s on one quota until the old one expires, without a failed request',
    async (kind) => {
      let time = NOW;
      const clock = () => time;
      const other = generateApiKey({ clientId: 'other', now });
      const rotated = rotateApiKey(first.record, { overlap: `${HOUR}ms`, now: clock });
      const store = new RecordStore(first.record, other.record);
      const set = apiKeys({ keys: store.records, now: clock });
      const stored = apiKeys({ store, now: clock });
      const guard = sequence(
        authenticate(kind === 'a set' ? set : stored),
        limit({
          store: memoryStore({ now: clock }),
          by: 'principal',
          policies: [slidingWindow({ limit: 1000, window: '24h' })],
        }),
      );
      let used = 0;
      const request = async (key: string, client: string) => {
        const { passed, exchange, faults } = await ask(guard, { headers: [header(key)] });
        expect([passed, exchange.principal?.id, faults]).toEqual([true, client, []]);
        return exchange.admission?.quotas[0]?.remaining;
      };

      // Requests with the old key continue before, while and after the record is replaced.
      for (let i = 0; i < 10; i++) expect(await request(first.key, 'acme')).toBe(1000 - ++used);
      const concurrent = Array.from({ length: 20 }, () => request(first.key, 'acme'));
      if (kind === 'a set') set.replace([rotated.record, other.record]);
      else {
        store.records = [rotated.record, other.record];
        stored.invalidate(first.record.id);
      }
      concurrent.push(...Array.from({ length: 20 }, () => request(first.key, 'acme')));
      const remaining = (await Promise.all(concurrent)).map(Number).sort((a, b) => b - a);
      expect(remaining).toEqual(Array.from({ length: 40 }, (_, i) => 1000 - used - i - 1));
      used += 40;

      // Both are valid, and use one quota.
      for (time of [NOW + 1, NOW + HOUR / 2, NOW + HOUR - 1]) {
        for (const key of [first.key, rotated.key]) expect(await request(key, 'acme')).toBe(1000 - ++used);
      }
      expect(await request(other.key, 'other')).toBe(999);

      // After it expired, the old one is refused, and uses no quota.
      for (time of [NOW + HOUR, NOW + 2 * HOUR]) {
        expect((await ask(guard, { headers: [header(first.key)] })).status).toBe(401);
        expect(await request(rotated.key, 'acme')).toBe(1000 - ++used);
      }
      expect(await request(other.key, 'other')).toBe(998);
    },
  );
});
