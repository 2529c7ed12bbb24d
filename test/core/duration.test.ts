import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { type Duration, durationOf, milliseconds, toMilliseconds } from '../../src/core/duration.js';
import { OptionError } from '../../src/core/option.js';

describe('a duration', () => {
  it.each([
    ['1ms', 1],
    ['500ms', 500],
    ['30s', 30_000],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['090s', 90_000],
    ['1.5h', 5_400_000],
    ['1.1s', 1100],
    ['0.001s', 1],
    ['999999999999999ms', 999_999_999_999_999],
    ['104249991d', 104_249_991 * 86_400_000],
  ])('of %j is %d ms', (value, expected) => {
    expect(milliseconds('limit', 'window', value)).toBe(expected);
  });

  it.each([
    [60, '60'],
    [0, '0'],
    [1, '1'],
    ['60', "'60'"],
    ['1000', "'1000'"],
  ])('of %j is refused with the two spellings that it may have meant', (value, shown) => {
    const act = () => milliseconds('slidingWindow', 'window', value);
    expect(act).toThrow(
      new OptionError(
        `gatewarden: slidingWindow "window" needs a unit, got ${shown}; write '${value}s' or '${value}ms'`,
      ),
    );
  });

  it.each([
    [-1],
    [1.5],
    [0.1],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [Number.NEGATIVE_INFINITY],
    ['-1s'],
    ['+1s'],
    ['0.0001s'],
    ['1.5ms'],
    ['.5s'],
    ['1.s'],
    ['1e3ms'],
    ['1 h'],
    [' 1h'],
    ['1h '],
    ['1h\n'],
    ['1h30m'],
    ['1,5h'],
    [''],
    ['h'],
    ['1w'],
    ['1y'],
    ['1H'],
    ['1Ms'],
    ['1min'],
    ['1sec'],
    ['\u0661h'],
    ['1constructor'],
    ['999999999999999d'],
    ['104249992d'],
    ['1000000000000000ms'],
    [true],
    [null],
    [undefined],
    [[5]],
    [['1h']],
    [{}],
    [5n],
    [new Date(5)],
  ])('of %o is refused with examples', (value) => {
    const act = () => milliseconds('limit', 'window', value);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(
      /^gatewarden: limit "window" must be a length of time such as '500ms', '30s', '15m' or '24h', got ./,
    );
  });

  it('has a least and a greatest value, which the message writes with a unit', () => {
    expect(milliseconds('limit', 'window', '1s', 1000)).toBe(1000);
    expect(() => milliseconds('limit', 'window', '1001ms', 1000)).toThrow(
      "gatewarden: limit \"window\" must be at most '1s', got '1001ms'",
    );
    expect(() => milliseconds('limit', 'window', '0s')).toThrow("\"window\" must be at least '1ms', got '0s'");
    expect(milliseconds('jwt', 'clockTolerance', '0s', 1000, 0)).toBe(0);
  });

  it('is a whole number of milliseconds within its bounds or refused, whatever is given', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789.-msdh ') });
    fc.assert(
      fc.property(fc.oneof(fc.anything(), text), (value) => {
        let result: number;
        try {
          result = milliseconds('limit', 'window', value);
        } catch (error) {
          expect(error).toBeInstanceOf(OptionError);
          return;
        }
        expect(Number.isSafeInteger(result) && result > 0).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('does not compile as a number or as text without a unit', () => {
    expectTypeOf<'60s'>().toExtend<Duration>();
    expectTypeOf<60>().not.toExtend<Duration>();
    expectTypeOf<'60'>().not.toExtend<Duration>();
    expectTypeOf<string>().not.toExtend<Duration>();
  });
});

describe('durationOf', () => {
  it.each([
    [1, '1ms'],
    [1000, '1s'],
    [1500, '1500ms'],
    [90_000, '90s'],
    [60_000, '1m'],
    [86_400_000, '1d'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(durationOf(ms)).toBe(text);
  });

  it('is read back by milliseconds, whatever the length', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999_999_999 }), (ms) => {
        expect(milliseconds('limit', 'window', durationOf(ms))).toBe(ms);
      }),
    );
  });
});

describe('toMilliseconds', () => {
  it('returns a number for timers', () => {
    expect(toMilliseconds('1.5s')).toBe(1500);
    expect(toMilliseconds('0s')).toBe(0);
    expect(() => toMilliseconds(5 as never)).toThrow("needs a unit, got 5; write '5s' or '5ms'");
  });
});
