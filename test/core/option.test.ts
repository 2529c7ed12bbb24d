import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  badOption,
  badSecret,
  boolean,
  callback,
  checkOptionNames,
  clock,
  OptionError,
  oneOf,
  positiveInteger,
  text,
} from '../../src/core/option.js';

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

describe('checkOptionNames', () => {
  const NAMES = { store: true, by: true, refusalCache: true, timeout: true } as const;

  it('accepts the names that the factory has', () => {
    expect(() => checkOptionNames('limit', {}, NAMES)).not.toThrow();
    expect(() => checkOptionNames('limit', { store: undefined, by: 1 }, NAMES)).not.toThrow();
  });

  it.each([
    ['stroe', 'store'],
    ['stores', 'store'],
    ['Store', 'store'],
    ['TIMEOUT', 'timeout'],
    ['timeOut', 'timeout'],
    ['refusalcache', 'refusalCache'],
    ['refusal', undefined],
    ['b', undefined],
    ['to', undefined],
    ['deadline', undefined],
    ['constructor', undefined],
    ['', undefined],
  ])('refuses the name %j and suggests %s', (name, meant) => {
    const hint = meant === undefined ? '' : ` Did you mean "${meant}"?`;
    const act = () => checkOptionNames('limit', { store: 1, [name]: 1 }, NAMES);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(
      new OptionError(`gatewarden: limit has no option "${name}".${hint} It takes store, by, refusalCache, timeout`),
    );
  });

  it.each([[null], [undefined], [5], ['store'], [true], [[]], [() => undefined]])(
    'refuses %o as options',
    (options) => {
      expect(() => checkOptionNames('limit', options, NAMES)).toThrow('gatewarden: limit takes an object of options');
    },
  );

  it.each([[new Map([['store', 1]])], [new Set(['store'])], [new Headers({ store: '1' })]])(
    'refuses %o, whose members are no options and would be lost',
    (options) => {
      expect(() => checkOptionNames('limit', options, NAMES)).toThrow('gatewarden: limit takes an object of options');
    },
  );

  it('refuses a promise of options, which would be lost', () => {
    expect(() => checkOptionNames('limit', Promise.resolve({ store: 1 }), NAMES)).toThrow(
      new OptionError('gatewarden: limit takes an object of options: limit({ ... }), got a promise; wait for it'),
    );
  });
});

describe('the checks of single options', () => {
  it('return what they accept', () => {
    const now = () => 5;
    expect(boolean('cors', 'credentials', false)).toBe(false);
    expect(callback('limit', 'skip', now)).toBe(now);
    expect(callback('limit', 'skip', undefined)).toBeUndefined();
    expect(clock('limit', now)).toBe(now);
    expect(text('authenticate', 'realm', 'api')).toBe('api');
  });

  it.each<[string, () => unknown, string]>([
    [
      'text for a boolean',
      () => boolean('cors', 'credentials', 'true'),
      '"credentials" must be true or false, got \'true\'',
    ],
    [
      'no boolean',
      () => boolean('cors', 'credentials', undefined),
      '"credentials" must be true or false, got undefined',
    ],
    ['a number for a function', () => callback('cors', 'skip', 5 as never), '"skip" must be a function, got 5'],
    ['null for a function', () => callback('cors', 'skip', null as never), '"skip" must be a function, got null'],
    ['a time for a clock', () => clock('cors', 5 as never), '"now" must be a function, got 5'],
    ['empty text', () => text('cors', 'realm', ''), '"realm" must be a non-empty string, got \'\''],
    ['a list for text', () => text('cors', 'realm', ['a']), '"realm" must be a non-empty string, got [ \'a\' ]'],
  ])('refuse %s', (_what, act, message) => {
    expect(act).toThrow(OptionError);
    expect(act).toThrow(`gatewarden: cors ${message}`);
  });

  describe('clock', () => {
    afterEach(() => vi.useRealTimers());

    it('without an option follows fake timers that start later', () => {
      const now = clock('limit', undefined);
      vi.useFakeTimers({ now: 1_000_000_000_000 });
      expect(now()).toBe(1_000_000_000_000);
    });
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
