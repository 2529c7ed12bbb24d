import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { trustedHosts } from '../../src/edge/trusted-hosts.js';
import { anyText } from '../any-text.js';
import { type HeaderLine, testExchange } from '../exchange-fixture.js';

const host = (value: string): HeaderLine => ['Host', value];

describe('trustedHosts', () => {
  it('serves exactly the hosts that a character-by-character oracle serves', async () => {
    const guard = trustedHosts({
      hosts: ['example.com', '*.example.com', 'ported.test:8443', 'plain.test:80', '[::1]'],
    });
    /** RFC 9110 section 7.2 and the list, one character and one label at a time. */
    const isServed = (text: string) => {
      const chars = [...text.toLowerCase()];
      // Case is folded within ASCII only: the Kelvin sign does not match k.
      if (chars.some((char) => char > '~') || [...text].some((char) => char > '~')) return false;
      const bracket = chars.lastIndexOf(']');
      const colon = chars.lastIndexOf(':');
      const ported = colon > bracket;
      const digits = ported ? chars.slice(colon + 1) : ['8', '0'];
      if (digits.length < 1 || digits.length > 5 || !digits.every((char) => char >= '0' && char <= '9')) return false;
      const port = digits.reduce((sum, digit) => sum * 10 + Number(digit), 0);
      if (port === 0 || port > 65_535) return false;
      const name = (ported ? chars.slice(0, colon) : chars).join('');
      // One address has many spellings (RFC 4291 section 2.2).
      if (/^\[(?:0{1,4})?::(?:0{1,4}:)?0{0,3}1\]$/.test(name) || name === '[0:0:0:0:0:0:0:1]') return true;
      const labels = name.split('.');
      if (labels.length > 1 && labels.at(-1) === '') labels.pop();
      const isChar = (char: string) => 'abcdefghijklmnopqrstuvwxyz0123456789-_'.includes(char);
      if (!labels.every((label) => label.length > 0 && label.length < 64 && [...label].every(isChar))) return false;
      if (labels.at(-2) === 'example' && labels.at(-1) === 'com') return true;
      const whole = labels.join('.');
      return (whole === 'ported.test' && port === 8443) || (whole === 'plain.test' && port === 80);
    };
    const label = fc.oneof(
      fc.stringMatching(/^[a-z0-9_-]{0,3}$/),
      fc.constantFrom('EXAMPLE', 'example', 'a'.repeat(63), 'a'.repeat(64)),
    );
    const composed = fc
      .tuple(
        fc.array(label, { maxLength: 3 }),
        fc.constantFrom(
          'example.com',
          'evilexample.com',
          'example.org',
          'ported.test',
          'plain.test',
          '[::1]',
          '[::2]',
          '[0::1]',
          '[::0:01]',
          '[0:0:0:0:0:0:0:1]',
        ),
        fc.oneof(
          fc.constantFrom('', '.', ':80', ':8443', ':', ':0', ':00080', ':65536', '.:80', '..', ' '),
          fc.nat(70_000).map((port) => `:${port}`),
        ),
      )
      .map(([labels, name, rest]) => [...labels, name].join('.') + rest);
    const mutated = fc
      .tuple(
        fc.constantFrom('www.example.com', 'example.com:80', 'ported.test:8443', '[::1]:80'),
        fc.nat(16),
        fc.nat(1),
        fc.oneof(anyText(2), fc.constantFrom('.', ':', '@', ',', '/', '%', '\0', '\n', ' ')),
      )
      .map(([good, at, cut, put]) => good.slice(0, at) + put + good.slice(at + cut));
    let served = 0;
    fc.assert(
      fc.property(fc.oneof(composed, mutated), (name) => {
        const { exchange } = testExchange({ headers: [host(name)] });
        const expected = isServed(name);
        if (expected) served++;
        expect(guard(exchange)).toEqual(expected ? undefined : expect.objectContaining({ status: 400 }));
      }),
      { numRuns: 5000 },
    );
    expect(served).toBeGreaterThan(100);
  });
});
