import fc from 'fast-check';
import { expect, vi } from 'vitest';
import { CounterTable } from '../../../src/limit/memory/counter-table.js';
import type { MemoryCharge } from '../../../src/limit/memory/memory-admission.js';
import type { MemoryStore } from '../../../src/limit/memory/memory-store.js';
import type { SharedCounters } from '../../../src/limit/memory/shared-counters.js';
import { dailyQuota, type LogPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import type { ManualClock } from '../../contracts/limit-store.js';
import { at, ReferenceLog } from '../reference-log.js';

const DAY = 86_400_000;
/** Far more keys than counters. */
const KEYS = 8;

const anyKey = fc.nat({ max: KEYS - 1 });
const admit = fc.record({
  kind: fc.constant('admit' as const),
  policies: fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1, maxLength: 3 }),
  keys: fc.tuple(anyKey, anyKey, anyKey),
  units: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
  tier: fc.nat({ max: 1 }),
});
const pass = fc.record({
  kind: fc.constant('pass' as const),
  ms: fc.oneof(
    { weight: 4, arbitrary: fc.nat({ max: 60 }) },
    { weight: 4, arbitrary: fc.nat({ max: 900 }) },
    { weight: 1, arbitrary: fc.constantFrom(DAY, 365 * DAY, -40, -51, -701, -DAY, -365 * DAY) },
  ),
});
const settle = fc.record({
  kind: fc.constant('settle' as const),
  admission: fc.nat({ max: 9 }),
  units: fc.tuple(fc.nat({ max: 6 }), fc.nat({ max: 6 }), fc.nat({ max: 6 })),
});
const reset = fc.record({ kind: fc.constant('reset' as const), policy: fc.nat({ max: 2 }), key: anyKey });

const anyLimits = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }));
/** Random sequences for a store that is soon full. */
export const fullWorld = fc.record({
  maxEntries: fc.integer({ min: 1, max: 5 }),
  limits: fc.array(anyLimits, { minLength: 3, maxLength: 3 }),
  steps: fc.array(
    fc.oneof(
      { weight: 8, arbitrary: admit },
      { weight: 3, arbitrary: pass },
      { weight: 4, arbitrary: settle },
      { weight: 1, arbitrary: reset },
    ),
    { maxLength: 80, size: 'max' },
  ),
});

type OnGone = (table: CounterTable, key: string, isForAnother: boolean) => void;

/** Calls `onGone` for each counter that a table forgets while this runs, before it does. */
function watchingForgetting<T>(onGone: OnGone, run: () => T): T {
  const { take, forget } = CounterTable.prototype;
  const spies = [
    vi.spyOn(CounterTable.prototype, 'take').mockImplementation(function (this: CounterTable, slot, hash, key, copy) {
      if (this.counters.isTaken(slot)) onGone(this, this.keyOf(slot), true);
      take.call(this, slot, hash, key, copy);
    }),
    vi.spyOn(CounterTable.prototype, 'forget').mockImplementation(function (this: CounterTable, slot) {
      onGone(this, this.keyOf(slot), false);
      forget.call(this, slot);
    }),
  ];
  try {
    return run();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** When the sequences begin: shortly before midnight. */
export const START = Date.UTC(2025, 5, 16) - 1500;

type World = typeof fullWorld extends fc.Arbitrary<infer One> ? One : never;

/** A store, and what only tests see of it. */
export interface WatchedStore {
  readonly store: MemoryStore;
  /** The first charge of an admission, as it is in the counters by now. */
  chargeOf(receipt: Receipt): MemoryCharge;
  /** Calls this when the store was opened again from what it wrote down. By default, that never happens. */
  onReopened?(reconcile: () => void): void;
}

interface Counted {
  readonly policy: LogPolicy;
  readonly key: string;
  readonly limit: number;
  readonly receipt: Receipt;
  /** Which charge of the admission. */
  readonly number: number;
}

/** Counters that were forgotten for others, and charges in counters that keys share. */
export interface Forgetting {
  readonly evicted: number;
  readonly shared: number;
}

/**
 * Does the same with a full store and with plain lists, and expects the same answers. Expects that the store forgets only what
 * has used less than half of its limit.
 */
export function expectForgetting(
  { maxEntries, limits, steps }: World,
  { store, chargeOf, onReopened }: WatchedStore,
  clock: ManualClock,
): Forgetting {
  let evicted = 0;
  let shared = 0;
  let wasReopened = false;
  const log = new ReferenceLog();
  const tiers = ([0, 1] as const).map((tier): readonly LogPolicy[] => [
    slidingWindow({ limit: at(limits, 0)[tier], window: '50ms' }),
    slidingWindow({ limit: at(limits, 1)[tier], window: '700ms' }),
    dailyQuota({ limit: at(limits, 2)[tier] }),
  ]);
  const policies = at(tiers, 0);
  /** Counters that the store has: of keys, and those that keys share. */
  const own = new Map<string, Counted>();
  const common = new Map<string, Counted>();
  let admissions: [Receipt, ReturnType<ReferenceLog['admit']>['receipt']][] = [];
  let isReset = false;
  const onGone: OnGone = (table, key, isForAnother) => {
    const policy = policies.find(({ id }) => id === table.policy.id);
    if (policy === undefined) throw new Error('a table of no policy');
    const name = `${policy.id} ${key}`;
    const held = log.held(policy, key, clock.now());
    const counted = own.get(name);
    if (counted === undefined) {
      // It was forgotten before the store was reopened.
      expect(wasReopened).toBe(true);
      expect(held).toBe(0);
    } else if (isForAnother) {
      evicted++;
      expect(held / counted.limit).toBeLessThan(0.5);
    } else if (!isReset) {
      expect(held).toBe(0);
    }
    log.reset([policy], [key]);
    own.delete(name);
  };
  const chargeIn = ({ receipt, number }: Counted): MemoryCharge => {
    let charge = chargeOf(receipt);
    for (let i = 0; i < number; i++) charge = charge.next as MemoryCharge;
    return charge;
  };
  onReopened?.(() => {
    wasReopened = true;
    for (const counters of [own, common]) {
      for (const [name, counted] of counters) {
        const { counters: present, slot, generation } = chargeIn(counted);
        if (present.generation(slot) === generation) continue;
        expect(log.held(counted.policy, counted.key, clock.now())).toBe(0);
        log.reset([counted.policy], [counted.key]);
        counters.delete(name);
      }
    }
  });
  const takeStep = (step: World['steps'][number]): void => {
    if (step.kind === 'pass') {
      clock.set(Math.max(0, clock.now() + step.ms));
      // What was charged before a jump may have been moved.
      if (step.ms < 0) admissions = [];
    } else if (step.kind === 'reset') {
      isReset = true;
      store.reset([at(policies, step.policy)], [`k${step.key}`]);
      isReset = false;
    } else if (step.kind === 'settle') {
      if (admissions.length === 0) return;
      const [receipt, expected] = at(admissions, Math.max(0, admissions.length - 1 - step.admission));
      store.settle(receipt, step.units);
      log.settle(expected, step.units, clock.now());
    } else {
      const charged = step.policies.map((i) => at(at(tiers, step.tier), i));
      const keys = charged.map((_, i) => `k${step.keys[i]}`);
      const units = charged.map((_, i) => at(step.units, i));
      const decision = store.admit(charged, keys, units);
      if (decision.kind === 'refused') {
        const refused = decision.violations.map(({ state }) => state.name);
        const states = log.peek(charged, keys, clock.now());
        for (const [i, policy] of charged.entries()) {
          // Only a key without a counter may be refused for what others have used.
          if (!own.has(`${policy.id} ${keys[i]}`)) continue;
          expect(decision.states[i]).toEqual(states[i]);
          expect(refused.includes(policy.name)).toBe(at(units, i) > (states[i]?.remaining ?? 0));
        }
      } else {
        const names: string[] = [];
        let charge: MemoryCharge | undefined = chargeOf(decision.receipt);
        for (const [number, policy] of charged.entries()) {
          if (charge === undefined) throw new Error('too few charges');
          const { keeper } = charge.counters;
          const counted = { policy, limit: policy.limit, receipt: decision.receipt, number };
          const key = at(keys, number);
          if (keeper === undefined) {
            own.set(`${policy.id} ${key}`, { ...counted, key });
            names.push(key);
          } else {
            shared++;
            const name = `shared ${(keeper as SharedCounters).secret} ${charge.slot}`;
            common.set(`${policy.id} ${name}`, { ...counted, key: name });
            names.push(name);
          }
          charge = charge.next;
        }
        const expected = log.admit(charged, names, units, clock.now());
        expect(expected.kind).toBe('admitted');
        expect(decision.states).toEqual(expected.states);
        admissions.push([decision.receipt, expected.receipt]);
      }
    }
    // Both move what was charged ahead of time when they look at it, so both look now.
    store.peek(policies, ['k0', 'k0', 'k0']);
    for (const counted of [...own.values(), ...common.values()]) {
      const { policy, key } = counted;
      const { counters, slot } = chargeIn(counted);
      counters.fraction(slot);
      log.held(policy, key, clock.now());
    }
    for (const { policy, key } of [...own.values()]) {
      // Reopening may have left it out.
      const states = store.peek([policy], [key]);
      expect(states).toEqual(log.peek([policy], [key], clock.now()));
    }
    // What had expired was perhaps not written down as forgotten.
    if (wasReopened) expect(store.size).toBeGreaterThanOrEqual(own.size);
    else expect(store.size).toBe(own.size);
    expect(store.size).toBeLessThanOrEqual(maxEntries * policies.length);
  };
  watchingForgetting(onGone, () => steps.forEach(takeStep));
  return { evicted, shared };
}
