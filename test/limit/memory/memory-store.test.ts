import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { type MemoryStore, type MemoryStoreOptions, memoryStore } from '../../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt, Violation } from '../../../src/limit/store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { at, type Charge, fullestInterval } from '../reference-log.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const DAY = 86_400_000;

const perSecond = (limit: number) => slidingWindow({ limit, window: '1000ms', name: 'second' });
const perMinute = (limit: number) => slidingWindow({ limit, window: '60000ms', name: 'minute' });
const perDay = (limit: number) => dailyQuota({ limit });

function setup(maxEntries: number): { readonly store: MemoryStore; readonly clock: ManualClock } {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries, now: clock.now }), clock };
}

function passes(store: MemoryStore, policy: QuotaPolicy, key: string, units = 1): boolean {
  return store.admit([policy], [key], units).kind === 'admitted';
}

function receiptOf(store: MemoryStore, policy: QuotaPolicy, key: string, units = 1): Receipt {
  const decision = store.admit([policy], [key], units);
  if (decision.kind === 'refused') throw new Error(`${units} of ${policy.name} refused`);
  return decision.receipt;
}

function violationsOf(store: MemoryStore, policy: QuotaPolicy, key: string): readonly Violation[] {
  const decision = store.admit([policy], [key], 1);
  return decision.kind === 'refused' ? decision.violations : [];
}

const remaining = (store: MemoryStore, policy: QuotaPolicy, key: string) => store.peek([policy], [key])[0]?.remaining;

limitStoreContract('memoryStore', () => {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries: 1000, now: clock.now }), clock };
});

describe('a full memoryStore', () => {
  it('keeps a key at its limit while 100,000 other keys arrive at 10,000 counters', () => {
    const { store, clock } = setup(10_000);
    const policy = perMinute(5);
    expect(passes(store, policy, 'victim', 5)).toBe(true);
    for (let i = 0; i < 100_000; i++) {
      if (i % 2000 === 0) clock.advance(1);
      store.admit([policy], [`other-${i}`], 1);
      if (i % 1000 === 0) expect(passes(store, policy, 'victim')).toBe(false);
    }
    expect(store.size).toBeLessThanOrEqual(10_000);
    expect(violationsOf(store, policy, 'victim')).toEqual([
      { state: { name: 'minute', limit: 5, remaining: 0, resetAt: NOON + 60_000 }, retryAt: NOON + 60_000 },
    ]);
    clock.set(NOON + 59_999);
    expect(passes(store, policy, 'victim')).toBe(false);
    // Its own window is over, and so is that of the allowance that new keys share.
    clock.set(NOON + 120_000);
    expect(passes(store, policy, 'victim', 5)).toBe(true);
  });

  it('grants all new keys together one allowance of each policy while its counters are live', () => {
    const { store, clock } = setup(4);
    for (const key of ['a', 'b', 'c', 'd']) expect(passes(store, perMinute(3), key)).toBe(true);
    clock.advance(10);
    expect(['e', 'f', 'g', 'h', 'e'].map((key) => passes(store, perMinute(3), key))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(violationsOf(store, perMinute(3), 'i')).toEqual([
      { state: { name: 'minute', limit: 3, remaining: 0, resetAt: NOON + 60_010 }, retryAt: NOON + 60_010 },
    ]);
    expect(remaining(store, perMinute(3), 'never seen')).toBe(0);
    expect(passes(store, perDay(1), 'e')).toBe(true);
    expect(passes(store, perDay(1), 'f')).toBe(false);
    expect(passes(store, perMinute(3), 'a', 2)).toBe(true);
    expect(store.size).toBe(4);
  });

  it('charges the shared allowance for both of two new keys in one admission', () => {
    const { store, clock } = setup(1);
    passes(store, perMinute(5), 'a');
    for (let i = 0; i < 4; i++) {
      expect(passes(store, perMinute(5), 'b')).toBe(true);
      clock.advance(10);
    }
    // Either key would fit alone.
    expect(store.admit([perMinute(5), perMinute(5)], ['c', 'd'], 1)).toMatchObject({
      kind: 'refused',
      violations: [{ retryAt: NOON + 60_000 }],
    });
    const decision = store.admit([perMinute(5), perMinute(5)], ['c', 'd'], 2);
    if (decision.kind === 'admitted') throw new Error('admitted');
    // The first key needs one unit to leave, both together need three.
    expect(decision.violations.map(({ retryAt }) => retryAt)).toEqual([NOON + 60_000, NOON + 60_020]);
    expect(remaining(store, perMinute(5), 'c')).toBe(1);
  });

  it('returns refunds to the shared allowance', () => {
    const { store } = setup(1);
    passes(store, perMinute(2), 'a');
    const receipt = receiptOf(store, perMinute(2), 'b', 2);
    expect(passes(store, perMinute(2), 'c')).toBe(false);
    store.settle(receipt, 1);
    expect(passes(store, perMinute(2), 'c')).toBe(true);
    expect(passes(store, perMinute(2), 'b')).toBe(false);
  });

  it.each([
    ['sliding window', perMinute(2)],
    ['daily quota', perDay(2)],
  ])('grants a key that used the shared allowance of a %s no second one when a counter becomes free', (_, policy) => {
    const { store } = setup(1);
    passes(store, policy, 'a');
    expect(passes(store, policy, 'b', 2)).toBe(true);
    store.reset([policy], ['a']);
    expect(store.size).toBe(0);
    expect(passes(store, policy, 'b')).toBe(false);
    expect(remaining(store, policy, 'b')).toBe(0);
  });

  it('remembers what a key used of the shared allowance for exactly its window', () => {
    const { store, clock } = setup(1);
    passes(store, perSecond(2), 'a');
    clock.set(NOON + 900);
    expect(passes(store, perSecond(2), 'b')).toBe(true);
    clock.set(NOON + 1000);
    expect(passes(store, perSecond(2), 'b')).toBe(true);
    expect(violationsOf(store, perSecond(2), 'b')).toMatchObject([{ retryAt: NOON + 1900 }]);
    clock.set(NOON + 1899);
    expect(passes(store, perSecond(2), 'b')).toBe(false);
    clock.set(NOON + 1900);
    expect(passes(store, perSecond(2), 'b')).toBe(true);
  });

  it('admits no key more than its limit in any window, whatever other keys arrive', () => {
    const windows = [50, 700] as const;
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant('admit' as const),
          policies: fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1, maxLength: 3 }),
          keys: fc.tuple(fc.nat({ max: 11 }), fc.nat({ max: 11 }), fc.nat({ max: 11 })),
          units: fc.integer({ min: 1, max: 4 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.nat({ max: 60 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.nat({ max: 800 }) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('settle' as const),
          back: fc.nat({ max: 9 }),
          units: fc.nat({ max: 6 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('peek' as const), key: fc.nat({ max: 11 }) }) },
    );
    const world = fc.record({
      maxEntries: fc.integer({ min: 1, max: 5 }),
      limits: fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
      steps: fc.array(step, { maxLength: 120, size: 'max' }),
    });
    fc.assert(
      fc.property(world, ({ maxEntries, limits, steps }) => {
        const clock = new ManualClock(Date.UTC(2025, 5, 16) - 1500);
        const store = memoryStore({ maxEntries, now: clock.now });
        const policies: readonly QuotaPolicy[] = [
          slidingWindow({ limit: limits[0], window: `${windows[0]}ms` }),
          slidingWindow({ limit: limits[1], window: `${windows[1]}ms` }),
          dailyQuota({ limit: limits[2] }),
        ];
        const counters = new Map<string, { policy: QuotaPolicy; charges: Charge[] }>();
        const admissions: { receipt: Receipt; charges: readonly Charge[] }[] = [];
        for (const step of steps) {
          if (step.kind === 'advance') clock.advance(step.ms);
          else if (step.kind === 'peek')
            store.peek(
              policies,
              ['k', 'k', 'k'].map((k) => `${k}${step.key}`),
            );
          else if (step.kind === 'settle') {
            const [admission] = admissions.splice(-1 - step.back, 1);
            if (admission === undefined) continue;
            store.settle(admission.receipt, step.units);
            for (const charge of admission.charges) charge.units = Math.min(charge.units, step.units);
          } else {
            const charged = step.policies.map((i) => at(policies, i));
            const keys = charged.map((_, i) => `k${step.keys[i]}`);
            const decision = store.admit(charged, keys, step.units);
            if (decision.kind === 'admitted') {
              const charges = charged.map((policy, i): Charge => {
                const name = `${policy.id} ${keys[i]}`;
                const counter = counters.get(name) ?? { policy, charges: [] };
                counters.set(name, counter);
                const charge = { at: clock.now(), units: step.units };
                counter.charges.push(charge);
                return charge;
              });
              admissions.push({ receipt: decision.receipt, charges });
            }
          }
          expect(store.size).toBeLessThanOrEqual(maxEntries);
        }
        for (const { policy, charges } of counters.values()) {
          const sliding = policy.kind === 'sliding-window';
          // A day is treated as a window in which every charge is made at the end of the day.
          const times = sliding ? charges : charges.map(({ at, units }) => ({ at: policy.dayOf(at).end, units }));
          expect(fullestInterval(times, policy.window)).toBeLessThanOrEqual(policy.limit);
        }
      }),
      { numRuns: Number(process.env.PROPERTY_RUNS ?? 1_000) },
    );
  }, 60_000);

  it.each([1, 2])('counts an admission over two policies correctly with room for %i counters', (maxEntries) => {
    const { store, clock } = setup(maxEntries);
    const both = [perSecond(2), perMinute(3)];
    const admitted = () => store.admit(both, ['a', 'a'], 1).kind === 'admitted';
    expect([admitted(), admitted(), admitted()]).toEqual([true, true, false]);
    clock.advance(1000);
    expect([admitted(), admitted()]).toEqual([true, false]);
    clock.advance(59_000);
    expect([admitted(), admitted(), admitted()]).toEqual([true, true, false]);
    expect(store.size).toBeLessThanOrEqual(maxEntries);
  });

  it('never reuses a counter of one policy for another policy of the same admission', () => {
    const { store, clock } = setup(2);
    // Both counters are empty when the second is created, and look as if they had expired.
    store.admit([perSecond(1), perMinute(1)], ['a', 'a'], 1);
    clock.advance(60_000);
    expect(store.admit([perMinute(1), perSecond(1)], ['a', 'b'], 1).kind).toBe('admitted');
    expect(passes(store, perMinute(1), 'a')).toBe(false);
    expect(passes(store, perSecond(1), 'b')).toBe(false);
  });
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
        1,
      );
    expect(store.size).toBe(1000 * policies.length);
    clock.advance(61_000);
    for (let i = 0; i < 1000; i++) {
      const before = store.size;
      store.admit(
        policies,
        policies.map(() => 'another'),
        1,
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

  it('for another policy when it is full', () => {
    const { store, clock } = setup(4);
    for (const key of ['a', 'b', 'c', 'd']) passes(store, perSecond(1), key);
    clock.advance(1000);
    for (const key of ['e', 'f', 'g', 'h']) expect(passes(store, perMinute(2), key, 2)).toBe(true);
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
        store.admit([perSecond(2), perMinute(1)], [key, 'all'], 1).kind === 'admitted',
    ],
  ])('of a new key %s', (_, ask) => {
    const { store } = setup(100);
    passes(store, perMinute(1), 'all');
    for (let i = 0; i < 1000; i++) expect(ask(store, `key-${i}`)).toBe(false);
    expect(store.size).toBe(1);
  });

  it('of a new key while the shared allowance is used up', () => {
    const { store } = setup(10);
    for (let i = 0; i < 10; i++) passes(store, perMinute(1), `key-${i}`);
    passes(store, perMinute(1), 'uses the shared allowance');
    for (let i = 0; i < 9; i++) store.reset([perMinute(1)], [`key-${i}`]);
    for (let i = 0; i < 100; i++) expect(passes(store, perMinute(1), `fresh-${i}`)).toBe(false);
    expect(store.size).toBe(1);
  });

  it('of a key whose charge was refunded', () => {
    const { store } = setup(100);
    store.settle(receiptOf(store, perMinute(1), 'key'), 0);
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
      const decision = store.admit([policy], ['key'], 1 + (i % 12));
      if (decision.kind === 'refused') throw new Error(`refused after ${i} refunds`);
      store.settle(decision.receipt, 0);
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
    store.settle(receipt, 0);
    expect(remaining(store, perSecond(5), 'b')).toBe(0);
    store.reset([perSecond(5)], ['b']);
    passes(store, perSecond(5), 'c', 5);
    store.settle(other, 0);
    expect(remaining(store, perSecond(5), 'c')).toBe(0);
  });
});

describe('memoryStore throws', () => {
  const BAD_TIMES: readonly unknown[] = [Number.NaN, Number.POSITIVE_INFINITY, -1, undefined, 8.64e15 + 1];

  it.each(BAD_TIMES)('if its clock returns %s', (time) => {
    let now: unknown = time;
    const store = memoryStore({ now: () => now as number });
    expect(() => store.admit([perSecond(1)], ['key'], 1)).toThrow(
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
    expect(() => store.settle(foreign() as Receipt, 0)).toThrow(
      new TypeError('gatewarden: this receipt is not from this memoryStore'),
    );
    expect(remaining(store, perSecond(1), 'key')).toBe(0);
  });

  it('if an admission names one policy twice for the same key', () => {
    const { store } = setup(10);
    expect(() => store.admit([perSecond(1), perSecond(1)], ['key', 'key'], 1)).toThrow(
      new RangeError('gatewarden: one admission names policy "second" twice for the same key'),
    );
    expect(passes(store, perSecond(1), 'key')).toBe(true);
  });

  it('for more than 1024 policies, and keeps counting those it has', () => {
    const { store } = setup(10);
    const policy = (i: number) => slidingWindow({ limit: 1, window: '1000ms', name: `p${i}` });
    for (let i = 0; i < 1024; i++) store.peek([policy(i)], ['key']);
    expect(() => passes(store, policy(1024), 'key')).toThrow('gatewarden: memoryStore holds at most 1024 policies');
    expect(passes(store, policy(0), 'key')).toBe(true);
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
    [{ maxkeys: 5 }, 'gatewarden: memoryStore has no option "maxkeys". It takes maxEntries, now'],
    [5, 'gatewarden: memoryStore takes an object of options'],
    [null, 'gatewarden: memoryStore takes an object of options'],
  ])('for the options %o', (options, message) => {
    expect(() => memoryStore(options as MemoryStoreOptions)).toThrow(new OptionError(message));
  });
});

it('memoryStore uses the time of day if no clock is given', () => {
  const before = Date.now();
  const { at } = memoryStore().admit([perSecond(1)], ['key'], 1);
  expect(at).toBeGreaterThanOrEqual(before);
  expect(at).toBeLessThanOrEqual(Date.now());
});
