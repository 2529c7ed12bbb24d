import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type LearnedEstimateOptions, learnedEstimate } from '../../src/limit/policy.js';
import { testExchange } from '../exchange-fixture.js';

const LIMIT = 100_000;

describe('learnedEstimate', () => {
  it('starts with a tenth of the limit, or with what it is told', () => {
    expect(learnedEstimate().of('a', LIMIT)).toBe(10_000);
    expect(learnedEstimate({ initial: '3s' }).of('a', LIMIT)).toBe(3000);
  });

  it('is never below the longest job of a key that has few', () => {
    const estimate = learnedEstimate({ initial: '3s' });
    estimate.learn('a', 7000);
    expect(estimate.of('a', LIMIT)).toBe(7000);
    expect(estimate.of('b', LIMIT)).toBe(3000);
  });

  it('is what nine of ten jobs of a key took at most, from eight jobs on', () => {
    const estimate = learnedEstimate({ initial: '3s' });
    for (let i = 1; i <= 7; i++) estimate.learn('a', i * 10);
    expect(estimate.of('a', LIMIT)).toBe(3000);
    estimate.learn('a', 80);
    expect(estimate.of('a', LIMIT)).toBe(80);
    for (let i = 9; i <= 30; i++) estimate.learn('a', i * 10);
    expect(estimate.of('a', LIMIT)).toBe(280);
  });

  it('of a new key is what the jobs of all keys took', () => {
    const estimate = learnedEstimate({ initial: '3s' });
    for (let i = 0; i < 20; i++) estimate.learn(`key-${i}`, 500);
    expect(estimate.of('another', LIMIT)).toBe(500);
  });

  it('of a new key is not taught by one key alone', () => {
    const estimate = learnedEstimate({ initial: '3s' });
    for (let i = 0; i < 100; i++) estimate.learn('a', 1);
    expect(estimate.of('another', LIMIT)).toBe(3000);
    for (let i = 0; i < 7; i++) estimate.learn(`key-${i}`, 500);
    expect(estimate.of('another', LIMIT)).toBe(3000);
    estimate.learn('key-7', 500);
    expect(estimate.of('another', LIMIT)).toBe(500);
  });

  it('of a new key counts a quarter of the latest jobs from one key at most', () => {
    const estimate = learnedEstimate({ quantile: 0.5 });
    for (let i = 0; i < 24; i++) estimate.learn(`key-${i}`, 500);
    for (let i = 0; i < 100; i++) estimate.learn('a', 1);
    // Without the bound, all of the latest 32 jobs would be of one key.
    expect(estimate.of('another', LIMIT)).toBe(500);
    for (let i = 0; i < 32; i++) estimate.learn(`late-${i}`, 700);
    expect(estimate.of('another', LIMIT)).toBe(700);
  });

  it('is never above the limit', () => {
    const estimate = learnedEstimate({ initial: '3s' });
    expect(estimate.of('new', 2000)).toBe(2000);
    for (let i = 0; i < 8; i++) estimate.learn('own', 11_000);
    for (let i = 0; i < 8; i++) estimate.learn(`key-${i}`, 11_000);
    for (const key of ['own', 'key-0', 'new']) expect(estimate.of(key, 10_000)).toBe(10_000);
    expect(estimate.of('new', 20_000)).toBe(11_000);
  });

  it('follows jobs that become longer or shorter', () => {
    const estimate = learnedEstimate();
    for (let i = 0; i < 100; i++) estimate.learn('a', 100);
    for (let i = 0; i < 4; i++) estimate.learn('a', 9000);
    expect(estimate.of('a', LIMIT)).toBe(9000);
    for (let i = 0; i < 32; i++) estimate.learn('a', 50);
    expect(estimate.of('a', LIMIT)).toBe(50);
  });

  it('remembers a bounded number of keys', () => {
    const estimate = learnedEstimate({ initial: '3s', maxEntries: 2 });
    for (const key of ['a', 'b', 'c']) for (let i = 0; i < 8; i++) estimate.learn(key, key === 'a' ? 10 : 20);
    expect(estimate.of('b', LIMIT)).toBe(20);
    // The first key is forgotten, and counts as all do.
    expect(estimate.of('a', LIMIT)).toBe(20);
  });

  it('tells jobs apart by a function of the exchange', () => {
    const { exchange } = testExchange({ url: '/large' });
    expect(learnedEstimate().keyOf(exchange, 'alice')).toBe('alice');
    expect(learnedEstimate({ by: ({ request }) => request.url }).keyOf(exchange, 'alice')).toBe('/large');
  });

  it('covers the asked part of the latest 32 jobs, and is one of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 8, maxLength: 100 }),
        fc.double({ min: 0.5, max: 1, noNaN: true }),
        (jobs, quantile) => {
          const estimate = learnedEstimate({ quantile });
          for (const ms of jobs) estimate.learn('a', ms);
          const latest = jobs.slice(-32);
          const value = estimate.of('a', 1_000_000);
          expect(latest).toContain(value);
          expect(latest.filter((ms) => ms <= value).length).toBeGreaterThanOrEqual(quantile * latest.length);
        },
      ),
    );
  });

  it.each<[unknown, string]>([
    [{ quantile: 0.4 }, '"quantile" must be a number from 0.5 to 1, got 0.4'],
    [{ quantile: Number.NaN }, '"quantile" must be a number from 0.5 to 1, got NaN'],
    [{ initial: 5 }, "\"initial\" needs a unit, got 5; write '5s' or '5ms'"],
    [{ by: 'model' }, '"by" must be a function, got \'model\''],
    [{ maxEntries: 0 }, '"maxEntries" must be a positive integer, got 0'],
    [{ max: 1 }, 'has no option "max". It takes initial, quantile, by, maxEntries'],
  ])('refuses the options %o', (options, message) => {
    expect(() => learnedEstimate(options as LearnedEstimateOptions)).toThrow(
      new OptionError(`gatewarden: learnedEstimate ${message}`),
    );
  });
});
