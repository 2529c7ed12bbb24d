import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressBytes, addressText, isMappedIpv4 } from '../../src/core/ip-literal.js';

/** RFC 5952 and RFC 4291: text, its bytes as groups, and the canonical text. */
const TEXTS: readonly (readonly [text: string, groups: readonly number[], canonical: string])[] = [
  ['::', [0, 0, 0, 0, 0, 0, 0, 0], '::'],
  ['::1', [0, 0, 0, 0, 0, 0, 0, 1], '::1'],
  ['1::', [1, 0, 0, 0, 0, 0, 0, 0], '1::'],
  ['1:2:3:4:5:6:7::', [1, 2, 3, 4, 5, 6, 7, 0], '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', [0, 2, 3, 4, 5, 6, 7, 8], '0:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7:8', [1, 2, 3, 4, 5, 6, 7, 8], '1:2:3:4:5:6:7:8'],
  ['2001:DB8::00AB', [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xab], '2001:db8::ab'],
  ['1:0:0:2:0:0:3:4', [1, 0, 0, 2, 0, 0, 3, 4], '1::2:0:0:3:4'],
  ['1:0:0:2:0:0:0:3', [1, 0, 0, 2, 0, 0, 0, 3], '1:0:0:2::3'],
  ['0:0:1:0:0:0:1:0', [0, 0, 1, 0, 0, 0, 1, 0], '0:0:1::1:0'],
  ['::1.2.3.4', [0, 0, 0, 0, 0, 0, 0x102, 0x304], '::102:304'],
  ['::ffff:255.254.1.0', [0, 0, 0, 0, 0, 0xffff, 0xfffe, 0x100], '::ffff:fffe:100'],
  ['64:ff9b::192.0.2.33', [0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221], '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:1.2.3.4', [1, 2, 3, 4, 5, 6, 0x102, 0x304], '1:2:3:4:5:6:102:304'],
];

describe('an IPv6 literal', () => {
  it.each(TEXTS)('%s is read and written as the RFCs say', (text, groups, canonical) => {
    const bytes = groups.flatMap((group) => [group >> 8, group & 0xff]);
    expect(isIPv6(text)).toBe(true);
    expect(addressBytes(text)).toEqual(bytes);
    expect(addressText(bytes)).toBe(canonical);
  });

  it('is written as the URL standard writes it, and read back as the same bytes', () => {
    // Zeros are frequent, so that every place of the longest run is reached.
    const group = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const bytes = groups.flatMap((value) => [value >> 8, value & 0xff]);
        const text = addressText(bytes);
        const full = groups.map((value) => value.toString(16)).join(':');
        expect(text).toBe(new URL(`http://[${full}]`).hostname.slice(1, -1));
        expect(addressBytes(text)).toEqual(bytes);
        expect(addressBytes(full)).toEqual(bytes);
      }),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['::ffff:1.2.3.4', true],
    ['::ffff:0:0', true],
    ['::fffe:1.2.3.4', false],
    ['::1:ffff:1.2.3.4', false],
    ['1::ffff:1.2.3.4', false],
    ['::1.2.3.4', false],
    ['1.2.3.4', false],
  ])('%s is IPv4-mapped: %s', (text, isMapped) => {
    expect(isMappedIpv4(addressBytes(text))).toBe(isMapped);
  });
});

it('an IPv4 literal is read and written as four numbers', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      expect(addressBytes(text)).toEqual(text.split('.').map(Number));
      expect(addressText(addressBytes(text))).toBe(text);
    }),
  );
});
