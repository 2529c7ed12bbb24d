import { afterEach, expect, it, vi } from 'vitest';
import { ServerClock } from '../../../src/limit/redis/server-clock.js';

afterEach(() => {
  vi.useRealTimers();
});

it('the steady clock counts the time for which the machine was suspended, and never steps back', () => {
  vi.useFakeTimers({ now: 1_800_000_000_000, toFake: ['Date', 'performance'] });
  const clock = new ServerClock(undefined);
  const start = clock.steady();
  vi.advanceTimersByTime(100);
  expect(clock.steady() - start).toBe(100);
  // Only the time of day has moved.
  vi.setSystemTime(Date.now() + 5000);
  expect(clock.steady() - start).toBe(5100);
  vi.setSystemTime(Date.now() - 3_600_000);
  expect(clock.steady() - start).toBe(5100);
  vi.advanceTimersByTime(50);
  expect(clock.steady() - start).toBe(5150);
});
