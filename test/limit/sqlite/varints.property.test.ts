import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NumberReader, NumberWriter } from '../../../src/limit/sqlite/varints.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 1000);

const numbers = fc.array(
  fc.oneof(
    fc.nat(300),
    fc.nat({ max: 2 ** 31 - 1 }),
    fc.maxSafeNat(),
    fc.constantFrom(127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 49 - 1, 2 ** 49, Number.MAX_SAFE_INTEGER),
  ),
  { maxLength: 200, size: 'max' },
);

it('reads the numbers that were written, and knows their end', () => {
  const writer = new NumberWriter();
  const property = fc.property(numbers, (values) => {
    writer.restart();
    for (const value of values) writer.write(value);
    const reader = new NumberReader(writer.bytes);
    for (const value of values) expect(reader.read()).toBe(value);
    expect(reader.isAtEnd).toBe(true);
    expect(() => reader.read()).toThrow(RangeError);
  });
  fc.assert(property, { numRuns: RUNS });
});

it('reads any bytes as safe whole numbers, or throws a RangeError', () => {
  const property = fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    const reader = new NumberReader(bytes);
    try {
      while (!reader.isAtEnd) expect(Number.isSafeInteger(reader.read())).toBe(true);
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
    }
  });
  fc.assert(property, { numRuns: RUNS });
});
