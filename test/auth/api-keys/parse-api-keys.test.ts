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
  it("reads the SAM guide's API_KEYS, and warns that its keys can be guessed", () => {
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
    ['one', `${K1}:a:1`, 1],
    ['white space around items', `\n  ${K1}:a:1 ,\t${K2}:b:2\n`, 2],
    ['the highest limit', `${K1}:a:999999999999999`, 1],
    ['a client with white space in it', `${K1}:client one:1`, 1],
    ['clients that are names of every object', `${K1}:__proto__:1,${K2}:constructor:2`, 2],
    ['a generated key', `${generateApiKey().key}:a:1`, 1],
    ['a key with marks', 'Zk9;c4n4ry|key/01?&=:a:1', 1],
  ])('takes %s', async (_what, text, count) => {
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

  it('takes the old and the new key of one client for one record', () => {
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

  it('names the limit as asked, and takes the pepper', () => {
    const pepper = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';
    const [record] = parseApiKeys(`${K1}:a:7`, { limitName: 'perDay', pepper });
    expect(record).toMatchObject({ digests: [{ digest: digestApiKey(K1, { pepper }) }], limits: { perDay: 7 } });
    expect(Object.entries(parseApiKeys(`${K1}:a:7`, { limitName: '__proto__' })[0]?.limits ?? {})).toEqual([
      ['__proto__', 7],
    ]);
  });

  it.each([
    ['nothing', '', 'keys[0]" is empty'],
    ['white space', '  \n', 'keys[0]" is empty'],
    ['a comma at its end', `${K1}:a:1,`, 'keys[1]" is empty'],
    ['a comma at its beginning', `,${K1}:a:1`, 'keys[0]" is empty'],
    ['two commas', `${K1}:a:1,,${K2}:b:1`, 'keys[1]" is empty'],
    ['no client and no limit', K1, 'keys[0]" must have three parts'],
    ['no limit', `${K1}:a`, 'keys[0]" must have three parts'],
    ['a part too many', `${K1}:a:1:2`, 'keys[0]" must have three parts'],
    ['a part too many, empty', `${K1}:a:1:`, 'keys[0]" must have three parts'],
    ['an empty key', `${K1}:a:1,:b:1`, 'keys[1]" has an empty key'],
    ['an empty client', `${K1}::1`, 'keys[0]" has an empty client'],
    ['an empty limit', `${K1}:a:`, 'keys[0]" must have a positive whole number'],
    ['a limit of zero', `${K1}:a:0`, 'keys[0]" must have a positive whole number'],
    ['a limit below zero', `${K1}:a:-1`, 'keys[0]" must have a positive whole number'],
    ['half a limit', `${K1}:a:1.5`, 'keys[0]" must have a positive whole number'],
    ['a limit with a sign', `${K1}:a:+1`, 'keys[0]" must have a positive whole number'],
    ['a limit with zeros before it', `${K1}:a:01`, 'keys[0]" must have a positive whole number'],
    ['a limit in words', `${K1}:a:ten`, 'keys[0]" must have a positive whole number'],
    ['a limit in hexadecimal', `${K1}:a:0x10`, 'keys[0]" must have a positive whole number'],
    ['a limit with an exponent', `${K1}:a:1e3`, 'keys[0]" must have a positive whole number'],
    ['a limit of 16 digits', `${K1}:a:${'9'.repeat(16)}`, 'keys[0]" must have a positive whole number'],
    ['a limit beyond all numbers', `${K1}:a:${'9'.repeat(400)}`, 'keys[0]" must have a positive whole number'],
    ['white space in a limit', `${K1}:a: 1`, 'keys[0]" must have a positive whole number'],
    ['Arabic digits', `${K1}:a:\u0661`, 'keys[0]" must have a positive whole number'],
    ['white space after the key', `${K1} :a:1`, 'keys[0]" may hold only visible ASCII'],
    ['a key beyond ASCII', `${K1}\u00e9:a:1`, 'keys[0]" may hold only visible ASCII'],
    ['a generated key that is not whole', `gk_live_${K1}:a:1`, 'keys[0]" has the prefix'],
    ['white space before the client', `${K1}: a:1`, 'keys[0].clientId"'],
    ['a client of two lines', `${K1}:a\nb:1`, 'keys[0].clientId"'],
    ['the key as its client', `${K2}:b:1,${K1}:${K1}:1`, 'keys[1]" must not have the key as its client'],
    ['a key twice', `${K1}:a:1,${K2}:b:1,${K1}:c:1`, 'keys[2]" has the key of keys[0]'],
    ['a key twice of one client', `${K1}:a:1,${K1}:a:1`, 'keys[1]" has the key of keys[0]'],
    ['a client with two limits', `${K1}:a:1,${K2}:a:2`, 'keys[1]" gives its client another limit'],
  ])('refuses %s, by the index and without showing it', (_what, text, said) => {
    const error = optionError(() => parseApiKeys(text));
    expect(error.message).toContain(`gatewarden: parseApiKeys "${said}`);
    for (const key of [K1, K2]) expectNothingOf(key, inspect(error));
    expect(warned).not.toHaveBeenCalled();
  });

  it.each([
    ['no text', undefined, {}],
    ['a list', [`${K1}:a:1`], {}],
    ['a misspelt option', `${K1}:a:1`, { limit: 'perDay' }],
    ['an empty name for the limit', `${K1}:a:1`, { limitName: '' }],
    ['a short pepper', `${K1}:a:1`, { pepper: 'short' }],
  ])('refuses %s', (_what, text, options) => {
    const error = optionError(() => parseApiKeys(text as string, options as ParseApiKeysOptions));
    expectNothingOf(K1, inspect(error));
  });

  it('gives records that apiKeys takes, or an OptionError with nothing of a key', () => {
    // Of characters that occur in no message, so that each one of them would give a leak away.
    const part = fc.string({ unit: fc.constantFrom(...'XZJVW#!$%^~\u00e9\u20ac\t'), maxLength: 8 });
    const sound = fc.string({ unit: fc.constantFrom(...'XZJVW#!$%^~'), minLength: 1, maxLength: 30 });
    const limit = fc.oneof(fc.integer().map(String), fc.nat().map(String), part);
    const item = fc.oneof(
      fc.tuple(sound, sound, fc.integer({ min: 1, max: 9 }).map(String)).map((parts) => parts.join(':')),
      fc.tuple(part, part, limit).map((parts) => parts.join(':')),
      fc.array(part, { maxLength: 5 }).map((parts) => parts.join(':')),
    );
    let taken = 0;
    fc.assert(
      fc.property(fc.array(item, { maxLength: 4 }), fc.constantFrom(',', ' ,', ', '), (items, comma) => {
        warned.mockClear();
        let message = '';
        try {
          const keys = parseApiKeys(items.join(comma));
          taken++;
          apiKeys({ keys });
        } catch (error) {
          if (!(error instanceof OptionError)) throw error;
          message = error.message;
          expect(message).toContain('keys[');
        }
        expect(message + warned.mock.calls.map(([said]) => said)).not.toMatch(/[XZJVW#!$%^~\u00e9\u20ac]/);
      }),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it('goes together with the key of the administrator, which nobody else may have', async () => {
    const keys = parseApiKeys(`${K1}:a:1,${K2}:b:2`);
    const guard = authenticate(apiKeys({ keys: [...keys, adminApiKey(K3)] }));
    const { exchange } = await ask(guard, { headers: [header(K3)] });
    expect(exchange.principal).toEqual({ id: 'admin', scheme: 'api-key', scopes: ['admin'], credentialId: 'admin' });
    const error = optionError(() => apiKeys({ keys: [...keys, adminApiKey(K2)] }));
    expect(error.message).toContain('"keys[2]" has a key of keys[1]');
    // Nor may a client be called what the administrator is called.
    expect(() => apiKeys({ keys: [...parseApiKeys(`${K1}:admin:1`), adminApiKey(K3)] })).toThrow(OptionError);
  });
});
