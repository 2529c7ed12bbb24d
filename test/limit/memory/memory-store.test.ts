import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { type MemoryStore, type MemoryStoreOptions, memoryStore } from '../../../src/limit/memory/memory-store.js';
import { slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../contracts/limit-store-holds.js';
import { NOON, passes, perDay, perMinute, perSecond, receiptOf, remaining, setup } from './one-policy.js';

const DAY = 86_400_000;

limitStoreContract('memoryStore', () => {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries: 1000, now: clock.now }), clock };
});

limitStoreHoldsContract('memoryStore', () => {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries: 1000, now: clock.now }), clock };
});

it('memoryStore keeps only the key alive, not the header that it was cut from', () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const { store } = setup(1000);
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 300; i++) {
    const header = Buffer.alloc(100_000, `${i} `).toString('latin1');
    passes(store, perMinute(1), header.slice(0, 40 + (i % 60)));
  }
  collect();
  // The headers are 30 MB.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(15_000_000);
  expect(store.size).toBe(300);
});

describe('memoryStore frees expired counters', () => {
  it.each([
    ['one policy', [perSecond(2000)], 2],
    ['two policies', [perSecond(2000), perMinute(2000)], 4],
  ] as const)('a few with each admission over %s', (_, policies, mostAtOnce) => {
    const { store, clock } = setup(10_000);
    for (let i = 0; i < 1000; i++)
      store.admit(
        policies,
        policies.map(() => `key-${i}`),
        policies.map(() => 1),
      );
    expect(store.size).toBe(1000 * policies.length);
    clock.advance(61_000);
    for (let i = 0; i < 1000; i++) {
      const before = store.size;
      store.admit(
        policies,
        policies.map(() => 'another'),
        policies.map(() => 1),
      );
      expect(before - store.size).toBeLessThanOrEqual(mostAtOnce);
    }
    expect(store.size).toBe(policies.length);
  });

  it('faster than new ones are created', () => {
    const { store, clock } = setup(10_000);
    for (let i = 0; i < 1000; i++) passes(store, perSecond(1), `key-${i}`);
    clock.advance(1000);
    for (let i = 0; i < 500; i++) passes(store, perSecond(1), `fresh-${i}`);
    expect(store.size).toBe(500);
  });

  it('behind one that is charged repeatedly', () => {
    const { store, clock } = setup(10_000);
    for (let i = 0; i < 100; i++) passes(store, perSecond(5), `key-${i}`);
    clock.advance(999);
    passes(store, perSecond(5), 'key-0');
    clock.advance(1);
    for (let i = 0; i < 50; i++) passes(store, perSecond(5), 'key-1', 5);
    expect(store.size).toBe(2);
  });

  it('when requests are refused', () => {
    const { store, clock } = setup(10_000);
    for (let i = 0; i < 100; i++) passes(store, perSecond(1), `key-${i}`);
    clock.advance(1000);
    for (let i = 0; i < 100; i++) passes(store, perSecond(1), 'another', 2);
    expect(store.size).toBe(0);
  });

  it('after a peek at one of them', () => {
    const { store, clock } = setup(4);
    for (const key of ['a', 'b', 'c', 'd']) passes(store, perDay(2), key);
    clock.advance(DAY);
    expect(remaining(store, perDay(2), 'a')).toBe(2);
    for (const key of ['e', 'f', 'g', 'h']) expect(passes(store, perDay(2), key, 2)).toBe(true);
  });

  it('and reuses their memory for new keys', () => {
    const { store, clock } = setup(1000);
    const churn = (round: number) => {
      for (let i = 0; i < 1000; i++) passes(store, perSecond(4), `${round}-${i}`, 1 + (i % 4));
      clock.advance(500);
      for (let i = 0; i < 1000; i += 2) passes(store, perSecond(4), `${round}-${i}`);
      clock.advance(1000);
    };
    for (let round = 0; round < 10; round++) churn(round);
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 10; round < 210; round++) churn(round);
    // 200,000 keys came and went. Their entries alone would occupy 3 MB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    expect(store.size).toBeLessThanOrEqual(1000);
  });
});

describe('memoryStore occupies no counter for a refusal', () => {
  it.each([
    ['that costs more than the limit', (store: MemoryStore, key: string) => passes(store, perSecond(2), key, 3)],
    [
      'by another policy',
      (store: MemoryStore, key: string) =>
        store.admit([perSecond(2), perMinute(1)], [key, 'all'], [1, 1]).kind === 'admitted',
    ],
  ])('of a new key %s', (_, ask) => {
    const { store } = setup(100);
    passes(store, perMinute(1), 'all');
    for (let i = 0; i < 1000; i++) expect(ask(store, `key-${i}`)).toBe(false);
    expect(store.size).toBe(1);
  });

  it('of a key whose refund has left its window', () => {
    const { store, clock } = setup(100);
    store.settle(receiptOf(store, perMinute(1), 'key'), [0]);
    expect(passes(store, perMinute(1), 'key', 2)).toBe(false);
    // What was given back must not be forgotten.
    expect(store.size).toBe(1);
    clock.advance(60_000);
    expect(passes(store, perMinute(1), 'key', 2)).toBe(false);
    expect(store.size).toBe(0);
  });
});

describe('memoryStore under refunds', () => {
  it('answers correctly through 200,000 admissions and refunds beside units that stay', () => {
    const { store, clock } = setup(100);
    const policy = slidingWindow({ limit: 512, window: `${DAY}ms`, name: 'long' });
    for (let i = 0; i < 500; i++) {
      clock.advance(1);
      passes(store, policy, 'key');
    }
    const oldest = NOON + 1;
    for (let i = 0; i < 200_000; i++) {
      clock.advance(i % 3);
      // Only so many as may be given back.
      const decision = store.admit([policy], ['key'], [i < 100 ? 1 + (i % 9) : 13]);
      if (decision.kind === 'admitted') store.settle(decision.receipt, [0]);
      else if (i < 100) throw new Error(`refused after ${i} refunds`);
    }
    expect(store.peek([policy], ['key'])).toEqual([{ name: 'long', limit: 512, remaining: 12, resetAt: oldest + DAY }]);
    expect(passes(store, policy, 'key', 13)).toBe(false);
    clock.set(oldest + DAY);
    expect(passes(store, policy, 'key', 13)).toBe(true);
    expect(passes(store, policy, 'key')).toBe(false);
  });

  it('settles nothing in a counter that meanwhile belongs to another key', () => {
    const { store, clock } = setup(1);
    const receipt = receiptOf(store, perSecond(5), 'a', 5);
    clock.advance(1000);
    const other = receiptOf(store, perSecond(5), 'b', 5);
    store.settle(receipt, [0]);
    expect(remaining(store, perSecond(5), 'b')).toBe(0);
    store.reset([perSecond(5)], ['b']);
    passes(store, perSecond(5), 'c', 5);
    store.settle(other, [0]);
    expect(remaining(store, perSecond(5), 'c')).toBe(0);
  });
});

describe('memoryStore counts a key', () => {
  it('whose slot was meant for the second key of a refused admission', () => {
    const { store, clock } = setup(100_000);
    // Keys are kept in pieces of 4096.
    for (let i = 0; i < 4096; i++) passes(store, perMinute(5), `key-${i}`);
    expect(store.admit([perMinute(5), perMinute(5)], ['a', 'b'], [6, 6]).kind).toBe('refused');
    expect(passes(store, perMinute(5), 'c', 5)).toBe(true);
    expect(remaining(store, perMinute(5), 'c')).toBe(0);
    expect(passes(store, perMinute(5), 'c')).toBe(false);
    expect(store.size).toBe(4097);
    clock.advance(60_000);
    for (let i = 0; i < 4096; i++) passes(store, perMinute(9999), 'd');
    expect(store.size).toBe(1);
  });

  it('that was corrected to more units than an entry holds, also after a false hour', () => {
    const { store, clock } = setup(10);
    clock.set(NOON + 3_600_000);
    const receipts = [0, 1].map(() => {
      clock.advance(1);
      return receiptOf(store, perMinute(10), 'key');
    });
    for (const receipt of receipts) store.settle(receipt, [2 ** 32]);
    clock.set(NOON);
    expect(store.peek([perMinute(10)], ['key'])).toMatchObject([{ remaining: 0, resetAt: NOON + 60_000 }]);
    clock.set(NOON + 60_000);
    expect(store.peek([perMinute(10)], ['key'])).toMatchObject([{ remaining: 10 }]);
    expect(passes(store, perMinute(10), 'key', 10)).toBe(true);
  });

  it('as it was charged, whatever becomes of the lists of the call', () => {
    const { store } = setup(10);
    const policies = [perMinute(9), perDay(9)];
    const keys = ['a', 'b'];
    const units = [2, 3];
    const decision = store.admit(policies, keys, units);
    if (decision.kind === 'refused') throw new Error('refused');
    policies.reverse();
    keys.reverse();
    units.fill(9);
    store.settle(decision.receipt, [1, 1]);
    expect(store.peek([perMinute(9), perDay(9)], ['a', 'b'])).toMatchObject([{ remaining: 8 }, { remaining: 8 }]);
  });
});

describe('memoryStore throws', () => {
  const BAD_TIMES: readonly unknown[] = [Number.NaN, Number.POSITIVE_INFINITY, -1, undefined, 8.64e15 + 1];

  it.each(BAD_TIMES)('if its clock returns %s', (time) => {
    let now: unknown = time;
    const store = memoryStore({ now: () => now as number });
    expect(() => store.admit([perSecond(1)], ['key'], [1])).toThrow(
      new RangeError(`gatewarden: memoryStore "now" must return epoch milliseconds, got ${time}`),
    );
    expect(() => store.peek([perSecond(1)], ['key'])).toThrow(RangeError);
    expect(store.size).toBe(0);
    now = NOON;
    expect(passes(store, perSecond(1), 'key')).toBe(true);
  });

  it.each([
    ['from another store', () => receiptOf(memoryStore({ now: () => NOON }), perSecond(1), 'key')],
    ['that no store made', () => ({})],
    ['of null', () => null],
    ['of undefined', () => undefined],
  ])('for a receipt %s', (_, foreign) => {
    const { store } = setup(10);
    passes(store, perSecond(1), 'key');
    expect(() => store.settle(foreign() as Receipt, [0])).toThrow(
      new TypeError('gatewarden: this receipt is not from this memoryStore'),
    );
    expect(remaining(store, perSecond(1), 'key')).toBe(0);
  });

  it('if an admission names one policy twice for the same key', () => {
    const { store } = setup(10);
    expect(() => store.admit([perSecond(1), perSecond(1)], ['key', 'key'], [1, 1])).toThrow(
      new RangeError('gatewarden: one admission names policy "second" twice for the same key'),
    );
    expect(passes(store, perSecond(1), 'key')).toBe(true);
  });

  it('for more than 1024 policies, and keeps counting those it has', () => {
    const { store } = setup(10);
    const policy = (i: number) => slidingWindow({ limit: 1, window: '1000ms', name: `p${i}` });
    for (let i = 0; i < 1024; i++) passes(store, policy(i), 'key');
    expect(passes(store, policy(0), 'key')).toBe(false);
    expect(() => passes(store, policy(1024), 'key')).toThrow('gatewarden: memoryStore holds at most 1024 policies');
    expect(passes(store, policy(0), 'other')).toBe(true);
  });

  it.each([
    [{ maxEntries: 0 }, 'gatewarden: memoryStore "maxEntries" must be a positive integer, got 0'],
    [{ maxEntries: -5 }, 'gatewarden: memoryStore "maxEntries" must be a positive integer, got -5'],
    [{ maxEntries: 1.5 }, 'gatewarden: memoryStore "maxEntries" must be a positive integer, got 1.5'],
    [{ maxEntries: Number.NaN }, 'gatewarden: memoryStore "maxEntries" must be a positive integer, got NaN'],
    [{ maxEntries: '100' }, 'gatewarden: memoryStore "maxEntries" must be a positive integer, got \'100\''],
    [{ maxEntries: 10_000_001 }, 'gatewarden: memoryStore "maxEntries" must be at most 10000000, got 10000001'],
    [{ now: 5 }, 'gatewarden: memoryStore "now" must be a function, got 5'],
    [{ now: null }, 'gatewarden: memoryStore "now" must be a function, got null'],
    [{ maxkeys: 5 }, 'gatewarden: memoryStore has no option "maxkeys". It takes maxEntries, journal, now'],
    [5, 'gatewarden: memoryStore takes an object of options: memoryStore({ ... })'],
    [null, 'gatewarden: memoryStore takes an object of options: memoryStore({ ... })'],
  ])('for the options %o', (options, message) => {
    expect(() => memoryStore(options as MemoryStoreOptions)).toThrow(new OptionError(message));
  });
});
