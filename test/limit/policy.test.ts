import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import {
  type DailyQuotaOptions,
  dailyQuota,
  type SlidingWindowOptions,
  slidingWindow,
} from '../../src/limit/policy.js';

const LIMIT_RULE = 'must be a positive integer';
const WINDOW_RULE = "must be a length of time such as '500ms', '30s', '15m' or '24h'";
const NAME_RULE = 'must be 1 to 64 letters, digits, dots, dashes or underscores';
const BY_RULE = "must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key";
const ZONE_RULE = "must be an IANA time zone such as 'Europe/Berlin'";

describe('slidingWindow', () => {
  it.each([
    ['60000ms', 60_000, '60s'],
    ['1m', 60_000, '60s'],
    ['24h', 86_400_000, '86400s'],
    ['400d', 34_560_000_000, '34560000s'],
    ['500ms', 500, '500ms'],
    ['1ms', 1, '1ms'],
    ['1.5s', 1500, '1500ms'],
  ] as const)('reads the window %o as %i ms and uses the name %s', (window, milliseconds, name) => {
    expect(slidingWindow({ limit: 5, window })).toMatchObject({ kind: 'sliding-window', window: milliseconds, name });
  });

  it.each([
    [1, '1m', 1],
    [512, '1m', 1],
    [513, '1m', 937],
    [513, '64s', 1000],
    [1_000_000_000, '63ms', 1],
    [513, '64ms', 1],
    [513, '127ms', 1],
  ] as const)('counts a limit of %i in a window of %o by ticks of %i ms', (limit, window, granule) => {
    expect(slidingWindow({ limit, window }).granule).toBe(granule);
  });

  it('has the same id as a policy of the same name and window, and as no other', () => {
    const { id } = slidingWindow({ limit: 5, window: '1m' });
    expect(slidingWindow({ limit: 900, window: '60000ms' }).id).toBe(id);
    expect(slidingWindow({ limit: 5, window: '1m', name: 'x' }).id).not.toBe(id);
    expect(slidingWindow({ limit: 5, window: '2m', name: '60s' }).id).not.toBe(id);
  });

  it.each<[unknown, string]>([
    [{ limit: 0, window: '1s' }, `"limit" ${LIMIT_RULE}, got 0`],
    [{ limit: -1, window: '1s' }, `"limit" ${LIMIT_RULE}, got -1`],
    [{ limit: 1.5, window: '1s' }, `"limit" ${LIMIT_RULE}, got 1.5`],
    [{ limit: Number.NaN, window: '1s' }, `"limit" ${LIMIT_RULE}, got NaN`],
    [{ limit: '5', window: '1s' }, `"limit" ${LIMIT_RULE}, got '5'`],
    [{ window: 1 }, `"limit" ${LIMIT_RULE}, got undefined`],
    [{ limit: 1_000_000_001, window: '1s' }, '"limit" must be at most 1000000000, got 1000000001'],
    [{ limit: 1 }, `"window" ${WINDOW_RULE}, got undefined`],
    [{ limit: 1, window: 0 }, "\"window\" needs a unit, got 0; write '0s' or '0ms'"],
    [{ limit: 1, window: -5 }, `"window" ${WINDOW_RULE}, got -5`],
    [{ limit: 1, window: 0.5 }, `"window" ${WINDOW_RULE}, got 0.5`],
    [{ limit: 1, window: Number.POSITIVE_INFINITY }, `"window" ${WINDOW_RULE}, got Infinity`],
    [{ limit: 1, window: '1 m' }, `"window" ${WINDOW_RULE}, got '1 m'`],
    [{ limit: 1, window: '1w' }, `"window" ${WINDOW_RULE}, got '1w'`],
    [{ limit: 1, window: '-1m' }, `"window" ${WINDOW_RULE}, got '-1m'`],
    [{ limit: 1, window: '0s' }, "\"window\" must be at least '1ms', got '0s'"],
    [{ limit: 1, window: '401d' }, "\"window\" must be at most '400d', got '401d'"],
    [{ limit: 1, window: '1s', name: '' }, `"name" ${NAME_RULE}, got ''`],
    [{ limit: 1, window: '1s', name: 'a b' }, `"name" ${NAME_RULE}, got 'a b'`],
    [{ limit: 1, window: '1s', name: 'a"' }, `"name" ${NAME_RULE}, got 'a"'`],
    [{ limit: 1, window: '1s', name: 'a\n' }, `"name" ${NAME_RULE}, got 'a\\n'`],
    [{ limit: 1, window: '1s', name: 'é' }, `"name" ${NAME_RULE}, got 'é'`],
    [{ limit: 1, window: '1s', name: '-a' }, `"name" ${NAME_RULE}, got '-a'`],
    [{ limit: 1, window: '1s', name: 'x'.repeat(65) }, `"name" ${NAME_RULE}, got '${'x'.repeat(65)}'`],
    [{ limit: 1, window: '1s', name: 5 }, `"name" ${NAME_RULE}, got 5`],
    [{ limit: 1, window: '1s', by: 'ip' }, `"by" ${BY_RULE}, got 'ip'`],
    [{ limit: 1, window: '1s', by: null }, `"by" ${BY_RULE}, got null`],
    [{ limit: 1, window: '1s', burst: 2 }, 'has no option "burst". It takes limit, window, name, by, cost'],
    [undefined, 'takes an object of options: slidingWindow({ ... })'],
    [[], 'takes an object of options: slidingWindow({ ... })'],
  ])('refuses the options %o', (options, message) => {
    expect(() => slidingWindow(options as SlidingWindowOptions)).toThrow(
      new OptionError(`gatewarden: slidingWindow ${message}`),
    );
  });
});

describe('dailyQuota', () => {
  it('counts UTC days under the name "daily" by default', () => {
    const policy = dailyQuota({ limit: 5 });
    expect(policy).toMatchObject({ kind: 'daily-quota', name: 'daily', limit: 5, window: 86_400_000 });
    expect(policy.dayOf(Date.UTC(2025, 5, 15, 12))).toEqual({
      start: Date.UTC(2025, 5, 15),
      end: Date.UTC(2025, 5, 16),
    });
  });

  it('has a different id for each time zone', () => {
    expect(dailyQuota({ limit: 5, timeZone: 'Europe/Berlin' }).id).not.toBe(dailyQuota({ limit: 5 }).id);
    expect(dailyQuota({ limit: 9, timeZone: 'UTC' }).id).toBe(dailyQuota({ limit: 5 }).id);
  });

  it.each<[unknown, string]>([
    [{ limit: 0 }, `"limit" ${LIMIT_RULE}, got 0`],
    [{ limit: 1, timeZone: 'Mars/Olympus' }, `"timeZone" ${ZONE_RULE}, got 'Mars/Olympus'`],
    [{ limit: 1, timeZone: '' }, `"timeZone" ${ZONE_RULE}, got ''`],
    [{ limit: 1, timeZone: null }, `"timeZone" ${ZONE_RULE}, got null`],
    [{ limit: 1, name: 'my quota' }, `"name" ${NAME_RULE}, got 'my quota'`],
    [{ limit: 1, by: 'ip' }, `"by" ${BY_RULE}, got 'ip'`],
    [
      { limit: 1, timezone: 'UTC' },
      'has no option "timezone". Did you mean "timeZone"? It takes limit, timeZone, name, by, cost',
    ],
    [7, 'takes an object of options: dailyQuota({ ... })'],
  ])('refuses the options %o', (options, message) => {
    expect(() => dailyQuota(options as DailyQuotaOptions)).toThrow(
      new OptionError(`gatewarden: dailyQuota ${message}`),
    );
  });
});
