import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { CounterTable } from '../../../src/limit/memory/counter-table.js';
import type { Counters } from '../../../src/limit/memory/counters.js';
import type { MemoryCharge } from '../../../src/limit/memory/memory-admission.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { dailyQuota, type LogPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { at, ReferenceLog } from '../reference-log.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);
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
const world = fc.record({
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

afterEach(() => {
  vi.restoreAllMocks();
});

/** Calls `onGone` for each counter that a table forgets, before it does. */
function watchForgetting(onGone: (table: CounterTable, key: string, isLive: boolean) => void): void {
  const { take, forget } = CounterTable.prototype;
  vi.spyOn(CounterTable.prototype, 'take').mockImplementation(function (this: CounterTable, slot, hash, key, copy) {
    if (this.counters.isTaken(slot)) onGone(this, this.keyOf(slot), true);
    take.call(this, slot, hash, key, copy);
  });
  vi.spyOn(CounterTable.prototype, 'forget').mockImplementation(function (this: CounterTable, slot) {
    onGone(this, this.keyOf(slot), false);
    forget.call(this, slot);
  });
}

it(
  'a full memoryStore counts like plain lists, and forgets only what has used less than half of its limit',
  () => {
    let onGone: Parameters<typeof watchForgetting>[0] = () => undefined;
    watchForgetting((...gone) => onGone(...gone));
    let evicted = 0;
    let shared = 0;
    fc.assert(
      fc.property(world, ({ maxEntries, limits, steps }) => {
        const clock = new ManualClock(Date.UTC(2025, 5, 16) - 1500);
        const store = memoryStore({ maxEntries, now: clock.now });
        const log = new ReferenceLog();
        const tiers = ([0, 1] as const).map((tier): readonly LogPolicy[] => [
          slidingWindow({ limit: at(limits, 0)[tier], window: '50ms' }),
          slidingWindow({ limit: at(limits, 1)[tier], window: '700ms' }),
          dailyQuota({ limit: at(limits, 2)[tier] }),
        ]);
        const policies = at(tiers, 0);
        /** Counters that the store has: of keys, and those that keys share. */
        const own = new Map<string, { policy: LogPolicy; key: string; limit: number; charge: MemoryCharge }>();
        const common = new Map<string, { policy: LogPolicy; key: string; charge: MemoryCharge }>();
        const policyOf = new Map<Counters, LogPolicy>();
        const numbers = new Map<Counters, number>();
        let admissions: [Receipt, ReturnType<ReferenceLog['admit']>['receipt']][] = [];
        let isReset = false;
        onGone = (table, key, isLive) => {
          const policy = policyOf.get(table.counters);
          // Nothing was charged in this table.
          if (policy === undefined) return;
          const name = `${policy.id} ${key}`;
          const held = log.held(policy, key, clock.now());
          const limit = own.get(name)?.limit ?? Number.NaN;
          if (isLive) {
            evicted++;
            expect(held / limit).toBeLessThan(0.5);
          } else if (!isReset) {
            expect(held).toBe(0);
          }
          log.reset([policy], [key]);
          own.delete(name);
        };
        for (const step of steps) {
          if (step.kind === 'pass') {
            clock.set(Math.max(0, clock.now() + step.ms));
            // What was charged before a jump may have been moved.
            if (step.ms < 0) admissions = [];
          } else if (step.kind === 'reset') {
            isReset = true;
            store.reset([at(policies, step.policy)], [`k${step.key}`]);
            isReset = false;
          } else if (step.kind === 'settle') {
            if (admissions.length === 0) continue;
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
              let charge: MemoryCharge | undefined = decision.receipt as MemoryCharge;
              for (const [i, policy] of charged.entries()) {
                if (charge === undefined) throw new Error('too few charges');
                const { counters, slot } = charge;
                const key = at(keys, i);
                if (counters.keeper === undefined) {
                  policyOf.set(counters, policy);
                  own.set(`${policy.id} ${key}`, { policy, key, limit: policy.limit, charge });
                  names.push(key);
                } else {
                  shared++;
                  if (!numbers.has(counters)) numbers.set(counters, numbers.size);
                  const name = `shared ${numbers.get(counters)} ${slot}`;
                  common.set(`${policy.id} ${name}`, { policy, key: name, charge });
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
          for (const { policy, key, charge } of [...own.values(), ...common.values()]) {
            if (own.has(`${policy.id} ${key}`) || numbers.has(charge.counters)) charge.counters.fraction(charge.slot);
            log.held(policy, key, clock.now());
          }
          for (const { policy, key } of own.values()) {
            expect(store.peek([policy], [key])).toEqual(log.peek([policy], [key], clock.now()));
          }
          expect(store.size).toBe(own.size);
          expect(store.size).toBeLessThanOrEqual(maxEntries * policies.length);
        }
      }),
      { numRuns: RUNS },
    );
    expect(evicted).toBeGreaterThan(RUNS / 4);
    expect(shared).toBeGreaterThan(RUNS / 4);
  },
  Math.max(60_000, RUNS * 100),
);
