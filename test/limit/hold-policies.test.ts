import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { limit } from '../../src/limit/limit.js';
import {
  type Concurrency,
  type ConcurrencyOptions,
  concurrency,
  type GpuTime,
  type GpuTimeOptions,
  gpuTime,
  learnedEstimate,
  slidingWindow,
} from '../../src/limit/policy.js';

const ESTIMATE_RULE =
  "must be what a job takes, such as '30s', a function that returns milliseconds, or learnedEstimate(), which learns it";
const WINDOW_RULE = "must be a length of time such as '500ms', '30s', '15m' or '24h'";
const NAME_RULE = 'must be 1 to 64 letters, digits, dots, dashes or underscores';
const BY_RULE = "must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key";

describe('concurrency', () => {
  it('holds one slot for 30 seconds by default', () => {
    expect(concurrency({ limit: 4 })).toEqual({
      kind: 'concurrency',
      name: 'concurrency',
      limit: 4,
      lease: 30_000,
      window: 30_000,
      by: undefined,
      cost: 1,
      id: 'concurrency/concurrency',
    });
  });

  it('counts under its name alone, whatever the lease and the limit', () => {
    const { id } = concurrency({ limit: 4, name: 'gpu' });
    expect(concurrency({ limit: 9, name: 'gpu', lease: '1m' }).id).toBe(id);
    expect(concurrency({ limit: 4 }).id).not.toBe(id);
    expect(slidingWindow({ limit: 4, window: '30s', name: 'gpu' }).id).not.toBe(id);
    expect(gpuTime({ limit: '4s', window: '30s', name: 'gpu', estimate: '1s' }).id).not.toBe(id);
  });

  it.each<[unknown, string]>([
    [{ limit: 0 }, '"limit" must be a positive integer, got 0'],
    [{ limit: 1001 }, '"limit" must be at most 1000, got 1001'],
    [{ limit: 1, lease: 30 }, "\"lease\" needs a unit, got 30; write '30s' or '30ms'"],
    [{ limit: 1, lease: '99ms' }, "\"lease\" must be at least '100ms', got '99ms'"],
    [{ limit: 1, lease: '25h' }, "\"lease\" must be at most '1d', got '25h'"],
    [{ limit: 1, name: 'a b' }, `"name" ${NAME_RULE}, got 'a b'`],
    [{ limit: 1, by: 'ip' }, `"by" ${BY_RULE}, got 'ip'`],
    [{ limit: 1, cost: 0 }, '"cost" must be a positive integer, got 0'],
    [{ limit: 1, window: '1m' }, 'has no option "window". It takes limit, by, lease, name, cost'],
    [3, 'takes an object of options: concurrency({ ... })'],
  ])('refuses the options %o', (options, message) => {
    expect(() => concurrency(options as ConcurrencyOptions)).toThrow(
      new OptionError(`gatewarden: concurrency ${message}`),
    );
  });
});

describe('gpuTime', () => {
  it('counts milliseconds of a window', () => {
    const policy = gpuTime({ limit: '10m', window: '1h', estimate: '30s' });
    expect(policy).toEqual({
      kind: 'gpu-time',
      name: 'gpu-time',
      limit: 600_000,
      window: 3_600_000,
      granule: 56_250,
      lease: 30_000,
      estimate: 30_000,
      by: undefined,
      cost: undefined,
      timeZone: undefined,
      dayOf: undefined,
      id: 'gpu-time/gpu-time/3600000',
    });
  });

  it('counts milliseconds of a calendar day', () => {
    const policy = gpuTime({ limit: '10m', window: 'day', timeZone: 'Europe/Berlin', estimate: () => 5, name: 'gpu' });
    expect(policy).toMatchObject({ window: 86_400_000, timeZone: 'Europe/Berlin', id: 'gpu/gpu-time/Europe/Berlin' });
    expect(policy.dayOf?.(Date.UTC(2025, 5, 15, 12))).toEqual({
      start: Date.UTC(2025, 5, 14, 22),
      end: Date.UTC(2025, 5, 15, 22),
    });
  });

  it.each<[unknown, string]>([
    [{ limit: 600, window: '1h', estimate: '1s' }, "\"limit\" needs a unit, got 600; write '600s' or '600ms'"],
    [{ limit: '1000001s', window: '1h', estimate: '1s' }, "\"limit\" must be at most '1000000s', got '1000001s'"],
    [{ limit: '1s', window: 'hour', estimate: '1s' }, `"window" ${WINDOW_RULE}, got 'hour'`],
    [{ limit: '1s', window: '401d', estimate: '1s' }, "\"window\" must be at most '400d', got '401d'"],
    [{ limit: '1s', window: '1h' }, `"estimate" ${ESTIMATE_RULE}, got undefined`],
    [{ limit: '1s', window: '1h', estimate: 30 }, "\"estimate\" needs a unit, got 30; write '30s' or '30ms'"],
    [{ limit: '1s', window: '1h', estimate: {} }, `"estimate" ${WINDOW_RULE}, got [Object]`],
    [{ limit: '1s', window: '1h', estimate: '1s', lease: '1ms' }, "\"lease\" must be at least '100ms', got '1ms'"],
    [
      { limit: '1s', window: 'day', estimate: '1s', timeZone: 'Mars' },
      "\"timeZone\" must be an IANA time zone such as 'Europe/Berlin', got 'Mars'",
    ],
    [
      { limit: '1s', window: '24h', estimate: '1s', timeZone: 'UTC' },
      "\"timeZone\" applies to calendar days, got 'UTC'; set window: 'day'",
    ],
    [
      { limit: '1s', window: '1h', cost: 5 },
      'has no option "cost". It takes limit, window, estimate, lease, name, by, timeZone',
    ],
  ])('refuses the options %o', (options, message) => {
    expect(() => gpuTime(options as GpuTimeOptions)).toThrow(new OptionError(`gatewarden: gpuTime ${message}`));
  });
});

describe('limit checks what a policy by hand says', () => {
  const gpu = gpuTime({ limit: '10m', window: '1h', estimate: '30s' });
  const day = gpuTime({ limit: '10m', window: 'day', estimate: learnedEstimate(), timeZone: 'Asia/Kolkata' });
  it.each<[string, Concurrency | GpuTime, string]>([
    ['a limit', { ...concurrency({ limit: 1 }), limit: Number.NaN }, 'concurrency "limit"'],
    ['a lease', { ...concurrency({ limit: 1 }), lease: 0 }, 'concurrency "lease"'],
    ['a window', { ...gpu, window: 0 }, 'gpuTime "window"'],
    ['an estimate', { ...gpu, estimate: -1 }, 'gpuTime "estimate"'],
    ['a time zone', { ...day, timeZone: 'nowhere' }, 'gpuTime "timeZone"'],
  ])('of %s', (_, policy, message) => {
    expect(() => limit({ by: 'global', policies: policy })).toThrow(message);
  });

  it('and accepts those that the factories made', () => {
    expect(() =>
      limit({ by: 'global', policies: [concurrency({ limit: 1 }), { ...gpu, name: 'a' }, day] }),
    ).not.toThrow();
  });
});
