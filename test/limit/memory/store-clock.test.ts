import { afterEach, describe, expect, it, vi } from 'vitest';
import type * as MemoryStoreModule from '../../../src/limit/memory/memory-store.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const HOUR = 3_600_000;
const perMinute = (limit: number) => slidingWindow({ limit, window: '1m' });

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.resetModules();
});

describe('memoryStore without a clock of its own', () => {
  it('reports the time of day', () => {
    const before = Date.now();
    const { at, states } = memoryStore().admit([perMinute(1)], ['key'], [1]);
    // The two clocks of the system are a little apart.
    expect(at).toBeGreaterThanOrEqual(before - 25);
    expect(at).toBeLessThanOrEqual(Date.now() + 25);
    expect(states[0]?.resetAt).toBe(at + 60_000);
  });

  it.each<[what: string, fake: () => void]>([
    ['all clocks', () => vi.useFakeTimers()],
    ['only Date', () => vi.useFakeTimers({ toFake: ['Date'] })],
    ['only the time', () => vi.setSystemTime(NOON)],
  ])('follows fake timers that replace %s after it was made', (_, fake) => {
    const store = memoryStore();
    const passes = () =>
      store.admit([perMinute(1), dailyQuota({ limit: 2 })], ['key', 'key'], [1, 1]).kind === 'admitted';
    fake();
    vi.setSystemTime(NOON);
    expect([passes(), passes()]).toEqual([true, false]);
    vi.setSystemTime(NOON + 59_999);
    expect(passes()).toBe(false);
    vi.setSystemTime(NOON + 60_000);
    expect(passes()).toBe(true);
    vi.setSystemTime(NOON + 12 * HOUR);
    expect([passes(), passes()]).toEqual([true, false]);
  });

  it('follows timers that are advanced', () => {
    const store = memoryStore();
    vi.useFakeTimers();
    const passes = () => store.admit([perMinute(1)], ['key'], [1]).kind === 'admitted';
    expect([passes(), passes()]).toEqual([true, false]);
    vi.advanceTimersByTime(60_000);
    expect(passes()).toBe(true);
  });

  describe('whose system time jumps', () => {
    /** A store that takes these for the clocks of the system. */
    async function onSystem() {
      const system = { wall: NOON, steady: 5_000_000 };
      vi.spyOn(Date, 'now').mockImplementation(() => system.wall);
      vi.spyOn(performance, 'now').mockImplementation(() => system.steady);
      vi.resetModules();
      const { memoryStore }: typeof MemoryStoreModule = await import('../../../src/limit/memory/memory-store.js');
      const store = memoryStore();
      return {
        pass(ms: number) {
          system.wall += ms;
          system.steady += ms;
        },
        jump(ms: number) {
          system.wall += ms;
        },
        system,
        admit: (policy: QuotaPolicy = perMinute(2)) => store.admit([policy], ['key'], [1]),
      };
    }

    it.each([
      ['an hour forward', HOUR],
      ['a year forward', 365 * 24 * HOUR],
      ['an hour back', -HOUR],
      ['a year back', -365 * 24 * HOUR],
    ])('by %s, forgets no unit of a window early or late', async (_, jump) => {
      const clock = await onSystem();
      expect(clock.admit().kind).toBe('admitted');
      clock.pass(30_000);
      clock.jump(jump);
      expect(clock.admit().kind).toBe('admitted');
      expect(clock.admit().kind).toBe('refused');
      clock.pass(29_999);
      expect(clock.admit().kind).toBe('refused');
      clock.jump(-jump);
      expect(clock.admit().kind).toBe('refused');
      clock.pass(1);
      expect(clock.admit().kind).toBe('admitted');
      expect(clock.admit().kind).toBe('refused');
    });

    it('reports times of windows by the time of day that it then is', async () => {
      const clock = await onSystem();
      clock.admit();
      clock.pass(10_000);
      clock.jump(HOUR);
      expect(clock.admit()).toMatchObject({
        at: clock.system.wall,
        states: [{ remaining: 0, resetAt: clock.system.wall + 50_000 }],
      });
      expect(clock.admit()).toMatchObject({
        at: clock.system.wall,
        violations: [{ retryAt: clock.system.wall + 50_000 }],
      });
    });

    it('by a few milliseconds now and then, reports no time before one that it has reported', async () => {
      const clock = await onSystem();
      // As far ahead as a process that has run for weeks, and then read a millisecond early, late, or after a pause.
      clock.jump(300);
      let last = 0;
      for (const jitter of [0, 1, -1, 1, 15, -15, 0, -1, 0]) {
        clock.jump(jitter);
        for (const ms of [1, 999]) {
          clock.pass(ms);
          const { at } = clock.admit(perMinute(100));
          expect(at).toBeGreaterThanOrEqual(last);
          last = at;
        }
        clock.jump(-jitter);
      }
      expect(last).toBe(NOON + 9300);
    });

    it('does not take a pause between reading its two clocks for a jump', async () => {
      const clock = await onSystem();
      clock.admit();
      clock.pass(1000);
      vi.spyOn(Date, 'now').mockImplementationOnce(() => {
        clock.pass(500);
        return clock.system.wall;
      });
      expect(clock.admit(perMinute(100)).at).toBe(NOON + 1000);
      expect(clock.admit(perMinute(100)).at).toBe(NOON + 1500);
    });

    it('counts days by the time of day', async () => {
      const clock = await onSystem();
      const policy = dailyQuota({ limit: 1 });
      expect(clock.admit(policy)).toMatchObject({ kind: 'admitted', states: [{ resetAt: NOON + 12 * HOUR }] });
      clock.pass(HOUR);
      clock.jump(12 * HOUR);
      expect(clock.admit(policy)).toMatchObject({ kind: 'admitted', states: [{ resetAt: NOON + 36 * HOUR }] });
      clock.pass(2000);
      clock.jump(-12 * HOUR);
      expect(clock.admit(policy)).toMatchObject({ kind: 'refused', violations: [{ retryAt: NOON + 12 * HOUR }] });
    });
  });
});
