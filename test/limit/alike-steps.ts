import fc from 'fast-check';
import { expect } from 'vitest';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Decision, LimitStore, Receipt } from '../../src/limit/store.js';
import type { ManualClock } from '../contracts/limit-store.js';
import { ownUnits, settledUnits } from './reference-log.js';

const STEPS = 50;
/** When the sequences begin. In Berlin, a day of 25 hours begins one hour later. */
export const START = Date.UTC(2025, 9, 25, 21);

const KEYS = ['a', 'b', '2001:db8::/64'] as const;

/** By number; the limit differs from call to call. Windows are exact and coarse, and one needs more than 32 bits. */
const POLICIES: readonly ((limit: number) => QuotaPolicy)[] = [
  (limit) => slidingWindow({ limit, window: '1000ms', name: 'second' }),
  (limit) => slidingWindow({ limit, window: '61007ms', name: 'minute' }),
  (limit) => slidingWindow({ limit, window: `${60 * 86_400_000}ms`, name: 'months' }),
  (limit) => dailyQuota({ limit, name: 'utc' }),
  (limit) => dailyQuota({ limit, name: 'berlin', timeZone: 'Europe/Berlin' }),
];

/** What is done in sequences with holds as well. Policies and keys are numbers of theirs. */
export type AnyStep<Units, SettledUnits> =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'admit';
      readonly policies: readonly number[];
      readonly keys: readonly number[];
      readonly limit: number;
      readonly units: Units;
    }
  | { readonly kind: 'settle'; readonly which: number; readonly units: SettledUnits }
  | { readonly kind: 'peek'; readonly key: number }
  | { readonly kind: 'reset'; readonly policy: number; readonly key: number };

type Step = AnyStep<number, number>;

/** Many counters, each used a little. */
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: waiting() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      policies: fc.uniqueArray(fc.nat(POLICIES.length - 1), { minLength: 1, maxLength: 3 }),
      keys: fc.array(fc.nat(KEYS.length - 1), { minLength: 3, maxLength: 3 }),
      limit: fc.constantFrom(1, 2, 5, 60, 512, 513, 2000),
      units: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 700 })),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const), which: fc.nat(), units: fc.nat(300) }) },
  ...looksAndResets(POLICIES, KEYS),
);

/** Small limits and one key, so that what is given back reaches its bound; and totals beyond 32 bits. */
const stepNearTheBound: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat(3), fc.nat(600), fc.constantFrom(999, 1000, 30_000, 61_007, 86_400_000)),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      policies: fc.uniqueArray(fc.nat(POLICIES.length - 1), { minLength: 1, maxLength: 3 }),
      keys: fc.constant([0, 0, 0]),
      limit: fc.constantFrom(1, 2, 5, 600),
      units: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which: fc.nat(),
      units: fc.oneof(
        { weight: 9, arbitrary: fc.constant(0) },
        { weight: 3, arbitrary: fc.nat(4) },
        { weight: 1, arbitrary: fc.constantFrom(255, 256, 65_536, 3_000_000_000, 5_000_000_000) },
      ),
    }),
  },
  ...looksAndResets(POLICIES, ['a']),
);

/** Steps that look at a key, and that reset a policy of it. */
export function looksAndResets(policies: readonly unknown[], keys: readonly unknown[]) {
  const key = fc.nat(keys.length - 1);
  const reset = { kind: fc.constant('reset' as const), policy: fc.nat(policies.length - 1), key };
  return [
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('peek' as const), key }) },
    { weight: 1, arbitrary: fc.record(reset) },
  ] as const;
}

function waiting() {
  return fc.oneof(
    fc.nat(3),
    fc.nat(1500),
    fc.nat(70_000),
    fc.constantFrom(999, 1000, 1001, 3_600_000, 86_400_000, 61 * 86_400_000),
  );
}

function policyOf(number: number, limit: number): QuotaPolicy {
  const make = POLICIES[number];
  if (make === undefined) throw new Error('no such policy');
  return make(limit);
}

const keyOf = (number: number): string => KEYS[number % KEYS.length] ?? 'a';

/** The part of a decision in which both stores must agree. */
function comparable(decision: Decision): unknown {
  const { kind, at, states } = decision;
  return { kind, at, states, violations: decision.kind === 'refused' ? decision.violations : undefined };
}

const ofSteps = (one: fc.Arbitrary<Step>): fc.Arbitrary<readonly Step[]> =>
  fc.array(one, { minLength: STEPS, maxLength: STEPS });

/** Sequences over many counters. */
export const overManyCounters = ofSteps(step);
/** Sequences near the bound of what is given back. */
export const nearTheBound = ofSteps(stepNearTheBound);

/** Does the same with `memoryStore` and with another store over the same clock, and expects the same answers. */
export async function expectLikeMemory(steps: readonly Step[], store: LimitStore, clock: ManualClock): Promise<void> {
  const memory = memoryStore({ now: clock.now });
  const admissions: { memory: Receipt; other: Receipt }[] = [];
  for (const [i, step] of steps.entries()) {
    switch (step.kind) {
      case 'wait':
        clock.advance(step.ms);
        break;
      case 'admit': {
        const policies = step.policies.map((policy) => policyOf(policy, step.limit));
        const keys = policies.map((_policy, j) => keyOf(step.keys[j] ?? 0));
        const expected = memory.admit(policies, keys, ownUnits(policies, step.units));
        const decided = await store.admit(policies, keys, ownUnits(policies, step.units));
        expect(comparable(decided), `step ${i}`).toEqual(comparable(expected));
        if (expected.kind === 'admitted' && decided.kind === 'admitted') {
          admissions.push({ memory: expected.receipt, other: decided.receipt });
        }
        break;
      }
      case 'settle': {
        const admission = admissions[step.which % Math.max(1, admissions.length)];
        if (admission === undefined) break;
        const units = settledUnits(step.units, step.which);
        memory.settle(admission.memory, units);
        await store.settle(admission.other, units);
        break;
      }
      case 'peek': {
        const policies = POLICIES.map((make) => make(60));
        const keys = policies.map(() => keyOf(step.key));
        expect(await store.peek(policies, keys), `step ${i}`).toEqual(memory.peek(policies, keys));
        break;
      }
      case 'reset':
        memory.reset([policyOf(step.policy, 1)], [keyOf(step.key)]);
        await store.reset([policyOf(step.policy, 1)], [keyOf(step.key)]);
        break;
    }
  }
}
