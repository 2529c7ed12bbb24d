import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Leased, LeaseKeeper } from '../../src/limit/lease-keeper.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

const leased = (renew: () => boolean | Promise<boolean>): Leased => ({
  lease: 300,
  renew,
  lose: () => undefined,
  fault: () => undefined,
});

it('a lease whose renewals take long is renewed at a third of it, whatever is added meanwhile', async () => {
  const keeper = new LeaseKeeper();
  const start = performance.now();
  const renewedAt: number[] = [];
  keeper.add(
    leased(async () => {
      renewedAt.push(performance.now() - start);
      await new Promise((done) => setTimeout(done, 90));
      return true;
    }),
  );
  for (let i = 0; i < 50; i++) {
    await vi.advanceTimersByTimeAsync(20);
    const other = leased(() => true);
    keeper.add(other);
    setTimeout(() => keeper.remove(other), 250);
  }
  expect(renewedAt.length).toBeGreaterThanOrEqual(9);
  renewedAt.forEach((at, i) => {
    expect(at - (renewedAt[i - 1] ?? 0)).toBeLessThanOrEqual(110);
  });
});
