import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { epochMilliseconds, storedTime, time } from '../../src/core/time.js';

const MOMENT = Date.UTC(2026, 2, 1);

describe('a time', () => {
  it.each([
    ['a Date', new Date(MOMENT)],
    ['epoch milliseconds', MOMENT],
    ['ISO 8601 in UTC', '2026-03-01T00:00:00Z'],
    ['ISO 8601 with a fraction', '2026-03-01T00:00:00.000Z'],
    ['ISO 8601 with an offset', '2026-03-01T01:00:00+01:00'],
    ['ISO 8601 without seconds', '2026-03-01T00:00Z'],
  ])('may be %s', (_what, value) => {
    expect(time('sharedSecret', 'expiresAt', value)).toBe(MOMENT);
    expect(storedTime('sharedSecret', 'expiresAt', value)).toBe('2026-03-01T00:00:00.000Z');
  });

  it('may be left out', () => {
    expect(time('sharedSecret', 'expiresAt', undefined)).toBeUndefined();
  });

  it.each<[string, unknown]>([
    ['an invalid Date', new Date(Number.NaN)],
    ['epoch seconds', MOMENT / 1000],
    ['a date without a time', '2026-03-01'],
    ['a time without a zone', '2026-03-01T00:00:00'],
    ['a day that does not exist', '2026-02-30T00:00:00Z'],
    ['a year after 9999', 253_402_300_800_000],
    ['NaN', Number.NaN],
    ['null', null],
    ['a boolean', true],
    ['words', 'tomorrow'],
  ])('may not be %s', (_what, value) => {
    expect(epochMilliseconds(value)).toBeUndefined();
    const act = () => time('sharedSecret', 'expiresAt', value as Date);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(
      'gatewarden: sharedSecret "expiresAt" must be a valid Date, an ISO 8601 time with its zone, or epoch milliseconds, from 1973 to 9999',
    );
  });

  it('that is text is not shown, as it may be a secret in the wrong place', () => {
    expect(() => time('sharedSecret', 'expiresAt', 'c4n4ry-secret')).toThrow(/^(?!.*c4n4ry)/);
  });
});
