import { crc32 as nodeCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { BASE62, base62, randomBase62 } from '../../../src/auth/api-keys/base62.js';
import { crc32 } from '../../../src/auth/api-keys/crc32.js';
import { generateApiKey } from '../../../src/auth/api-keys/generate.js';
import { isKeyId, keyForm, keyPrefix, newKey, newKeyId } from '../../../src/auth/api-keys/key-format.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { ask } from '../../exchange-fixture.js';
import { header, optionError, RecordStore } from './key-fixture.js';

const prefix = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{1,30}_$/);
const digit = fc.constantFrom(...BASE62);

/** A typing error: a position in a key, and the change there. */
const typo = fc.record({
  at: fc.nat(),
  char: fc.oneof(digit, fc.constantFrom(...'_-.~+/=!%')),
  how: fc.constantFrom('change', 'delete', 'insert', 'flip', 'double', 'swap'),
});

function withTypo(key: string, { at, char, how }: { at: number; char: string; how: string }): string {
  const i = at % key.length;
  const here = key.charAt(i);
  const before = key.slice(0, i);
  const after = key.slice(i + 1);
  if (how === 'change') return before + char + after;
  if (how === 'delete') return before + after;
  if (how === 'insert') return before + char + here + after;
  if (how === 'double') return before + here + here + after;
  if (how === 'swap') return before + after.charAt(0) + here + after.slice(1);
  return before + (here === here.toLowerCase() ? here.toUpperCase() : here.toLowerCase()) + after;
}

describe('a generated key', () => {
  it('is recognized as generated, with any prefix', () => {
    fc.assert(
      fc.property(prefix, (text) => {
        const id = newKeyId();
        const key = newKey(keyPrefix('test', text), id);
        expect(key.length).toBe(text.length + 61);
        expect(key.startsWith(text + id)).toBe(true);
        expect(isKeyId(id)).toBe(true);
        expect(keyForm(key, text)).toBe('generated');
      }),
    );
  });

  it('of an earlier version is still recognized', () => {
    const parts = ['gk_live_', '0123456789AB', 'CDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs', '05X5b5'];
    expect(keyForm(parts.join(''), 'gk_live_')).toBe('generated');
  });

  it('is refused with any typing error, and without a look-up unless its prefix is wrong', async () => {
    const { key, record } = generateApiKey({ clientId: 'acme' });
    const store = new RecordStore(record);
    const guard = authenticate(apiKeys({ store, missCache: false }));
    await fc.assert(
      fc.asyncProperty(typo, async (what) => {
        const wrong = withTypo(key, what);
        fc.pre(wrong !== key);
        store.asked.length = 0;
        const { status, faults } = await ask(guard, { headers: [header(wrong)] });
        expect({ status, faults }).toEqual({ status: 401, faults: [] });
        expect(store.asked.length).toBe(wrong.startsWith('gk_live_') ? 0 : 1);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused with any one character in the other case', () => {
    const key = newKey('gk_live_', newKeyId());
    for (let at = 0; at < key.length; at++) {
      const wrong = withTypo(key, { at, char: '', how: 'flip' });
      if (wrong !== key) expect(keyForm(wrong, 'gk_live_')).toBe(at < 8 ? 'opaque' : 'broken');
    }
  });

  it.each([
    ['one character less', (key: string) => key.slice(0, -1)],
    ['one character more', (key: string) => `${key}0`],
    ['its prefix only', () => 'gk_live_'],
    ['a line end after it', (key: string) => `${key}\n`],
    ['a line end instead of its last character', (key: string) => `${key.slice(0, -1)}\n`],
    ['a character outside base62', (key: string) => `${key.slice(0, 30)}-${key.slice(31)}`],
  ])('is broken with %s', (_what, change) => {
    expect(keyForm(change(newKey('gk_live_', newKeyId())), 'gk_live_')).toBe('broken');
  });

  it('is different every time', () => {
    const keys = Array.from({ length: 5000 }, () => generateApiKey().key);
    expect(new Set(keys).size).toBe(5000);
    expect(new Set(keys.map((key) => key.slice(8, 20))).size).toBe(5000);
  });

  it.each(['gk_live_', 'gk_test_', 'a-_', 'sam_', `${'a'.repeat(31)}_`])('can have the prefix %s', (text) => {
    expect(keyPrefix('test', text)).toBe(text);
  });

  it.each([
    '',
    '_',
    'a_',
    'gk',
    'gk_live',
    '1k_',
    'gk live_',
    'gk.live_',
    'gk_\n_',
    'gk_live_\n',
    `${'a'.repeat(32)}_`,
    7,
    null,
  ])('cannot have the prefix %j', (text) => {
    expect(optionError(() => keyPrefix('test', text)).message).toContain('"prefix"');
  });
});

describe('base62', () => {
  it('makes each of its 62 digits equally likely', () => {
    expect(new Set(BASE62).size).toBe(62);
    const count = 620_000;
    const seen = new Map<string, number>();
    for (const char of randomBase62(count)) seen.set(char, (seen.get(char) ?? 0) + 1);
    expect([...seen.keys()].sort().join('')).toBe([...BASE62].sort().join(''));
    // Chi-squared with 61 degrees of freedom passes 153 once in 10^9 runs. Bytes modulo 62 would result in 3,700.
    const expected = count / 62;
    let chiSquared = 0;
    for (const times of seen.values()) chiSquared += (times - expected) ** 2 / expected;
    expect(chiSquared).toBeLessThan(153);
  });

  it('returns as many random digits as asked for', () => {
    fc.assert(
      fc.property(fc.nat(300), (length) => {
        expect(randomBase62(length)).toMatch(RegExp(`^[0-9A-Za-z]{${length}}$`));
      }),
    );
  });

  it('writes every 32-bit number in six digits, without loss', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), (value) => {
        const text = base62(value, 6);
        expect(text.length).toBe(6);
        expect([...text].reduce((sum, char) => sum * 62 + BASE62.indexOf(char), 0)).toBe(value);
      }),
    );
    expect(base62(0, 6)).toBe('000000');
    expect(base62(0xffffffff, 6)).toBe('4gfFC3');
    expect(base62(123_456_789_012, 7)).toBe('2Al26WS');
  });
});

describe('crc32', () => {
  it('matches the published check value', () => {
    expect(crc32('123456789')).toBe(0xcbf43926);
    expect(crc32('')).toBe(0);
  });

  it('equals the one of zlib, also for the beginning of a text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), fc.nat(100), (text, length) => {
        expect(crc32(text)).toBe(nodeCrc32(text));
        expect(crc32(text, Math.min(length, text.length))).toBe(nodeCrc32(text.slice(0, length)));
      }),
    );
  });
});
