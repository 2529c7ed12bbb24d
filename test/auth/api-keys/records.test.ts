import { inspect } from 'node:util';
import fc from 'fast-check';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { adminApiKey, apiKeyRecord } from '../../../src/auth/api-keys/api-key-record.js';
import { type ApiKeySetOptions, apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { generateApiKey, rotateApiKey } from '../../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import type { ApiKeyRow } from '../../../src/auth/api-keys/record.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { requireScope } from '../../../src/auth/require-scope.js';
import { sequence } from '../../../src/core/sequence.js';
import { audit } from '../../../src/observe/audit.js';
import { ask } from '../../exchange-fixture.js';
import { bearer, expectNothingOf, header, NOW, optionError } from './key-fixture.js';

const KEY = 'Zk9-c4n4ry-legacy-key-0123';
const OTHER = 'Qw7-c4n4ry-another-key-456';
const PEPPER = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';
const DIGEST = digestApiKey(KEY);
const record = { id: 'r1', clientId: 'acme', digests: [{ digest: DIGEST }] };
const now = () => NOW;
const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

beforeEach(() => warned.mockClear());

describe('a record', () => {
  it('describes the principal, which is frozen throughout and the same for every request', async () => {
    const metadata = { plan: 'gold', regions: ['eu'] };
    const limits = { perHour: 100 };
    const scopes = ['generate', 'status'];
    const digests = [{ digest: DIGEST, expiresAt: '2026-01-01T00:00:00Z' }];
    const full = { ...record, name: 'Acme Inc.', digests, scopes, limits, metadata, enabled: true };
    const guard = authenticate(apiKeys({ keys: [full], now }));
    for (const list of [scopes, metadata.regions]) list.push('admin');
    Object.assign(limits, { perHour: 1e9 });
    digests.length = 0;
    const [first, second] = [
      await ask(guard, { headers: [header(KEY)] }),
      await ask(guard, { headers: [bearer(KEY)] }),
    ];
    const principal = first.exchange.principal;
    expect(principal).toStrictEqual({
      id: 'acme',
      scheme: 'api-key',
      scopes: ['generate', 'status'],
      credentialId: 'r1',
      expiresAt: Date.parse('2026-01-01T00:00:00Z'),
      limits: { perHour: 100 },
      metadata: { plan: 'gold', regions: ['eu'] },
    });
    expect(second.exchange.principal).toBe(principal);
    const copy = principal?.metadata as typeof metadata;
    for (const part of [principal, principal?.scopes, principal?.limits, copy, copy.regions]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it('with only the required members makes a principal without the optional ones', async () => {
    const { exchange } = await ask(authenticate(apiKeys({ keys: [record] })), { headers: [header(KEY)] });
    expect(exchange.principal).toStrictEqual({ id: 'acme', scheme: 'api-key', scopes: [], credentialId: 'r1' });
  });

  it.each(['name', 'scopes', 'limits', 'metadata'])('with null for %s is as one without it', async (name) => {
    const { exchange } = await ask(authenticate(apiKeys({ keys: [{ ...record, [name]: null }] })), {
      headers: [header(KEY)],
    });
    expect(exchange.principal).toStrictEqual({ id: 'acme', scheme: 'api-key', scopes: [], credentialId: 'r1' });
  });

  it('of a database, with null for all that is not set, is accepted', async () => {
    const row = {
      ...record,
      name: null,
      scopes: null,
      enabled: true,
      limits: null,
      metadata: null,
      digests: [{ digest: DIGEST, notBefore: null, expiresAt: null }],
    };
    const keys: ApiKeyRow[] = [row];
    for (const options of [{ keys }, { store: { findByDigest: async () => row } }]) {
      const answer = await ask(authenticate(apiKeys(options as ApiKeySetOptions)), { headers: [header(KEY)] });
      expect(answer.exchange.principal).toStrictEqual({
        id: 'acme',
        scheme: 'api-key',
        scopes: [],
        credentialId: 'r1',
      });
      expect(answer.faults).toEqual([]);
    }
    const { key, record: rotated } = rotateApiKey(row, { overlap: '1d' });
    const answer = await ask(authenticate(apiKeys({ keys: [rotated] })), { headers: [header(key)] });
    expect([answer.passed, rotated.digests.length]).toEqual([true, 2]);
    expect(JSON.stringify(rotated)).not.toContain('null');
    expect(rotateApiKey({ ...row, enabled: null }, { overlap: '1d' }).record.enabled).toBe(false);
  });

  it('with null for enabled is disabled', async () => {
    const decisions: string[] = [];
    const guard = sequence(
      audit({ sink: ({ reason }) => decisions.push(reason) }),
      authenticate(apiKeys({ keys: [{ ...record, enabled: null }] })),
    );
    const { status, faults } = await ask(guard, { headers: [header(KEY)] });
    expect([status, faults, decisions]).toEqual([401, [], ['disabled']]);
  });

  it.each(['id', 'clientId', 'digests'])('must not have null for %s', (name) => {
    const make = () => apiKeys({ keys: [{ ...record, [name]: null } as never] });
    expect(make).toThrow(`gatewarden: apiKeys "keys[0].${name}" must be`);
  });

  it('may expire as late as the end of the year 9999', () => {
    expect(
      apiKeys({ keys: [{ ...record, digests: [{ digest: DIGEST, expiresAt: 253_402_300_799_999 }] }] }),
    ).toBeDefined();
  });

  it('survives JSON', async () => {
    const { key, record: made } = generateApiKey({ clientId: 'acme', scopes: ['a'], limits: { perHour: 1 } });
    const read = JSON.parse(JSON.stringify(made));
    expect(read).toStrictEqual(made);
    expect((await ask(authenticate(apiKeys({ keys: [read] })), { headers: [header(key)] })).passed).toBe(true);
  });

  const day = Date.parse('2025-10-09T00:00:00Z');
  it.each([
    ['epoch milliseconds', day],
    ['ISO 8601 in UTC', '2025-10-09T00:00:00Z'],
    ['ISO 8601 with milliseconds', '2025-10-09T00:00:00.000Z'],
    ['ISO 8601 with microseconds', '2025-10-09T00:00:00.000000+00:00'],
    ['ISO 8601 without seconds', '2025-10-09T00:00Z'],
    ['ISO 8601 of another zone', '2025-10-09T05:30:00+05:30'],
    ['a Date', new Date(day)],
  ])('accepts %s as notBefore and expiresAt', async (_what, time) => {
    let at = day - 1;
    const clock = () => at;
    const ends = apiKeys({ keys: [{ ...record, digests: [{ digest: DIGEST, expiresAt: time }] }], now: clock });
    const begins = apiKeys({ keys: [{ ...record, digests: [{ digest: DIGEST, notBefore: time }] }], now: clock });
    const passed = async () => [
      (await ask(authenticate(ends), { headers: [header(KEY)] })).passed,
      (await ask(authenticate(begins), { headers: [header(KEY)] })).passed,
    ];
    expect(await passed()).toEqual([true, false]);
    at = day;
    expect(await passed()).toEqual([false, true]);
  });

  const digest = (entry: object) => ({ ...record, digests: [{ digest: DIGEST, ...entry }] });
  const bad: readonly (readonly [what: string, record: unknown, named: string])[] = [
    ['undefined, from an unset variable', undefined, 'keys[1]" is not set'],
    ['null', null, 'keys[1]'],
    ['a list', [record], 'keys[1]'],
    ['a digest alone', { digest: DIGEST }, 'keys[1]'],
    ['a misspelt member', { ...record, enable: false }, 'keys[1]'],
    ['a missing id', { ...record, id: undefined }, 'keys[1].id'],
    ['an empty id', { ...record, id: '' }, 'keys[1].id'],
    ['an id that is a number', { ...record, id: 7 }, 'keys[1].id'],
    ['an id with a line end', { ...record, id: 'a\nb' }, 'keys[1].id'],
    ['an id with a Unicode line end', { ...record, id: 'a\u2028b' }, 'keys[1].id'],
    ['an id of 129 characters', { ...record, id: 'a'.repeat(129) }, 'keys[1].id'],
    ['a missing client', { ...record, clientId: undefined }, 'keys[1].clientId'],
    ['an empty client', { ...record, clientId: '' }, 'keys[1].clientId'],
    ['a client with white space before it', { ...record, clientId: ' acme' }, 'keys[1].clientId'],
    ['a client with white space after it', { ...record, clientId: 'acme\u00a0' }, 'keys[1].clientId'],
    ['a name that is a number', { ...record, name: 7 }, 'keys[1].name'],
    ['enabled as a string', { ...record, enabled: 'false' }, 'keys[1].enabled'],
    ['enabled as a number', { ...record, enabled: 0 }, 'keys[1].enabled'],
    ['missing digests', { ...record, digests: undefined }, 'keys[1].digests'],
    ['an empty list of digests', { ...record, digests: [] }, 'keys[1].digests'],
    ['digests that are not a list', { ...record, digests: DIGEST }, 'keys[1].digests'],
    ['a digest that is a string', { ...record, digests: [DIGEST] }, 'keys[1].digests[0]'],
    ['a digest that is null', { ...record, digests: [{ digest: DIGEST }, null] }, 'keys[1].digests[1]'],
    ['a misspelt member of a digest', digest({ expires: NOW }), 'keys[1].digests[0]'],
    ['the key instead of its digest', digest({ digest: KEY }), 'keys[1].digests[0].digest'],
    ['a digest in upper case', digest({ digest: DIGEST.toUpperCase() }), 'keys[1].digests[0].digest'],
    ['a digest with a line end', digest({ digest: `${DIGEST}\n` }), 'keys[1].digests[0].digest'],
    ['a digest of 63 digits', digest({ digest: DIGEST.slice(1) }), 'keys[1].digests[0].digest'],
    ['a digest of bytes', digest({ digest: Buffer.from(DIGEST) }), 'keys[1].digests[0].digest'],
    ['a digest twice', { ...record, digests: [{ digest: DIGEST }, { digest: DIGEST, expiresAt: NOW }] }, 'twice'],
    ['an expiry of NaN', digest({ expiresAt: Number.NaN }), 'keys[1].digests[0].expiresAt'],
    ['an infinite expiry', digest({ expiresAt: Number.POSITIVE_INFINITY }), 'keys[1].digests[0].expiresAt'],
    ['an expiry after the year 9999', digest({ expiresAt: 253_402_300_800_000 }), 'keys[1].digests[0].expiresAt'],
    ['an expiry in seconds', digest({ expiresAt: 1_760_000_000 }), 'keys[1].digests[0].expiresAt'],
    ['an expiry that is an invalid Date', digest({ expiresAt: new Date('x') }), 'keys[1].digests[0].expiresAt'],
    ['an expiry without a zone', digest({ expiresAt: '2026-01-01T00:00:00' }), 'keys[1].digests[0].expiresAt'],
    ['an expiry without a time', digest({ expiresAt: '2026-01-01' }), 'keys[1].digests[0].expiresAt'],
    [
      'an expiry in the form of HTTP',
      digest({ expiresAt: 'Thu, 01 Jan 2026 00:00:00 GMT' }),
      'keys[1].digests[0].expiresAt',
    ],
    [
      'an expiry on a day that does not exist',
      digest({ expiresAt: '2026-02-30T00:00:00Z' }),
      'keys[1].digests[0].expiresAt',
    ],
    [
      'an expiry in a month that does not exist',
      digest({ expiresAt: '2026-13-01T00:00:00Z' }),
      'keys[1].digests[0].expiresAt',
    ],
    ['a notBefore in seconds', digest({ notBefore: 1_760_000_000 }), 'keys[1].digests[0].notBefore'],
    ['an expiry at its notBefore', digest({ notBefore: NOW, expiresAt: NOW }), 'keys[1].digests[0].expiresAt'],
    ['scopes as a string', { ...record, scopes: 'admin' }, 'keys[1].scopes'],
    ['a scope of two words', { ...record, scopes: ['a b'] }, 'keys[1].scopes'],
    ['a scope that is a number', { ...record, scopes: [1] }, 'keys[1].scopes'],
    ['limits as a list', { ...record, limits: [100] }, 'keys[1].limits'],
    ['a limit as a string', { ...record, limits: { perHour: '100' } }, 'keys[1].limits'],
    ['a limit of NaN', { ...record, limits: { perHour: Number.NaN } }, 'keys[1].limits'],
    ['a negative limit', { ...record, limits: { perHour: -1 } }, 'keys[1].limits'],
    ['metadata that is a function', { ...record, metadata: () => 1 }, 'keys[1].metadata'],
    ['metadata with a bigint', { ...record, metadata: { a: 1n } }, 'keys[1].metadata'],
  ];

  it.each(bad)('is refused with %s, by its position and without its values', (_what, entry, named) => {
    const keys = [{ id: 'r0', clientId: 'other', digests: [{ digest: digestApiKey(OTHER) }] }, entry];
    const error = optionError(() => apiKeys({ keys } as ApiKeySetOptions));
    expect(error.message).toContain(named);
    expect(error.message).toContain('keys[1]');
    for (const secret of [KEY, DIGEST, DIGEST.toUpperCase()]) expectNothingOf(secret, inspect(error));
  });
});

describe('a set of keys', () => {
  const other = apiKeyRecord(OTHER, { clientId: 'other' });
  it.each([
    ['a key instead of a list', KEY, '"keys"'],
    ['an empty list', [], '"keys"'],
    ['an empty key', [''], '"keys[0]" is empty'],
    ['an empty key next to another', [KEY, ''], '"keys[1]"'],
    ['a key with a space', [`${KEY} x`], '"keys[0]"'],
    ['a key with a character outside ASCII', [`${KEY}\u00e9`], '"keys[0]"'],
    ['a key that no request can carry', ['x'.repeat(8193)], '"keys[0]"'],
    ['an incomplete generated key', [`gk_live_${KEY}`], '"keys[0]"'],
    ['a key twice', [KEY, OTHER, KEY], '"keys[2]" has the same key as keys[0]'],
    ['a key and its record', [KEY, record], '"keys[1]" has the same key as keys[0]'],
    ['two records with one key', [other, { ...other, id: 'third' }], '"keys[1]" has the same key as keys[0]'],
    ["a client's key as the administrator's", [KEY, adminApiKey(KEY)], '"keys[1]" has the same key as keys[0]'],
    ['two records of one id', [other, { ...record, id: 'other' }], '"keys[1].id" must not be the id of keys[0]'],
  ])('is refused with %s, and the earlier set stays in use', async (_what, keys, named) => {
    const error = optionError(() => apiKeys({ keys } as ApiKeySetOptions));
    expect(error.message).toContain(named);
    const scheme = apiKeys({ keys: [record] });
    const again = optionError(() => scheme.replace(keys as ApiKeySetOptions['keys']));
    expect(again.message).toBe(error.message);
    for (const secret of [KEY, OTHER, DIGEST]) expectNothingOf(secret, inspect([error, again]));
    const { passed, exchange } = await ask(authenticate(scheme), { headers: [header(KEY)] });
    expect([passed, exchange.principal?.credentialId]).toEqual([true, 'r1']);
  });

  it('is replaced as a whole', async () => {
    const scheme = apiKeys({ keys: [record, apiKeyRecord(OTHER, { clientId: 'other' })] });
    const passes = async (key: string) => (await ask(authenticate(scheme), { headers: [header(key)] })).passed;
    expect([await passes(KEY), await passes(OTHER)]).toEqual([true, true]);
    scheme.replace([generateApiKey().record, OTHER]);
    expect([await passes(KEY), await passes(OTHER)]).toEqual([false, true]);
  });

  it('accepts keys in plain text, all of one client', async () => {
    const guard = authenticate(apiKeys({ keys: [KEY, OTHER] }));
    const [first, second] = [
      await ask(guard, { headers: [header(KEY)] }),
      await ask(guard, { headers: [header(OTHER)] }),
    ];
    expect(first.exchange.principal).toEqual({ id: 'api-key', scheme: 'api-key', scopes: [], credentialId: 'key-1' });
    expect(second.exchange.principal).toMatchObject({ id: 'api-key', credentialId: 'key-2' });
    expect(warned).not.toHaveBeenCalled();
  });

  it('warns once about keys that can be guessed, by their positions', () => {
    apiKeys({ keys: ['Xy9-short', KEY, 'fifteen-letters', 'sixteen-letters!'] });
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/: keys\[0\], keys\[2\]$/), {
      code: 'GATEWARDEN_WEAK_API_KEY',
    });
    for (const part of ['Xy9', 'fifteen']) expect(inspect(warned.mock.calls)).not.toContain(part);
  });

  it('finds keys of records whose ids are names of object members', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const keys = names.map((name) => apiKeyRecord(`key-c4n4ry-of-${name}`, { clientId: name, limits: { [name]: 1 } }));
    const guard = authenticate(apiKeys({ keys }));
    for (const name of names) {
      const { exchange } = await ask(guard, { headers: [header(`key-c4n4ry-of-${name}`)] });
      expect(exchange.principal).toMatchObject({ id: name, credentialId: name });
      expect(Object.entries(exchange.principal?.limits ?? {})).toEqual([[name, 1]]);
    }
    for (const name of names) expect((await ask(guard, { headers: [header(name)] })).status).toBe(401);
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });
});

describe('apiKeyRecord and adminApiKey', () => {
  it('return a record without the key', () => {
    const made = apiKeyRecord(KEY, {
      clientId: 'partner',
      name: 'Partner',
      scopes: ['a'],
      expiresAt: NOW,
      limits: { perHour: 5 },
      metadata: { a: 1 },
    });
    expect(made).toStrictEqual({
      id: 'partner',
      clientId: 'partner',
      name: 'Partner',
      digests: [{ digest: DIGEST, expiresAt: new Date(NOW).toISOString() }],
      scopes: ['a'],
      limits: { perHour: 5 },
      metadata: { a: 1 },
    });
    expect(apiKeyRecord(KEY, { clientId: 'partner', id: 'p-2' })).toMatchObject({ id: 'p-2', clientId: 'partner' });
    expect(adminApiKey(KEY)).toStrictEqual({
      id: 'admin',
      clientId: 'admin',
      digests: [{ digest: DIGEST }],
      scopes: ['admin'],
    });
    expect(adminApiKey(KEY, { clientId: 'ops' })).toMatchObject({ id: 'ops', clientId: 'ops', scopes: ['admin'] });
  });

  it('let an administrator have two keys while one replaces the other', async () => {
    const scheme = apiKeys({ keys: [adminApiKey(KEY), adminApiKey(OTHER, { id: 'admin-2' })] });
    const guard = sequence(authenticate(scheme), requireScope('admin'));
    const principals = [];
    for (const key of [KEY, OTHER]) principals.push((await ask(guard, { headers: [bearer(key)] })).exchange.principal);
    expect(principals).toMatchObject([
      { id: 'admin', credentialId: 'admin' },
      { id: 'admin', credentialId: 'admin-2' },
    ]);
    expect(optionError(() => apiKeys({ keys: [adminApiKey(KEY), adminApiKey(OTHER)] })).message).toBe(
      'gatewarden: apiKeys "keys[1].id" must not be the id of keys[0]; ' +
        'give each record an "id" of its own; records of one client have the same "clientId"',
    );
    const hidden = optionError(() => adminApiKey(KEY, { id: KEY }));
    expectNothingOf(KEY, inspect(hidden));
  });

  it('grant the administrator a scope that clients do not have', async () => {
    const scheme = apiKeys({ keys: [record, adminApiKey(OTHER)] });
    const guard = sequence(authenticate(scheme), requireScope('admin'));
    expect((await ask(guard, { headers: [bearer(OTHER)] })).passed).toBe(true);
    expect((await ask(guard, { headers: [bearer(KEY)] })).status).toBe(403);
  });

  it.each([
    ['an empty key', () => apiKeyRecord('', { clientId: 'a' })],
    ['an empty key of the administrator', () => adminApiKey('')],
    ['an unset key', () => adminApiKey(undefined)],
    ['an unset key of a client', () => apiKeyRecord(undefined, { clientId: 'a' })],
    ['a scope of two words', () => apiKeyRecord(KEY, { clientId: 'a', scopes: ['a b'] })],
    ['white space', () => adminApiKey(` ${KEY}`)],
    ['the key as its client', () => apiKeyRecord(KEY, { clientId: KEY })],
    ['the key as its id', () => apiKeyRecord(KEY, { clientId: 'a', id: KEY })],
    ['a missing client', () => apiKeyRecord(KEY, {} as { clientId: string })],
    ['a misspelt option', () => apiKeyRecord(KEY, { clientId: 'a', expires: NOW } as { clientId: string })],
    ['an expiry in words', () => apiKeyRecord(KEY, { clientId: 'a', expiresAt: 'tomorrow' })],
    ['a short pepper', () => apiKeyRecord(KEY, { clientId: 'a', pepper: PEPPER.slice(0, 31) })],
  ])('refuse %s', (_what, call) => {
    const shown = inspect(optionError(call));
    for (const secret of [KEY, PEPPER]) expectNothingOf(secret, shown);
  });

  it('warn about a key that can be guessed', () => {
    adminApiKey('guess-me');
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.not.stringContaining('guess-'), {
      code: 'GATEWARDEN_WEAK_API_KEY',
    });
  });
});

describe('a pepper', () => {
  it('makes different digests, which only the same pepper finds', async () => {
    expect(digestApiKey(KEY, { pepper: PEPPER })).toMatch(/^[0-9a-f]{64}$/);
    expect(digestApiKey(KEY, { pepper: PEPPER })).not.toBe(DIGEST);
    expect(digestApiKey(KEY, { pepper: `${PEPPER}x` })).not.toBe(digestApiKey(KEY, { pepper: PEPPER }));
    const { key, record: made } = generateApiKey({ pepper: PEPPER });
    const passes = async (options: Partial<ApiKeySetOptions>) =>
      (await ask(authenticate(apiKeys({ keys: [made], ...options })), { headers: [header(key)] })).passed;
    expect(await passes({ pepper: PEPPER })).toBe(true);
    expect(await passes({})).toBe(false);
    expect(await passes({ pepper: `${PEPPER}x` })).toBe(false);
    expect(await passes({ keys: [apiKeyRecord(key, { clientId: 'a', pepper: PEPPER })], pepper: PEPPER })).toBe(true);
    expect(await passes({ keys: [key], pepper: PEPPER })).toBe(true);
  });

  it.each([
    ['31 characters', PEPPER.slice(0, 31)],
    ['no characters', ''],
    ['a number', 1e40],
    ['bytes', Buffer.from(PEPPER)],
    ['null', null],
  ])('of %s is refused and not shown', (_what, pepper) => {
    const bad = { pepper } as unknown as { pepper: string };
    for (const call of [
      () => apiKeys({ keys: [KEY], ...bad }),
      () => digestApiKey(KEY, bad),
      () => generateApiKey(bad),
      () => adminApiKey(KEY, bad),
    ]) {
      const error = optionError(call);
      expect(error.message).toContain('"pepper"');
      for (const secret of [PEPPER, KEY]) expectNothingOf(secret, inspect(error));
    }
  });
});

describe('digestApiKey', () => {
  it('returns SHA-256 in hexadecimal', () => {
    expect(digestApiKey('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  it('accepts every key that a header can carry, and shows none that it refuses', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'#!"~|{}[]\\`^'), minLength: 1 }), (key) => {
        expect(digestApiKey(key)).toMatch(/^[0-9a-f]{64}$/);
        expect(optionError(() => digestApiKey(`${key} `)).message).not.toContain(key.repeat(2));
      }),
    );
    for (const bad of ['', ' ', 'a b', 'a\tb', 'a\n', '\u00e9', 'x'.repeat(8193), 5, undefined]) {
      expect(optionError(() => digestApiKey(bad as string)).message).toContain('digestApiKey "key"');
    }
  });
});
