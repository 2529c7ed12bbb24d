import fc from 'fast-check';
import { expect } from 'vitest';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, dailyQuota, gpuTime, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Decision, LimitStore, Receipt } from '../../src/limit/store.js';
import type { ManualClock } from '../contracts/limit-store.js';
import { type AnyStep, looksAndResets } from './alike-steps.js';
import { ReferenceStore } from './holds-reference.js';

export { START } from './alike-steps.js';

const STEPS = 50;
const LEASE = 3000;

const KEYS = ['a', 'b'] as const;

/** So many are slots, the first ones. */
const SLOTS = 2;
/** By number; the limit differs from step to step. Logs are exact, as those of the reference are. */
const POLICIES: readonly ((limit: number) => QuotaPolicy)[] = [
  (limit) => concurrency({ limit, lease: '3s' }),
  (limit) => concurrency({ limit, lease: '1s', name: 'short' }),
  (limit) => gpuTime({ limit: `${limit}ms`, window: '1m', estimate: '1s', lease: '3s' }),
  (limit) => gpuTime({ limit: `${limit}ms`, window: 'day', timeZone: 'Europe/Berlin', estimate: '1s', lease: '3s' }),
  (limit) => slidingWindow({ limit, window: '10s' }),
  (limit) => dailyQuota({ limit, timeZone: 'Europe/Berlin' }),
];

type Step =
  | AnyStep<readonly number[], readonly (number | undefined)[]>
  | { readonly kind: 'renew' | 'release'; readonly which: number };

const units = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 400 }));
const which = fc.nat(30);

const wait = {
  weight: 5,
  arbitrary: fc.record({
    kind: fc.constant('wait' as const),
    ms: fc.oneof(
      fc.nat(3),
      fc.nat(1500),
      fc.constantFrom(999, 1000, 1001, LEASE - 1, LEASE, 10_000, 60_000, 3_600_000, 86_400_000),
    ),
  }),
};

/** The clock of the server was ahead, and is set right. */
const stepBack = {
  weight: 2,
  arbitrary: fc.record({
    kind: fc.constant('wait' as const),
    // In all no more than an hour, for which stores remember tokens here.
    ms: fc.oneof(fc.nat(1500), fc.constantFrom(999, 1000, 1001, LEASE - 1, LEASE, 10_000, 60_000)).map((ms) => -ms),
  }),
};

const others: readonly fc.WeightedArbitrary<Step>[] = [
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      policies: fc.uniqueArray(fc.nat(POLICIES.length - 1), { minLength: 1, maxLength: 4 }),
      keys: fc.array(fc.nat(KEYS.length - 1), { minLength: 4, maxLength: 4 }),
      limit: fc.constantFrom(1, 2, 5, 60, 512),
      units: fc.array(units, { minLength: 4, maxLength: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which,
      units: fc.array(fc.option(fc.oneof(fc.constant(0), fc.nat(600)), { nil: undefined }), {
        minLength: 4,
        maxLength: 4,
      }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('renew' as const, 'release' as const), which }) },
  ...looksAndResets(POLICIES, KEYS),
];

const policyOf = (number: number, limit: number): QuotaPolicy =>
  (POLICIES[number] as (limit: number) => QuotaPolicy)(limit);

/** The part of a decision in which all stores must agree. */
function comparable(decision: Decision): unknown {
  const { kind, at, states } = decision;
  if (decision.kind === 'refused') return { kind, at, states, violations: decision.violations };
  const { holds = [] } = decision;
  return { kind, at, states, holds: holds.some((hold) => hold !== undefined) ? holds : [] };
}

const ofSteps = (weighted: readonly fc.WeightedArbitrary<Step>[]): fc.Arbitrary<readonly Step[]> =>
  fc.array(fc.oneof(...weighted), { minLength: 5, maxLength: STEPS });

/**
 * Sequences for stores with holds, and whether they are for the reference as well, which is for clocks that only move forward.
 * Which stores forget expired units and counters that they have not been asked about is open. So if the clock steps back, there
 * are only slots, of one key, and they are asked before and after each step back.
 */
export const HOLD_SEQUENCES = [
  ['', ofSteps([wait, ...others]), true],
  [' about slots, also if the clock steps back', ofSteps([wait, stepBack, ...others]), false],
] as const;

/** Does the same with `memoryStore`, the reference and another store over the same clock, and expects the same answers. */
export async function expectHoldsAlike(
  steps: readonly Step[],
  withReference: boolean,
  name: string,
  store: LimitStore,
  clock: ManualClock,
): Promise<void> {
  const keyOf = (number: number): string => (withReference ? KEYS[number % KEYS.length] : undefined) ?? 'a';
  const reference = withReference ? [new ReferenceStore(clock.now)] : [];
  const stores: readonly LimitStore[] = [...reference, memoryStore({ now: clock.now }), store];
  const names = ['the reference', 'memory', name].slice(-stores.length);
  const admissions: (readonly Receipt[])[] = [];
  const receiptsOf = (number: number) => admissions[number % Math.max(1, admissions.length)];
  for (const [i, step] of steps.entries()) {
    /** Runs a step on every store. The results must be equal. */
    const onAll = async <T>(
      run: (store: LimitStore, n: number) => T | Promise<T>,
      of = (result: T): unknown => result,
    ) => {
      const results: T[] = [];
      for (const [n, store] of stores.entries()) results.push(await run(store, n));
      for (const [n, name] of names.entries()) {
        expect(of(results[n] as T), `step ${i} on ${name}`).toEqual(of(results[0] as T));
      }
      return results;
    };
    const peekAll = (key: number) => {
      const policies = POLICIES.slice(0, withReference ? undefined : SLOTS).map((make) => make(60));
      const keys = policies.map(() => keyOf(key));
      return onAll((store) => store.peek(policies, keys));
    };
    switch (step.kind) {
      case 'wait':
        if (step.ms < 0) await peekAll(0);
        clock.advance(step.ms);
        if (step.ms < 0) await peekAll(0);
        break;
      case 'admit': {
        const numbers = withReference ? step.policies : step.policies.filter((policy) => policy < SLOTS);
        if (numbers.length === 0) break;
        const policies = numbers.map((policy) => policyOf(policy, step.limit));
        const keys = policies.map((_policy, j) => keyOf(step.keys[j] ?? 0));
        const decisions = await onAll(
          (store) => store.admit(policies, keys, step.units.slice(0, policies.length)),
          comparable,
        );
        const receipts = decisions.flatMap((decision) => (decision.kind === 'admitted' ? [decision.receipt] : []));
        if (receipts.length > 0) admissions.push(receipts);
        break;
      }
      case 'settle': {
        const receipts = receiptsOf(step.which);
        if (receipts !== undefined) await onAll((store, n) => store.settle(receipts[n] as Receipt, step.units));
        break;
      }
      case 'renew':
      case 'release': {
        const receipts = receiptsOf(step.which);
        const { kind } = step;
        if (receipts !== undefined) await onAll((store, n) => store[kind]?.(receipts[n] as Receipt));
        break;
      }
      case 'peek':
        await peekAll(step.key);
        break;
      case 'reset':
        await onAll((store) => store.reset([policyOf(step.policy, 1)], [keyOf(step.key)]));
        break;
    }
  }
}
