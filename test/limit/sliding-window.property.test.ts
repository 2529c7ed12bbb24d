import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { dailyQuota, type LogPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Receipt } from '../../src/limit/store.js';
import { ManualClock } from '../contracts/limit-store.js';
import { at, type Charge, fullestInterval, ownUnits, ReferenceLog, settledUnits, unitsAfter } from './reference-log.js';

/** `PROPERTY_RUNS=100000 npx vitest run test/limit` searches longer. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);
/** Milliseconds for one property, which takes three seconds on an idle machine. */
const TIMEOUT = Math.max(60_000, RUNS * 60);
/** Shortly before midnight, so that a day ends during the runs. */
const START = Date.UTC(2025, 5, 16) - 5_000;
const KEYS = ['a', 'b', 'c'] as const;

const anyWindow = fc.oneof(
  fc.integer({ min: 1, max: 10 }),
  fc.integer({ min: 11, max: 200 }),
  fc.integer({ min: 201, max: 2_000 }),
);
const exactLimit = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 2, arbitrary: fc.integer({ min: 7, max: 64 }) },
  { weight: 2, arbitrary: fc.integer({ min: 65, max: 512 }) },
);
const coarseLimit = fc.integer({ min: 513, max: 3_000 });
const anyUnits = fc.oneof(
  { weight: 4, arbitrary: fc.constant(1) },
  { weight: 3, arbitrary: fc.integer({ min: 2, max: 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: 9, max: 600 }) },
);
/** An index into any list, modulo its length. */
const choice = fc.nat({ max: 59 });

/** Time passes by fractions of a window, and often to within a millisecond of its edge. */
const advance = fc.record({
  kind: fc.constant('advance' as const),
  policy: choice,
  eighths: fc.oneof(fc.constantFrom(0, 8), fc.nat({ max: 16 })),
  plus: fc.integer({ min: -1, max: 2 }),
});
const back = fc.record({
  kind: fc.constant('back' as const),
  policy: choice,
  eighths: fc.nat({ max: 24 }),
});
const admit = fc.record({
  kind: fc.constant('admit' as const),
  /** Which policies are charged together, and the key of each. */
  policies: fc.uniqueArray(fc.nat({ max: 3 }), { minLength: 1, maxLength: 3 }),
  keys: fc.tuple(choice, choice, choice),
  units: anyUnits,
  /** Which of the two limits of each policy applies. */
  tier: fc.constantFrom(0, 0, 0, 1),
  /** How many such requests arrive, and how many milliseconds apart. */
  times: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 2, max: 90 }) }),
  apart: fc.nat({ max: 3 }),
});
const settle = fc.record({
  kind: fc.constant('settle' as const),
  admission: choice,
  units: anyUnits,
  none: fc.boolean(),
});
const peek = fc.record({ kind: fc.constant('peek' as const), key: choice, tier: fc.nat({ max: 1 }) });
const reset = fc.record({ kind: fc.constant('reset' as const), policy: choice, key: choice });

const forwardSteps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: admit },
    { weight: 4, arbitrary: advance },
    { weight: 3, arbitrary: settle },
    { weight: 1, arbitrary: peek },
  ),
  { maxLength: 40, size: 'max' },
);
const anySteps = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: admit },
    { weight: 8, arbitrary: advance },
    { weight: 6, arbitrary: settle },
    { weight: 2, arbitrary: peek },
    { weight: 2, arbitrary: back },
    { weight: 1, arbitrary: reset },
  ),
  { maxLength: 40, size: 'max' },
);

/** Up to four policies, in two versions with different limits: three sliding windows and a day. */
function twoTiers(windows: readonly number[], limits: readonly (readonly [number, number])[]) {
  return ([0, 1] as const).map((tier): readonly LogPolicy[] => [
    ...windows.map((window, i) => slidingWindow({ name: `w${i}`, window: `${window}ms`, limit: at(limits, i)[tier] })),
    dailyQuota({ limit: at(limits, windows.length)[tier] }),
  ]);
}

/** The most units in any interval of a window's length, or in any day. */
function fullest(charges: readonly Charge[], policy: LogPolicy): number {
  if (policy.kind === 'sliding-window') return fullestInterval(charges, policy.window);
  const days = new Map<number, number>();
  for (const { at, units } of charges) {
    const { end } = policy.dayOf(at);
    days.set(end, (days.get(end) ?? 0) + units);
  }
  return Math.max(...days.values());
}

describe('a sliding window of up to 512 units', () => {
  it(
    'returns the same answers as a plain log, whatever the times, costs, refunds and limits',
    () => {
      const world = fc.record({
        windows: fc.array(anyWindow, { minLength: 3, maxLength: 3 }),
        limits: fc.array(fc.tuple(exactLimit, exactLimit), { minLength: 4, maxLength: 4 }),
        steps: anySteps,
      });
      fc.assert(
        fc.property(world, ({ windows, limits, steps }) => {
          const clock = new ManualClock(START);
          const store = memoryStore({ maxEntries: 50, now: clock.now });
          const log = new ReferenceLog();
          const tiers = twoTiers(windows, limits);
          const policies = at(tiers, 0);
          const midnight = Math.ceil(START / 86_400_000) * 86_400_000;
          const admissions: [Receipt, ReturnType<ReferenceLog['admit']>['receipt']][] = [];
          let latest = START;
          for (const step of steps) {
            switch (step.kind) {
              case 'advance':
                clock.advance(Math.max(0, Math.floor((at(windows, step.policy) * step.eighths) / 8) + step.plus));
                break;
              case 'back': {
                // A unit that has left may be forgotten or not. A property of its own covers jumps to before that.
                const gone = [...log.departures, midnight].filter((time) => time <= latest);
                const target = clock.now() - Math.floor((at(windows, step.policy) * step.eighths) / 8);
                clock.set(Math.max(0, target, ...gone));
                break;
              }
              case 'admit': {
                const charged = step.policies.map((i) => at(at(tiers, step.tier), i));
                const keys = charged.map((_, i) => at(KEYS, at(step.keys, i)));
                for (let i = 0; i < step.times; i++) {
                  if (i > 0) clock.advance(step.apart);
                  const units = ownUnits(charged, step.units);
                  const expected = log.admit(charged, keys, units, clock.now());
                  const decision = store.admit(charged, keys, units);
                  expect(decision.kind).toBe(expected.kind);
                  expect(decision.at).toBe(expected.at);
                  expect(decision.states).toEqual(expected.states);
                  if (decision.kind === 'refused') expect(decision.violations).toEqual(expected.violations);
                  else admissions.push([decision.receipt, expected.receipt]);
                }
                break;
              }
              case 'settle': {
                if (admissions.length === 0) break;
                // The latest admissions are settled most often.
                const [receipt, expected] = at(admissions, Math.max(0, admissions.length - 1 - step.admission));
                const units = settledUnits(step.none ? 0 : step.units, step.admission);
                store.settle(receipt, units);
                log.settle(expected, units, clock.now());
                break;
              }
              case 'peek': {
                const keys = policies.map((_, i) => at(KEYS, step.key + i));
                const tier = at(tiers, step.tier);
                expect(store.peek(tier, keys)).toEqual(log.peek(tier, keys, clock.now()));
                break;
              }
              case 'reset':
                store.reset([at(policies, step.policy)], [at(KEYS, step.key)]);
                log.reset([at(policies, step.policy)], [at(KEYS, step.key)]);
                break;
            }
            latest = Math.max(latest, clock.now());
          }
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );

  it(
    'never holds more than its limit, net of refunds, in any interval of its length, and never admits more than twice that',
    () => {
      const world = fc.record({
        windows: fc.array(anyWindow, { minLength: 3, maxLength: 3 }),
        limits: fc.array(exactLimit, { minLength: 4, maxLength: 4 }),
        steps: forwardSteps,
      });
      fc.assert(
        fc.property(world, ({ windows, limits, steps }) => {
          const clock = new ManualClock(START);
          const store = memoryStore({ maxEntries: 50, now: clock.now });
          const [policies = []] = twoTiers(
            windows,
            limits.map((limit) => [limit, limit] as const),
          );
          const counters = new Map<string, { policy: LogPolicy; charges: Charge[]; gross: Charge[] }>();
          const admissions: { receipt: Receipt; charges: readonly Charge[]; settled: boolean }[] = [];
          for (const step of steps) {
            if (step.kind === 'advance') {
              clock.advance(Math.max(0, Math.floor((at(windows, step.policy) * step.eighths) / 8) + step.plus));
            } else if (step.kind === 'peek') {
              store.peek(
                policies,
                policies.map((_, i) => at(KEYS, step.key + i)),
              );
            } else if (step.kind === 'settle') {
              if (admissions.length === 0) continue;
              const admission = at(admissions, Math.max(0, admissions.length - 1 - step.admission));
              const units = step.none ? 0 : step.units;
              store.settle(
                admission.receipt,
                admission.charges.map(() => units),
              );
              if (admission.settled) continue;
              admission.settled = true;
              // Units that a correction added were not admitted.
              for (const charge of admission.charges) charge.units = Math.min(charge.units, units);
            } else {
              const charged = step.policies.map((i) => at(policies, i));
              const keys = charged.map((_, i) => at(KEYS, at(step.keys, i)));
              for (let i = 0; i < step.times; i++) {
                if (i > 0) clock.advance(step.apart);
                const units = ownUnits(charged, step.units);
                const decision = store.admit(charged, keys, units);
                if (decision.kind === 'refused') continue;
                const charges = charged.map((policy, i) => {
                  const name = `${policy.id} ${keys[i]}`;
                  const counter = counters.get(name) ?? { policy, charges: [], gross: [] };
                  counters.set(name, counter);
                  const charge = { at: clock.now(), units: at(units, i) };
                  counter.charges.push(charge);
                  counter.gross.push({ ...charge });
                  return charge;
                });
                admissions.push({ receipt: decision.receipt, charges, settled: false });
              }
            }
          }
          for (const { policy, charges, gross } of counters.values()) {
            expect(fullest(charges, policy)).toBeLessThanOrEqual(policy.limit);
            expect(fullest(gross, policy)).toBeLessThanOrEqual(2 * policy.limit);
          }
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );

  it(
    'forgets no unit early and keeps none too long, wherever the clock jumps',
    () => {
      const world = fc.record({ window: anyWindow, limit: exactLimit, steps: anySteps });
      fc.assert(
        fc.property(world, ({ window, limit, steps }) => {
          const clock = new ManualClock(START);
          const store = memoryStore({ maxEntries: 50, now: clock.now });
          const policy = slidingWindow({ limit, window: `${window}ms` });
          /** `low` is the lowest time shown since the charge: a unit may leave a window after that, and no earlier. */
          const counters = new Map<
            string,
            { surely: (Charge & { low: number })[]; perhaps: { at: number; units: number }[] }
          >();
          const admissions: { receipt: Receipt; charges: readonly [Charge, Charge]; settled: boolean }[] = [];
          const shown = (now: number) => {
            for (const { surely } of counters.values()) {
              for (const charge of surely) charge.low = Math.min(charge.low, now);
              for (const [i, { low }] of [...surely.entries()].reverse()) if (low + window <= now) surely.splice(i, 1);
            }
          };
          for (const step of steps) {
            if (step.kind === 'advance' || step.kind === 'back') {
              const ms = Math.floor((window * step.eighths) / 8);
              clock.advance(step.kind === 'back' ? -ms : Math.max(0, ms + step.plus));
              shown(clock.now());
            } else if (step.kind === 'settle') {
              if (admissions.length === 0) continue;
              const admission = at(admissions, Math.max(0, admissions.length - 1 - step.admission));
              const [surely, perhaps] = admission.charges;
              // What has left may have the time of units that were moved to it.
              if (![...counters.values()].some((counter) => counter.surely.some((charge) => charge === surely)))
                continue;
              const units = step.none ? 0 : step.units;
              store.settle(admission.receipt, [units]);
              if (admission.settled) continue;
              admission.settled = true;
              // Not all may be given back, and nothing is added to a charge that was moved.
              surely.units = Math.min(surely.units, units);
              perhaps.units = Math.max(perhaps.units, units);
            } else if (step.kind === 'admit') {
              for (let i = 0; i < step.times; i++) {
                if (i > 0) clock.advance(step.apart);
                const now = clock.now();
                shown(now);
                const key = at(KEYS, at(step.keys, 0));
                const { surely, perhaps } = counters.get(key) ?? { surely: [], perhaps: [] };
                counters.set(key, { surely, perhaps });
                // What is further ahead than a window counts as now.
                for (const charge of perhaps) charge.at = Math.min(charge.at, now + window);
                const least = surely.reduce((sum, { units }) => sum + units, 0);
                const most = unitsAfter(perhaps, now - window);
                const [state] = store.peek([policy], [key]);
                expect(state?.remaining).toBeGreaterThanOrEqual(Math.max(0, limit - most));
                expect(state?.remaining).toBeLessThanOrEqual(Math.max(0, limit - least));
                const decision = store.admit([policy], [key], [step.units]);
                if (decision.kind === 'refused') {
                  expect(most + step.units).toBeGreaterThan(limit);
                  continue;
                }
                expect(least + step.units).toBeLessThanOrEqual(limit);
                const charges = [
                  { at: now, low: now, units: step.units },
                  { at: Math.max(now, ...perhaps.map((charge) => charge.at)), units: step.units },
                ] as const;
                surely.push(charges[0]);
                perhaps.push(charges[1]);
                admissions.push({ receipt: decision.receipt, charges, settled: false });
              }
            }
          }
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );
});

describe('a sliding window above 512 units', () => {
  const anyLimits: fc.Arbitrary<readonly [number, number]> = fc.oneof(
    // One limit throughout, or one policy with limits on both sides of 512.
    coarseLimit.map((limit): readonly [number, number] => [limit, limit]),
    fc.tuple(exactLimit, coarseLimit),
    fc.tuple(coarseLimit, coarseLimit),
  );
  const longWindow = fc.oneof(anyWindow, fc.integer({ min: 2_001, max: 100_000 }));
  const manyUnits = fc.oneof(anyUnits, fc.integer({ min: 100, max: 3_000 }));
  const steps = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.tuple(admit, manyUnits).map(([step, units]) => ({ ...step, units })) },
      { weight: 3, arbitrary: advance },
      { weight: 1, arbitrary: settle },
    ),
    { maxLength: 40, size: 'max' },
  );

  it(
    'never admits more in any interval of its length, and refuses nothing that had room 1/64 of it earlier',
    () => {
      fc.assert(
        fc.property(fc.record({ window: longWindow, limits: anyLimits, steps }), ({ window, limits, steps }) => {
          const clock = new ManualClock(START);
          const store = memoryStore({ maxEntries: 50, now: clock.now });
          const policies = limits.map((limit) => slidingWindow({ limit, window: `${window}ms`, name: 'coarse' }));
          /** With all that may have been given back, and with nothing given back. */
          const charges: Charge[] = [];
          const most: Charge[] = [];
          const net: Charge[] = [];
          const admissions: { receipt: Receipt; charge: Charge; most: Charge; net: Charge; settled: boolean }[] = [];
          for (const step of steps) {
            if (step.kind === 'advance') {
              clock.advance(Math.max(0, Math.floor((window * step.eighths) / 8) + step.plus));
            } else if (step.kind === 'settle') {
              if (admissions.length === 0) continue;
              const admission = at(admissions, Math.max(0, admissions.length - 1 - step.admission));
              const units = step.none ? 0 : step.units;
              store.settle(admission.receipt, [units]);
              if (admission.settled) continue;
              admission.settled = true;
              admission.charge.units = units;
              admission.most.units = Math.max(admission.most.units, units);
              admission.net.units = Math.min(admission.net.units, units);
            } else {
              for (let i = 0; i < step.times; i++) {
                if (i > 0) clock.advance(step.apart);
                const now = clock.now();
                const policy = at(policies, step.tier);
                const decision = store.admit([policy], ['key'], [step.units]);
                if (decision.kind === 'refused') {
                  expect(unitsAfter(most, now - (window * 65) / 64) + step.units).toBeGreaterThan(policy.limit);
                  const [violation] = decision.violations;
                  if (step.units > policy.limit) expect(violation?.retryAt).toBeNull();
                  else expect(violation?.retryAt).toBeGreaterThan(now);
                  continue;
                }
                expect(unitsAfter(charges, now - window) + step.units).toBeLessThanOrEqual(policy.limit);
                const charge = { at: now, units: step.units };
                const admission = {
                  receipt: decision.receipt,
                  charge,
                  most: { ...charge },
                  net: { ...charge },
                  settled: false,
                };
                charges.push(charge);
                most.push(admission.most);
                net.push(admission.net);
                admissions.push(admission);
              }
            }
          }
          expect(fullestInterval(net, window)).toBeLessThanOrEqual(Math.max(...limits));
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );
});
