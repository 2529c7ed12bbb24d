import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseStrictJson } from '../../../src/auth/jwt/strict-json.js';

const RUNS = { numRuns: 2000 };

it('parses any JSON without a repeated name as JSON.parse does', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, null, space);
      expect(parseStrictJson(text)).toEqual(JSON.parse(text));
    }),
    RUNS,
  );
});

it('refuses any text that JSON.parse refuses', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      let parsed: unknown;
      try {
        parsed = JSON.parse(text);
      } catch {
        expect(() => parseStrictJson(text)).toThrow(SyntaxError);
        return;
      }
      expect(parseStrictJson(text)).toEqual(parsed);
    }),
    RUNS,
  );
});

it('refuses a repeated member name at any depth and with any escapes', () => {
  const escaped = (name: string) =>
    [...name].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'ab{}[]:,"\\') }),
      fc.jsonValue(),
      fc.jsonValue(),
      fc.array(fc.constantFrom('{"x":#}', '[1,#]', '{"y":[],"x":#}', '[{},#]'), { maxLength: 4 }),
      fc.boolean(),
      (name, one, two, around, escapeName) => {
        const again = escapeName ? `"${escaped(name)}"` : JSON.stringify(name);
        let text = `{${JSON.stringify(name)}:${JSON.stringify(one)},${again}:${JSON.stringify(two)}}`;
        for (const frame of around) text = frame.replace('#', () => text);
        JSON.parse(text);
        expect(() => parseStrictJson(text)).toThrow(SyntaxError);
      },
    ),
    RUNS,
  );
});
