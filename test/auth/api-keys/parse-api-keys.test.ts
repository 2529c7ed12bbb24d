import { inspect } from 'node:util';
import fc from 'fast-check';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { adminApiKey } from '../../../src/auth/api-keys/api-key-record.js';
import { apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { generateApiKey } from '../../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import { type ParseApiKeysOptions, parseApiKeys } from '../../../src/auth/api-keys/parse-api-keys.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { OptionError } from '../../../src/core/option.js';
import { ask } from '../../exchange-fixture.js';
import { expectNothingOf, header, optionError } from './key-fixture.js';

const K1 = 'Zk9-c4n4ry-first-key-01';
const K2 = 'Qw7-c4n4ry-second-key-2';
const K3 = 'Vx5-c4n4ry-third-key-03';
const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

beforeEach(() => warned.mockClear());

describe('parseApiKeys', () => {
  it('reads several clients, and warns that short keys can be guessed', () => {
    expect(parseApiKeys('key1:client1:100,key2:client2:50')).toStrictEqual([
      { id: 'client1', clientId: 'client1', digests: [{ digest: digestApiKey('key1') }], limits: { perHour: 100 } },
      { id: 'client2', clientId: 'client2', digests: [{ digest: digestApiKey('key2') }], limits: { perHour: 50 } },
    ]);
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/: keys\[0\], keys\[1\]$/), {
      code: 'GATEWARDEN_WEAK_API_KEY',
    });
    expect(inspect(warned.mock.calls)).not.toMatch(/key1|key2|client/);
  });

  it.each([
    ['one item', `${K1}:a:1`, 1],
    ['white space around items', `\n  ${K1}:a:1 ,\t${K2}:b:2\n`, 2],
    ['the highest limit', `${K1}:a:999999999999999`, 1],
    ['a client with white space in it', `${K1}:client one:1`, 1],
    ['clients with names of object members', `${K1}:__proto__:1,${K2}:constructor:2`, 2],
    ['a generated key', `${generateApiKey().key}:a:1`, 1],
    ['a key with punctuation', 'Zk9;c4n4ry|key/01?&=:a:1', 1],
  ])('accepts %s', async (_what, text, count) => {
    const keys = parseApiKeys(text);
    expect(keys.length).toBe(count);
    const guard = authenticate(apiKeys({ keys }));
    for (const item of text.split(',')) {
      const [key = '', clientId, limit] = item.trim().split(':');
      const { exchange } = await ask(guard, { headers: [header(key)] });
      expect(exchange.principal).toMatchObject({ id: clientId, limits: { perHour: Number(limit) } });
    }
    expect(warned).not.toHaveBeenCalled();
  });

  it('puts the old and the new key of one client in one record', () => {
    expect(parseApiKeys(`${K1}:a:100,${K2}:b:5,${K3}:a:100`)).toStrictEqual([
      {
        id: 'a',
        clientId: 'a',
        digests: [{ digest: digestApiKey(K1) }, { digest: digestApiKey(K3) }],
        limits: { perHour: 100 },
      },
      { id: 'b', clientId: 'b', digests: [{ digest: digestApiKey(K2) }], limits: { perHour: 5 } },
    ]);
  });

  it('uses the configured name of the limit, and the pepper', () => {
    const pepper = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';
    const [record] = parseApiKeys(`${K1}:a:7`, { limitName: 'perDay', pepper });
    expect(record).toMatchObject({ digests: [{ digest: digestApiKey(K1, { pepper }) }], limits: { perDay: 7 } });
    expect(Object.entries(parseApiKeys(`${K1}:a:7`, { limitName: '__proto__' })[0]?.limits ?? {})).toEqual([
      ['__proto__', 7],
    ]);
  });

  it.each([
    ['an empty setting', '', 'keys[0]" is empty'],
    ['white space', '  \n', 'keys[0]" is empty'],
    ['a comma at the end', `${K1}:a:1,`, 'keys[1]" is empty'],
    ['a comma at the beginning', `,${K1}:a:1`, 'keys[0]" is empty'],
    ['two commas', `${K1}:a:1,,${K2}:b:1`, 'keys[1]" is empty'],
    ['a key without client and limit', K1, 'keys[0]" must have three parts'],
    ['a key without a limit', `${K1}:a`, 'keys[0]" must have three parts'],
    ['a fourth part', `${K1}:a:1:2`, 'keys[0]" must have three parts'],
    ['an empty fourth part', `${K1}:a:1:`, 'keys[0]" must have three parts'],
    ['an empty key', `${K1}:a:1,:b:1`, 'keys[1]" has an empty key'],
    ['an empty client', `${K1}::1`, 'keys[0]" has an empty client'],
    ['an empty limit', `${K1}:a:`, 'keys[0]" must have a positive whole number'],
    ['a limit of zero', `${K1}:a:0`, 'keys[0]" must have a positive whole number'],
    ['a negative limit', `${K1}:a:-1`, 'keys[0]" must have a positive whole number'],
    ['a fractional limit', `${K1}:a:1.5`, 'keys[0]" must have a positive whole number'],
    ['a limit with a sign', `${K1}:a:+1`, 'keys[0]" must have a positive whole number'],
    ['a limit with a leading zero', `${K1}:a:01`, 'keys[0]" must have a positive whole number'],
    ['a limit in words', `${K1}:a:ten`, 'keys[0]" must have a positive whole number'],
    ['a limit in hexadecimal', `${K1}:a:0x10`, 'keys[0]" must have a positive whole number'],
    ['a limit with an exponent', `${K1}:a:1e3`, 'keys[0]" must have a positive whole number'],
    ['a limit of 16 digits', `${K1}:a:${'9'.repeat(16)}`, 'keys[0]" must have a positive whole number'],
    ['a limit of 400 digits', `${K1}:a:${'9'.repeat(400)}`, 'keys[0]" must have a positive whole number'],
    ['white space in a limit', `${K1}:a: 1`, 'keys[0]" must have a positive whole number'],
    ['a limit in Arabic digits', `${K1}:a:\u0661`, 'keys[0]" must have a positive whole number'],
    ['white space after the key', `${K1} :a:1`, 'keys[0]" must have only visible ASCII'],
    ['a key with a character outside ASCII', `${K1}\u00e9:a:1`, 'keys[0]" must have only visible ASCII'],
    ['an incomplete generated key', `gk_live_${K1}:a:1`, 'keys[0]" begins with "gk_live_"'],
    ['white space before the client', `${K1}: a:1`, 'keys[0].clientId"'],
    ['a client of two lines', `${K1}:a\nb:1`, 'keys[0].clientId"'],
    ['the key as its client', `${K2}:b:1,${K1}:${K1}:1`, 'keys[1]" must not have the key as its client'],
    ['a key twice', `${K1}:a:1,${K2}:b:1,${K1}:c:1`, 'keys[2]" has the same key as keys[0]'],
    ['a key twice for one client', `${K1}:a:1,${K1}:a:1`, 'keys[1]" has the same key as keys[0]'],
    [
      'a client with two limits',
      `${K1}:a:1,${K2}:a:2`,
      'keys[1]" has another limit than an earlier item of the same client',
    ],
  ])('refuses %s, and names its index without showing it', (_what, text, message) => {
    const error = optionError(() => parseApiKeys(text));
    expect(error.message).toContain(`gatewarden: parseApiKeys "${message}`);
    for (const key of [K1, K2]) expectNothingOf(key, inspect(error));
    expect(warned).not.toHaveBeenCalled();
  });

  it.each([
    ['an unset variable', undefined, {}, 'no API keys are set; set them as key:client:limit'],
    ['a list', [`${K1}:a:1`], {}, 'accepts a string of key:client:limit items'],
    ['a misspelt option', `${K1}:a:1`, { limit: 'perDay' }, 'no option "limit"'],
    ['an empty name for the limit', `${K1}:a:1`, { limitName: '' }, '"limitName"'],
    ['null as the name of the limit', `${K1}:a:1`, { limitName: null }, '"limitName"'],
    ['a short pepper', `${K1}:a:1`, { pepper: 'short' }, '"pepper" must be a string of at least 32 characters'],
    ['an empty pepper', `${K1}:a:1`, { pepper: '' }, 'openssl rand -hex 32'],
  ])('refuses %s', (_what, text, options, message) => {
    const error = optionError(() => parseApiKeys(text as string, options as unknown as ParseApiKeysOptions));
    expect(error.message).toContain(message);
    expectNothingOf(K1, inspect(error));
  });

  it('returns records that apiKeys accepts, or throws an OptionError without any part of a key', () => {
    // These characters occur in no message, so any of them in a message is a leak.
    const part = fc.string({ unit: fc.constantFrom(...'XZJVW#!$%^~\u00e9\u20ac\t'), maxLength: 8 });
    const valid = fc.string({ unit: fc.constantFrom(...'XZJVW#!$%^~'), minLength: 1, maxLength: 30 });
    const limit = fc.oneof(fc.integer().map(String), fc.nat().map(String), part);
    const item = fc.oneof(
      fc.tuple(valid, valid, fc.integer({ min: 1, max: 9 }).map(String)).map((parts) => parts.join(':')),
      fc.tuple(part, part, limit).map((parts) => parts.join(':')),
      fc.array(part, { maxLength: 5 }).map((parts) => parts.join(':')),
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(item, { maxLength: 4 }), fc.constantFrom(',', ' ,', ', '), (items, comma) => {
        warned.mockClear();
        let message = '';
        try {
          const keys = parseApiKeys(items.join(comma));
          accepted++;
          apiKeys({ keys });
        } catch (error) {
          if (!(error instanceof OptionError)) throw error;
          message = error.message;
          expect(message).toContain('keys[');
        }
        expect(message + warned.mock.calls.map(([text]) => text)).not.toMatch(/[XZJVW#!$%^~\u00e9\u20ac]/);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it('can be combined with the key of an administrator, which no client may have', async () => {
    const keys = parseApiKeys(`${K1}:a:1,${K2}:b:2`);
    const guard = authenticate(apiKeys({ keys: [...keys, adminApiKey(K3)] }));
    const { exchange } = await ask(guard, { headers: [header(K3)] });
    expect(exchange.principal).toEqual({ id: 'admin', scheme: 'api-key', scopes: ['admin'], credentialId: 'admin' });
    const error = optionError(() => apiKeys({ keys: [...keys, adminApiKey(K2)] }));
    expect(error.message).toContain('"keys[2]" has the same key as keys[1]');
    // No client may have the administrator's id either.
    expect(() => apiKeys({ keys: [...parseApiKeys(`${K1}:admin:1`), adminApiKey(K3)] })).toThrow(OptionError);
  });
});
