import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type MemoryReplayStoreOptions,
  memoryReplayStore,
} from '../../../src/auth/signed-request/memory-replay-store.js';
import { OptionError } from '../../../src/core/option.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { replayStoreContract } from '../../contracts/replay-store.js';
import { NOW } from './signed-request-cases.js';

const MINUTE = 60_000;

replayStoreContract('memoryReplayStore', () => ({
  store: memoryReplayStore({ now: () => NOW }),
  others: [],
  now: NOW,
}));

describe('memoryReplayStore', () => {
  it('keeps a key until exactly when it expires', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ now: clock.now });
    expect(store.remember('a', NOW + 10)).toBe('new');
    clock.set(NOW + 9);
    expect([store.has('a'), store.remember('a', NOW + MINUTE)]).toEqual([true, 'seen']);
    clock.set(NOW + 10);
    expect([store.has('a'), store.remember('a', NOW + MINUTE)]).toEqual([false, 'new']);
    clock.set(NOW + MINUTE - 1);
    expect(store.remember('a', NOW + 2 * MINUTE)).toBe('seen');
  });

  it('never drops a live key for another one, and reports that it is full', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ maxEntries: 3, now: clock.now });
    for (const key of ['a', 'b', 'c']) expect(store.remember(key, NOW + MINUTE)).toBe('new');
    for (let i = 0; i < 100; i++) expect(store.remember(`flood-${i}`, NOW + 2 * MINUTE)).toBe('full');
    for (const key of ['a', 'b', 'c']) expect(store.remember(key, NOW + MINUTE)).toBe('seen');
    expect(store.size).toBe(3);
    clock.advance(MINUTE);
    for (const key of ['d', 'e', 'f']) expect(store.remember(key, NOW + 2 * MINUTE)).toBe('new');
    expect(store.remember('g', NOW + 2 * MINUTE)).toBe('full');
  });

  it('removes expired keys a few at a time, as others are added', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ now: clock.now });
    for (let i = 0; i < 1000; i++) store.remember(`old-${i}`, NOW + 1 + (i % 100));
    clock.advance(100);
    let size = store.size;
    for (let i = 0; size > 600; i++) {
      expect(store.remember(`new-${i}`, NOW + MINUTE)).toBe('new');
      expect(size - store.size).toBe(1);
      size = store.size;
    }
    for (let i = 0; i < 10_000; i++) store.remember(`new-${i}`, NOW + MINUTE);
    expect(store.size).toBe(10_000);
  });

  it('keeps a key that was remembered again, even when its first expiry is removed', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ now: clock.now });
    [...'abcdefgh'].forEach((key, i) => {
      store.remember(key, NOW + 1 + i);
    });
    clock.advance(8);
    expect(store.remember('h', NOW + MINUTE)).toBe('new');
    for (let i = 0; i < 10; i++) store.remember(`other-${i}`, NOW + MINUTE);
    expect(store.remember('h', NOW + MINUTE)).toBe('seen');
    expect(store.size).toBe(11);
  });

  it('never reports a key as new that it may have forgotten, if the clock is set back', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ now: clock.now });
    store.remember('a', NOW + 5000);
    clock.advance(5000);
    store.remember('b', NOW + MINUTE);
    clock.set(NOW);
    expect(store.remember('a', NOW + 5000)).toBe('seen');
    expect(store.remember('b', NOW + MINUTE)).toBe('seen');
    expect(store.remember('c', NOW + MINUTE)).toBe('new');
  });

  it('accepts new keys again after the lifetime of its keys, if the clock was a day ahead for a while', () => {
    const clock = new ManualClock(NOW);
    const store = memoryReplayStore({ now: clock.now });
    store.remember('a', NOW + MINUTE);
    clock.advance(24 * 60 * MINUTE);
    store.remember('b', clock.now() + MINUTE);
    clock.set(NOW + 1000);
    expect(store.remember('c', NOW + MINUTE)).toBe('seen');
    expect(store.remember('d', NOW + MINUTE + 1)).toBe('new');
  });

  it('reports nothing as new while its clock returns NaN, and forgets nothing', () => {
    let time = NOW;
    const store = memoryReplayStore({ now: () => time });
    store.remember('a', NOW + MINUTE);
    time = Number.NaN;
    expect([store.remember('a', NOW + MINUTE), store.remember('b', NOW + MINUTE)]).toEqual(['seen', 'seen']);
    time = NOW;
    expect([store.remember('a', NOW + MINUTE), store.remember('b', NOW + MINUTE)]).toEqual(['seen', 'new']);
  });

  it('decides as a plain list that forgets nothing, for any sequence of keys', () => {
    const step = fc.record({
      key: fc.constantFrom(...'abcdefgh'),
      lives: fc.integer({ min: 1, max: 50 }),
      passes: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 200 }), (maxEntries, steps) => {
        const clock = new ManualClock(NOW);
        const store = memoryReplayStore({ maxEntries, now: clock.now });
        const list: { key: string; until: number }[] = [];
        for (const { key, lives, passes } of steps) {
          clock.advance(passes);
          const until = clock.now() + lives;
          const live = list.filter((entry) => entry.until > clock.now());
          const answer = store.remember(key, until);
          if (live.some((entry) => entry.key === key)) expect(answer).toBe('seen');
          else expect(answer).toBe(live.length < maxEntries ? 'new' : 'full');
          if (answer === 'new') list.push({ key, until });
          expect(store.size).toBeLessThanOrEqual(maxEntries);
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a maxEntries of 0', { maxEntries: 0 }, '"maxEntries"'],
    ['a maxEntries over the maximum', { maxEntries: 10_000_001 }, '"maxEntries"'],
    ['a clock that is not a function', { now: NOW }, '"now"'],
    ['a misspelt option', { maxKeys: 1 }, '"maxKeys"'],
  ])('throws for %s', (_what, options, named) => {
    const make = () => memoryReplayStore(options as MemoryReplayStoreOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
  });
});

it('begins at its first use on a runtime that has no time while modules load', () => {
  let time = 0;
  const store = memoryReplayStore({ now: () => time });
  time = 1_800_000_000_000;
  expect(store.since).toBe(1_800_000_000_000);
  time += 1000;
  expect(store.since).toBe(1_800_000_000_000);
});
