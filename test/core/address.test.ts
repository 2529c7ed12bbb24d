import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKey, parseAddress } from '../../src/core/address.js';
import { OptionError } from '../../src/core/option.js';
import { anyText } from '../any-text.js';

const READ: readonly (readonly [text: string, ip: string])[] = [
  ['1.2.3.4', '1.2.3.4'],
  ['255.255.255.255', '255.255.255.255'],
  ['1.2.3.4:80', '1.2.3.4'],
  ['1.2.3.4:65535', '1.2.3.4'],
  ['1.2.3.4:0', '1.2.3.4'],
  ['1.2.3.4:00080', '1.2.3.4'],
  ['[2001:db8::1]:65535', '2001:db8::1'],
  ['2001:db8::1', '2001:db8::1'],
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['[2001:db8::1]', '2001:db8::1'],
  ['[2001:db8::1]:443', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['[fe80::1%eth0]:80', 'fe80::1'],
  ['::1', '::1'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['::FFFF:1.2.3.4', '1.2.3.4'],
  ['::ffff:102:304', '1.2.3.4'],
  ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
  ['[::ffff:1.2.3.4]:80', '1.2.3.4'],
  ['::ffff:1.2.3.4%eth0', '1.2.3.4'],
  ['::1.2.3.4', '::102:304'],
  ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ['::fffe:1.2.3.4', '::fffe:102:304'],
];

const REFUSED: readonly string[] = [
  '',
  ' ',
  '1.2.3.4 ',
  ' 1.2.3.4',
  '\u00a01.2.3.4',
  '1.2.3.4\n',
  '1.2.3.4\0',
  '010.8.8.8',
  '1.2.3.04',
  '0x8.8.8.8',
  '0x08080808',
  '134744072',
  '127.1',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '1.2.3.-4',
  '+1.2.3.4',
  '1.2.3.4/32',
  '1.2.3.4%eth0',
  '1.2.3.4:',
  '1.2.3.4:http',
  '1.2.3.4:123456',
  '1.2.3.4:65536',
  '1.2.3.4:99999',
  '1.2.3.4:+80',
  '1.2.3.4:8e1',
  '1.2.3.4:-1',
  '1.2.3.4:_mdn',
  '[2001:db8::1]:65536',
  '[2001:db8::1]:99999',
  '[2001:db8::1]:_mdn',
  '1.2.3.4:80:80',
  ':80',
  '[1.2.3.4]',
  '[1.2.3.4]:80',
  '[]',
  '[]:80',
  '[::1',
  '::1]',
  '[::1]80',
  '[::1]x:80',
  '[::1]:',
  '[::1]:x',
  '[[::1]]',
  '[::1] ',
  'fe80::1%',
  '%eth0',
  '2001:db8::1::2',
  '2001:db8::12345',
  '2001:db8::1/64',
  '::ffff:01.2.3.4',
  '::ffff:0x1.2.3.4',
  '１.2.3.4',
  '0.0.0.0',
  '0.0.0.0:80',
  '::',
  '[::]:80',
  '0:0:0:0:0:0:0:0',
  '::ffff:0.0.0.0',
  '::ffff:0:0',
  'localhost',
  'unknown',
  '_hidden',
  '<script>',
  'example.com',
  `fe80::1%${'z'.repeat(80)}`,
  '1'.repeat(1_000_000),
];

describe('parseAddress', () => {
  it.each(READ)('reads %j as %s', (text, ip) => {
    expect(parseAddress(text)?.ip).toBe(ip);
  });

  it.each(REFUSED.map((text) => [text.length > 90 ? `${text.slice(0, 12)}... of ${text.length}` : text, text]))(
    'takes %j for no address',
    (_shown, text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );

  it.each([
    ['1.2.3.4', [1, 2, 3, 4]],
    ['::ffff:1.2.3.4', [1, 2, 3, 4]],
    ['2001:db8::1', [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
  ])('gives the bytes of %s in network order', (text, bytes) => {
    expect(parseAddress(text)?.bytes).toEqual(bytes);
  });

  it('answers for any text with a canonical address or nothing', () => {
    const text = fc.oneof(
      anyText(10),
      fc.string({ unit: fc.constantFrom(...'0123456789abcdefx:.[]% /') }),
      fc.ipV6(),
      fc.ipV4Extended(),
    );
    fc.assert(
      fc.property(text, (input) => {
        const address = parseAddress(input);
        if (address === undefined) return;
        expect(isIP(address.ip)).toBe(address.bytes.length === 4 ? 4 : 6);
        expect(parseAddress(address.ip)).toEqual(address);
      }),
      { numRuns: 5000 },
    );
  });

  it('reads each IPv6 address as the URL standard does', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
        const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(canonical);
        fc.pre(canonical !== '::' && mapped === null);
        expect(parseAddress(text)?.ip).toBe(canonical);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('addressKey', () => {
  it.each([
    ['1.2.3.4', undefined, '1.2.3.4'],
    ['::ffff:1.2.3.4', undefined, '1.2.3.4'],
    ['1.2.3.4', 32, '1.2.3.4'],
    ['2001:db8:1:2:3:4:5:6', undefined, '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', undefined, '2001:db8:1:2::/64'],
    ['2001:db8:1:3:3:4:5:6', undefined, '2001:db8:1:3::/64'],
    ['::1', undefined, '::/64'],
    ['[2001:db8:1:2::9]:80', undefined, '2001:db8:1:2::/64'],
    ['2001:db8:1:2ff:3:4:5:6', 56, '2001:db8:1:200::/56'],
    ['2001:db8:1:2ff:3:4:5:6', 57, '2001:db8:1:280::/57'],
    ['2001:db8:ffff:2::1', 48, '2001:db8:ffff::/48'],
    ['2001:db8:ffff:2::1', 32, '2001:db8::/32'],
    ['2001:db8::ffff', 127, '2001:db8::fffe/127'],
    ['2001:db8::ffff', 128, '2001:db8::ffff'],
    ['unknown', undefined, undefined],
    ['::', undefined, undefined],
    ['010.8.8.8', undefined, undefined],
  ])('of %s with prefix %s is %s', (ip, prefix, key) => {
    expect(prefix === undefined ? addressKey(ip) : addressKey(ip, prefix)).toBe(key);
  });

  it.each([31, 129, 64.5, Number.NaN])('is not made with prefix %s', (prefix) => {
    expect(() => addressKey('2001:db8::1', prefix)).toThrow(OptionError);
  });
});
