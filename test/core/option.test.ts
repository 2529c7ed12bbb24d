import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Duration, milliseconds } from '../../src/core/duration.js';
import { badOption, badSecret, checkOptionNames, OptionError, oneOf, positiveInteger } from '../../src/core/option.js';

describe('a duration', () => {
  it.each([
    [1, 1],
    [1500, 1500],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ['1ms', 1],
    ['500ms', 500],
    ['30s', 30_000],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['090s', 90_000],
    ['999999999999999ms', 999_999_999_999_999],
    ['104249991d', 104_249_991 * 86_400_000],
  ])('of %j is %d ms', (value, expected) => {
    expect(milliseconds('limit', 'window', value)).toBe(expected);
  });

  it.each([
    [0],
    [-0],
    [-1],
    [1.5],
    [0.1],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [Number.NEGATIVE_INFINITY],
    [2 ** 53],
    ['0s'],
    ['0d'],
    ['-1s'],
    ['+1s'],
    ['1.5h'],
    ['1e3ms'],
    ['1 h'],
    [' 1h'],
    ['1h '],
    ['1h\n'],
    ['1h30m'],
    ['1,5h'],
    [''],
    ['h'],
    ['1'],
    ['1000'],
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
  ])('of %o is refused', (value) => {
    const act = () => milliseconds('limit', 'window', value as Duration);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(/^gatewarden: limit "window" must be a positive duration: .*, got ./);
  });

  it('may have a greatest value', () => {
    expect(milliseconds('limit', 'window', '1s', 1000)).toBe(1000);
    expect(() => milliseconds('limit', 'window', 1001, 1000)).toThrow(
      'gatewarden: limit "window" must be at most 1000 ms, got 1001',
    );
    expect(() => milliseconds('limit', 'window', '2s', 1000)).toThrow("at most 1000 ms, got '2s'");
  });

  it('is a positive whole number or refused, whatever is given', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.string({ unit: fc.constantFrom(...'0123456789.-msdh ') })), (value) => {
        let result: number;
        try {
          result = milliseconds('limit', 'window', value as Duration);
        } catch (error) {
          expect(error).toBeInstanceOf(OptionError);
          return;
        }
        expect(Number.isSafeInteger(result) && result > 0).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a positive integer', () => {
  it.each([[1], [5], [Number.MAX_SAFE_INTEGER]])('may be %d', (value) => {
    expect(positiveInteger('limit', 'limit', value)).toBe(value);
  });

  it.each([
    [0],
    [-1],
    [1.5],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [2 ** 53],
    ['5'],
    [null],
    [undefined],
    [[5]],
    [5n],
  ])('may not be %o', (value) => {
    const act = () => positiveInteger('slidingWindow', 'limit', value);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(/^gatewarden: slidingWindow "limit" must be (a positive integer|at most \d+), got /);
  });

  it('may have a greatest value', () => {
    expect(positiveInteger('limit', 'limit', 9, 9)).toBe(9);
    expect(() => positiveInteger('limit', 'limit', 10, 9)).toThrow('"limit" must be at most 9, got 10');
  });

  it('is shown as it was given when refused', () => {
    expect(() => positiveInteger('slidingWindow', 'limit', 0)).toThrow(
      'gatewarden: slidingWindow "limit" must be a positive integer, got 0',
    );
    expect(() => positiveInteger('slidingWindow', 'limit', '5')).toThrow(", got '5'");
  });
});

describe('one of several values', () => {
  it('is given back', () => {
    expect(oneOf('securityHeaders', 'preset', 'api', ['api', 'classic'])).toBe('api');
  });

  it.each([['API'], [''], [undefined], [null], [0], [['api']], ['constructor']])('is not %j', (value) => {
    const act = () => oneOf('securityHeaders', 'preset', value, ['api', 'classic']);
    expect(act).toThrow(OptionError);
    expect(act).toThrow('gatewarden: securityHeaders "preset" must be one of api, classic, got');
  });
});

describe('option names', () => {
  it('are taken where they are known', () => {
    expect(() => checkOptionNames('limit', {}, ['store'])).not.toThrow();
    expect(() => checkOptionNames('limit', { store: undefined }, ['store', 'by'])).not.toThrow();
  });

  it('are refused where they are not, with those that are', () => {
    const act = () => checkOptionNames('limit', { store: 1, stroe: 1 }, ['store', 'by']);
    expect(act).toThrow(OptionError);
    expect(act).toThrow('gatewarden: limit has no option "stroe". Did you mean "store"? It takes store, by');
  });

  it.each([[null], [undefined], [5], ['store'], [true], [[]], [() => undefined]])('are not those of %o', (options) => {
    expect(() => checkOptionNames('limit', options, [])).toThrow('gatewarden: limit takes an object of options');
  });
});

describe('an OptionError', () => {
  it('is a TypeError with a code and a name of its own', () => {
    const error = badOption('limit', 'by', 'must be a function', 5);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({
      name: 'OptionError',
      code: 'GATEWARDEN_BAD_OPTION',
      message: 'gatewarden: limit "by" must be a function, got 5',
    });
  });

  it.each([
    ['text', "'text'"],
    [undefined, 'undefined'],
    [-0, '-0'],
    [5n, '5n'],
    [Symbol('s'), 'Symbol(s)'],
    [{ password: 'a secret that an object may hold' }, '[Object]'],
    [new Map([['password', 'a secret']]), '[Map]'],
    [[{ password: 'a secret' }, 1], '[ [Object], 1 ]'],
    [Object.create(null), '[Object]'],
  ])('shows the value %o as %s', (value, shown) => {
    expect(badOption('limit', 'by', 'is wrong', value).message).toBe(`gatewarden: limit "by" is wrong, got ${shown}`);
  });

  it('stays short and on one line, however long the value', () => {
    for (const value of ['x'.repeat(100_000), Array.from({ length: 100_000 }, () => 1), 'a\nb']) {
      const { message } = badOption('limit', 'by', 'is wrong', value);
      expect(message.length).toBeLessThan(200);
      expect(message).not.toContain('\n');
    }
  });

  it('about a secret has the rule and no value', () => {
    expect(badSecret('sharedSecret', 'secrets[0]', 'must be a string')).toMatchObject({
      name: 'OptionError',
      message: 'gatewarden: sharedSecret "secrets[0]" must be a string',
    });
  });
});
