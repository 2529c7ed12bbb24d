import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { concurrency, dailyQuota, gpuTime, type LogPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { at, type Charge, fullestInterval, ownUnits } from '../reference-log.js';
import { NOON, passes, perDay, perMinute, perSecond, receiptOf, remaining, setup } from './one-policy.js';

const DAY = 86_400_000;
/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);

const KEYS: readonly [what: string, key: (i: number) => string][] = [
  ['IPv4 addresses', (i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`],
  ['/64s of two /48s', (i) => `2001:db8:${i & 1}:${(i >> 1).toString(16)}::/64`],
  ['opaque keys', (i) => `user-${(i * 2_654_435_761).toString(36)}`],
];
const POLICIES: readonly (readonly [what: string, policy: LogPolicy])[] = [
  ['3 a minute', perMinute(3)],
  ['60 a minute', perMinute(60)],
  ['100 a day', perDay(100)],
];

describe.each(KEYS)('after a flood of %s over ten times as many keys as fit,', (_, key) => {
  it.each(POLICIES)('a memoryStore of %s admits new callers, and no key above its limit', (_what, policy) => {
    const maxEntries = 10_000;
    const { store, clock } = setup(maxEntries);
    const half = Math.ceil(policy.limit / 2);
    const spenders = Array.from({ length: 200 }, (_, i) => `spender-${i}`);
    for (const [i, spender] of spenders.entries()) passes(store, policy, spender, i % 2 === 0 ? half : policy.limit);
    for (let i = 0; i < 10 * maxEntries; i++) {
      if (i % 10_000 === 0) clock.advance(1);
      passes(store, policy, key(i));
    }
    expect(store.size).toBeLessThanOrEqual(maxEntries);
    const entered = Array.from({ length: 500 }, (_, i) => passes(store, policy, `new caller ${i}`));
    expect(entered.filter((did) => did).length).toBeGreaterThanOrEqual(495);
    for (const [i, spender] of spenders.entries()) {
      const left = i % 2 === 0 ? policy.limit - half : 0;
      expect(remaining(store, policy, spender)).toBe(left);
      expect(passes(store, policy, spender, left + 1)).toBe(false);
      if (left > 0) expect(passes(store, policy, spender, left)).toBe(true);
    }
  });
});

describe('a full memoryStore', () => {
  it('keeps a key at its limit while 100,000 other keys arrive, and until the end of its window', () => {
    const { store, clock } = setup(10_000);
    const policy = perMinute(5);
    expect(passes(store, policy, 'victim', 5)).toBe(true);
    for (let i = 0; i < 100_000; i++) {
      if (i % 2000 === 0) clock.advance(1);
      passes(store, policy, `other-${i}`);
      if (i % 1000 === 0) expect(passes(store, policy, 'victim')).toBe(false);
    }
    expect(store.size).toBe(10_000);
    clock.set(NOON + 59_999);
    expect(passes(store, policy, 'victim')).toBe(false);
    clock.set(NOON + 60_000);
    expect(passes(store, policy, 'victim', 5)).toBe(true);
  });

  it('forgets first what has used least of its limit', () => {
    const { store } = setup(1000);
    for (let i = 0; i < 500; i++) passes(store, perMinute(100), `little-${i}`, 1);
    for (let i = 0; i < 250; i++) passes(store, perMinute(1000), `much-${i}`, 400);
    for (let i = 0; i < 250; i++) passes(store, perMinute(4), `small limit ${i}`, 1);
    for (let i = 0; i < 200; i++) expect(passes(store, perMinute(100), `new-${i}`, 30)).toBe(true);
    const kept = (policy: LogPolicy, key: (i: number) => string, used: number) =>
      Array.from({ length: 250 }, (_, i) => remaining(store, policy, key(i))).filter(
        (units) => units === policy.limit - used,
      ).length;
    // It looks at a few random counters, so it rarely misses one of the 300 to 500 that have used little.
    expect(kept(perMinute(1000), (i) => `much-${i}`, 400)).toBeGreaterThan(245);
    expect(kept(perMinute(4), (i) => `small limit ${i}`, 1)).toBeGreaterThan(245);
    expect(kept(perMinute(100), (i) => `little-${i}`, 1)).toBeLessThan(200);
  });

  it('compares with the limit under which a counter was charged, not with that of the new key', () => {
    const { store } = setup(8);
    for (let i = 0; i < 8; i++) passes(store, perMinute(4), `key-${i}`, 2);
    // Two of 1000 would be next to nothing.
    for (let i = 0; i < 50; i++) passes(store, perMinute(1000), `new-${i}`);
    for (let i = 0; i < 8; i++) expect(remaining(store, perMinute(4), `key-${i}`)).toBe(2);
  });

  it('counts what was given back like what is in use', () => {
    const { store } = setup(4);
    for (let i = 0; i < 4; i++) store.settle(receiptOf(store, perMinute(2), `key-${i}`), [0]);
    for (let i = 0; i < 50; i++) passes(store, perMinute(2), `new-${i}`);
    for (let i = 0; i < 4; i++) {
      store.settle(receiptOf(store, perMinute(2), `key-${i}`), [0]);
      store.settle(receiptOf(store, perMinute(2), `key-${i}`), [0]);
      expect(remaining(store, perMinute(2), `key-${i}`)).toBe(1);
    }
  });

  it('gives each policy room of its own', () => {
    const { store } = setup(4);
    for (let i = 0; i < 4; i++) expect(passes(store, perSecond(1), `key-${i}`)).toBe(true);
    for (let i = 0; i < 4; i++) expect(passes(store, perMinute(1), `new-${i}`)).toBe(true);
    expect(store.size).toBe(8);
    for (let i = 0; i < 100; i++) passes(store, perSecond(1), `flood-${i}`);
    for (let i = 0; i < 4; i++) expect(remaining(store, perMinute(1), `new-${i}`)).toBe(0);
  });

  it('forgets expired counters first, even if others have used less', () => {
    const { store, clock } = setup(100);
    for (let i = 0; i < 50; i++) passes(store, perSecond(100), `old-${i}`, 100);
    clock.advance(500);
    for (let i = 0; i < 50; i++) passes(store, perSecond(100), `fresh-${i}`);
    clock.advance(500);
    for (let i = 0; i < 40; i++) expect(passes(store, perSecond(100), `new-${i}`)).toBe(true);
    for (let i = 0; i < 50; i++) expect(remaining(store, perSecond(100), `fresh-${i}`)).toBe(99);
  });

  it('forgets nothing for a request that another policy refuses', () => {
    const { store } = setup(8);
    passes(store, perDay(1), 'all');
    for (let i = 0; i < 8; i++) passes(store, perMinute(9), `key-${i}`);
    for (let i = 0; i < 100; i++) {
      expect(store.admit([perMinute(9), perDay(1)], [`new-${i}`, 'all'], [1, 1]).kind).toBe('refused');
      expect(store.admit([perMinute(9)], [`new-${i}`], [10]).kind).toBe('refused');
    }
    for (let i = 0; i < 8; i++) expect(remaining(store, perMinute(9), `key-${i}`)).toBe(8);
    expect(store.size).toBe(9);
  });

  it.each([1, 2, 3])(
    'forgets no counter of an admission for another of the same admission, with room for %i',
    (max) => {
      for (let run = 0; run < 50; run++) {
        const { store } = setup(max);
        const policies = Array.from({ length: max }, () => perMinute(9));
        const keys = policies.map((_, i) => `key-${i}`);
        expect(
          store.admit(
            policies,
            keys,
            policies.map(() => 1),
          ).kind,
        ).toBe('admitted');
        expect(keys.map((key) => remaining(store, perMinute(9), key))).toEqual(keys.map(() => 8));
        const others = keys.map((key, i) => (i === 0 ? key : `other-${i}`));
        expect(
          store.admit(
            policies,
            others,
            policies.map(() => 1),
          ).kind,
        ).toBe('admitted');
        expect(others.map((key) => remaining(store, perMinute(9), key))).toEqual(
          others.map((_, i) => (i === 0 ? 7 : 8)),
        );
      }
    },
  );

  it('settles nothing in a counter that took the place of another', () => {
    const { store } = setup(1);
    const receipt = receiptOf(store, perMinute(9), 'a', 4);
    passes(store, perMinute(9), 'b', 4);
    store.settle(receipt, [0]);
    expect(remaining(store, perMinute(9), 'b')).toBe(5);
  });
});

describe('a memoryStore that is full of counters at half their limit or more', () => {
  /** Room for 100 counters, all at their limit. */
  function full(policy: LogPolicy) {
    const { store, clock } = setup(100);
    for (let i = 0; i < 100; i++) passes(store, policy, `spender-${i}`, policy.limit);
    return { store, clock };
  }

  it.each([
    ['a window', perMinute(4)],
    ['a day', perDay(4)],
    ['a limit of one', perMinute(1)],
  ])('forgets none of them, and still admits new callers, for %s', (_, policy) => {
    const { store } = full(policy);
    const callers = Array.from({ length: 200 }, (_, i) => `caller-${i}`);
    const entered = callers.filter((caller) => passes(store, policy, caller));
    expect(entered.length).toBeGreaterThanOrEqual(policy.limit === 1 ? 180 : 198);
    for (let i = 0; i < 100; i++) expect(passes(store, policy, `spender-${i}`)).toBe(false);
    expect(store.size).toBe(100);
  });

  it('admits none of those callers above its limit', () => {
    const { store } = full(perMinute(4));
    for (let i = 0; i < 200; i++) {
      const entered = Array.from({ length: 9 }, () => passes(store, perMinute(4), `caller-${i}`));
      expect(entered.filter((did) => did).length).toBeLessThanOrEqual(4);
    }
  });

  it('lets strangers spend the quota of few of them, and those cannot be chosen', () => {
    const { store } = full(perMinute(4));
    for (let i = 0; i < 400; i++) for (let j = 0; j < 9; j++) passes(store, perMinute(4), `flood-${i}`);
    const entered = Array.from({ length: 500 }, (_, i) => passes(store, perMinute(4), `caller-${i}`));
    // 400 of 4096 shared counters are used up.
    expect(entered.filter((did) => did).length).toBeGreaterThan(425);
  });

  it('keeps such a caller where it is until its window ends, also when there is room again', () => {
    const { store, clock } = full(perMinute(4));
    expect(passes(store, perMinute(4), 'caller', 4)).toBe(true);
    for (let i = 0; i < 100; i++) store.reset([perMinute(4)], [`spender-${i}`]);
    expect(passes(store, perMinute(4), 'caller')).toBe(false);
    expect(store.size).toBe(0);
    clock.set(NOON + 59_999);
    expect(passes(store, perMinute(4), 'caller')).toBe(false);
    clock.set(NOON + 60_000);
    expect(passes(store, perMinute(4), 'caller', 4)).toBe(true);
    expect(store.size).toBe(1);
  });

  it('passes on nothing of it when the window is over', () => {
    const { store, clock } = full(perMinute(1));
    for (let i = 0; i < 20_000; i++) passes(store, perMinute(1), `flood-${i}`);
    clock.advance(60_000);
    const callers = Array.from({ length: 100 }, (_, i) => `caller-${i}`);
    expect(callers.filter((caller) => passes(store, perMinute(1), caller))).toEqual(callers);
    expect(callers.filter((caller) => passes(store, perMinute(1), caller))).toEqual([]);
  });

  it('does not show it to peek', () => {
    const { store } = full(perMinute(1));
    for (let i = 0; i < 20_000; i++) passes(store, perMinute(1), `flood-${i}`);
    for (let i = 0; i < 100; i++) expect(remaining(store, perMinute(1), `caller-${i}`)).toBe(1);
  });

  it('charges two of those callers in one admission', () => {
    const { store } = full(perMinute(4));
    expect(store.admit([perMinute(4), perMinute(4)], ['a', 'b'], [2, 2]).kind).toBe('admitted');
    expect(store.admit([perMinute(4), perMinute(4)], ['a', 'b'], [3, 3])).toMatchObject({
      kind: 'refused',
      violations: [{ retryAt: NOON + 60_000 }, { retryAt: NOON + 60_000 }],
    });
  });

  it('gives back to the shared counter, at most its limit', () => {
    const { store } = full(perMinute(2));
    for (let i = 0; i < 2; i++) store.settle(receiptOf(store, perMinute(2), 'caller'), [0]);
    store.settle(receiptOf(store, perMinute(2), 'caller'), [0]);
    expect(passes(store, perMinute(2), 'caller')).toBe(true);
    expect(passes(store, perMinute(2), 'caller')).toBe(false);
  });
});

describe('a full memoryStore with holds', () => {
  const slots = (limit: number) => concurrency({ limit, lease: '10s' });
  const gpu = (limit: number) => gpuTime({ limit: `${limit}ms`, window: '1m', estimate: '1s', lease: '10s' });

  it.each([
    ['slots', slots(10)],
    ['GPU time', gpu(100)],
  ])('forgets no counter of %s while something is held in it, however little', (_, policy) => {
    const { store } = setup(20);
    const receipts = Array.from({ length: 20 }, (_, i) => receiptOf(store, policy, `holder-${i}`));
    for (let i = 0; i < 500; i++) passes(store, policy, `other-${i}`);
    for (let i = 0; i < 20; i++) expect(remaining(store, policy, `holder-${i}`)).toBe(policy.limit - 1);
    for (const receipt of receipts) expect(store.renew(receipt)).toBe(true);
    for (const receipt of receipts) store.release(receipt);
    for (let i = 0; i < 500; i++) passes(store, policy, `new-${i}`);
    expect(store.size).toBe(20);
  });

  it('never lets a key hold more than its limit, also where it shares a counter and there is room again', () => {
    const { store, clock } = setup(2);
    const holders = ['a', 'b'].map((key) => receiptOf(store, slots(3), key));
    const shared = receiptOf(store, slots(3), 'caller');
    for (const receipt of holders) store.release(receipt);
    clock.advance(1);
    // One of three is less than half.
    expect(passes(store, slots(3), 'caller', 3)).toBe(false);
    expect(passes(store, slots(3), 'caller', 2)).toBe(true);
    clock.advance(9_999);
    expect(passes(store, slots(3), 'caller', 2)).toBe(false);
    expect(store.renew(shared)).toBe(false);
    clock.advance(1);
    expect(passes(store, slots(3), 'caller', 3)).toBe(true);
  });

  it('keeps a shared counter for as long as a hold in it is renewed', () => {
    const { store, clock } = setup(1);
    const [own, shared] = ['a', 'caller'].map((key) => receiptOf(store, slots(1), key)) as [Receipt, Receipt];
    for (let i = 0; i < 10_000; i++) {
      clock.advance(9_000);
      expect([store.renew(own), store.renew(shared)]).toEqual([true, true]);
      if (i % 100 === 0) expect(passes(store, slots(1), 'caller')).toBe(false);
    }
    store.release(own);
    expect(passes(store, slots(1), 'caller')).toBe(false);
    store.release(shared);
    expect(passes(store, slots(1), 'caller')).toBe(true);
  });

  it('logs what was used in a shared counter, until its window ends', () => {
    const { store, clock } = setup(1);
    passes(store, gpu(500), 'a', 500);
    const receipt = receiptOf(store, gpu(500), 'caller', 300);
    clock.advance(9_000);
    store.settle(receipt, [400]);
    expect(passes(store, gpu(500), 'caller', 101)).toBe(false);
    clock.advance(59_999);
    expect(passes(store, gpu(500), 'caller', 101)).toBe(false);
    clock.advance(1);
    expect(passes(store, gpu(500), 'caller', 500)).toBe(true);
  });

  it('gives out tokens that rise, also after it has forgotten a counter', () => {
    const { store, clock } = setup(1);
    let last = 0;
    for (let i = 0; i < 200; i++) {
      const decision = store.admit([slots(1)], [`key-${i % 3}`], [1]);
      if (decision.kind === 'refused') throw new Error('refused');
      const token = decision.holds?.[0]?.token ?? Number.NaN;
      expect(token).toBeGreaterThan(last);
      last = token;
      store.release(decision.receipt);
      if (i % 50 === 49) clock.set(NOON - 3_600_000);
      else if (i % 10 === 9) clock.advance(1);
    }
  });

  it('frees the counters of holds that have expired', () => {
    const { store, clock } = setup(1000);
    for (let i = 0; i < 1000; i++) passes(store, slots(1), `dead-${i}`);
    clock.advance(10_000);
    for (let i = 0; i < 500; i++) passes(store, slots(1), 'caller');
    expect(store.size).toBe(1);
  });
});

it(
  'a memoryStore never forgets a charge of half a limit or more, whatever other keys arrive',
  () => {
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
        const policies: readonly LogPolicy[] = [
          slidingWindow({ limit: limits[0], window: `${windows[0]}ms` }),
          slidingWindow({ limit: limits[1], window: `${windows[1]}ms` }),
          dailyQuota({ limit: limits[2] }),
        ];
        const counters = new Map<string, { policy: LogPolicy; charges: Charge[] }>();
        for (const step of steps) {
          if (step.kind === 'advance') clock.advance(step.ms);
          else if (step.kind === 'peek')
            store.peek(
              policies,
              policies.map(() => `k${step.key}`),
            );
          else {
            const charged = step.policies.map((i) => at(policies, i));
            const keys = charged.map((_, i) => `k${step.keys[i]}`);
            const own = ownUnits(charged, step.units);
            if (store.admit(charged, keys, own).kind === 'refused') continue;
            for (const [i, policy] of charged.entries()) {
              const name = `${policy.id} ${keys[i]}`;
              const counter = counters.get(name) ?? { policy, charges: [] };
              counters.set(name, counter);
              const time = policy.kind === 'sliding-window' ? clock.now() : policy.dayOf(clock.now()).end;
              counter.charges.push({ at: time, units: at(own, i) });
            }
          }
          expect(store.size).toBeLessThanOrEqual(maxEntries * policies.length);
        }
        for (const { policy, charges } of counters.values()) {
          for (const [i, { at, units }] of charges.entries()) {
            if (units * 2 < policy.limit) continue;
            // From such a charge to the end of its window, no more than the limit is admitted.
            const length = policy.kind === 'sliding-window' ? policy.window : 1;
            const rest = charges.slice(i).filter((charge) => charge.at < at + length);
            expect(fullestInterval(rest, length)).toBeLessThanOrEqual(policy.limit);
          }
        }
      }),
      { numRuns: RUNS },
    );
  },
  Math.max(60_000, RUNS * 60),
);

describe('memoryStore with room for many counters', () => {
  it('finds and forgets each of 300,000 keys', () => {
    const { store, clock } = setup(1_000_000);
    const key = at(KEYS, 1)[1];
    for (let i = 0; i < 300_000; i++) passes(store, perMinute(5), key(i), 1 + (i % 5));
    expect(store.size).toBe(300_000);
    for (let i = 0; i < 300_000; i += 1009) expect(remaining(store, perMinute(5), key(i))).toBe(4 - (i % 5));
    clock.advance(60_000);
    for (let i = 0; i < 300_000; i++) passes(store, perMinute(5), 'another', 5);
    expect(store.size).toBe(1);
    for (let i = 0; i < 300_000; i += 1009) expect(passes(store, perMinute(5), key(i), 5)).toBe(true);
  });

  it('takes little memory before they are needed', () => {
    const before = process.memoryUsage().arrayBuffers;
    const stores = Array.from({ length: 20 }, () => memoryStore());
    for (const store of stores) passes(store, perMinute(5), 'key');
    expect((process.memoryUsage().arrayBuffers - before) / stores.length).toBeLessThan(700_000);
  });

  it('frees counters of a false year again', () => {
    const { store, clock } = setup(1000);
    clock.set(NOON + 365 * DAY);
    for (let i = 0; i < 100; i++) store.admit([perMinute(5), perDay(5)], [`key-${i}`, `key-${i}`], [1, 1]);
    clock.set(NOON);
    for (let i = 0; i < 100; i++) store.admit([perMinute(500), perDay(500)], ['another', 'another'], [1, 1]);
    clock.advance(DAY);
    for (let i = 0; i < 100; i++) store.admit([perMinute(500), perDay(500)], ['another', 'another'], [1, 1]);
    expect(store.size).toBe(2);
  });
});
