import fc from 'fast-check';
import { expect } from 'vitest';
import { concurrency, dailyQuota, gpuTime, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { LimitStore, Receipt } from '../../src/limit/store.js';
import { ReferenceStore } from './holds-reference.js';
import { at } from './reference-log.js';

const KEYS = ['a', 'b', 'c'] as const;
/** An index into any list, modulo its length. */
const choice = fc.nat({ max: 59 });
const LEASE = 1000;
const WINDOW = 3000;

const admit = fc.record({
  kind: fc.constant('admit' as const),
  policies: fc.uniqueArray(fc.nat({ max: 5 }), { minLength: 1, maxLength: 6 }),
  keys: fc.array(choice, { minLength: 6, maxLength: 6 }),
  units: fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 6 })), {
    minLength: 6,
    maxLength: 6,
  }),
  /** Which of the two limits of each policy applies. */
  tier: fc.constantFrom(0, 0, 0, 1),
});
/** Any of the admissions so far, the latest most often. */
const admission = choice;
/** What each policy is settled to; above 8, it is left as it is. */
const settled = fc.array(fc.nat({ max: 12 }), { minLength: 6, maxLength: 6 });
const step = fc.oneof(
  { weight: 8, arbitrary: admit },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('settle' as const), admission, units: settled }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), admission }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('renew' as const), admission }) },
  // A gateway dies: it neither renews nor ends what it holds.
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), admission }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(
        fc.nat({ max: 30 }),
        fc.nat({ max: 900 }),
        fc.constantFrom(LEASE - 1, LEASE, LEASE + 1, WINDOW - 1, WINDOW),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const), policy: choice, key: choice }) },
);

/** Random interleavings of what gateways do with one store. */
export const holdWorld = fc.record({
  limits: fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 12 })), {
    minLength: 6,
    maxLength: 6,
  }),
  steps: fc.array(step, { maxLength: 60, size: 'max' }),
});

type HoldWorld = typeof holdWorld extends fc.Arbitrary<infer World> ? World : never;

/** Two windows or days, two kinds of slots, and GPU time by the window and by the day. */
function policiesOf(limits: HoldWorld['limits'], tier: 0 | 1): readonly QuotaPolicy[] {
  const limit = (i: number) => at(limits, i)[tier];
  return [
    slidingWindow({ limit: limit(0), window: `${WINDOW}ms`, name: 'requests' }),
    dailyQuota({ limit: limit(1) }),
    concurrency({ limit: limit(2), lease: `${LEASE}ms` }),
    concurrency({ limit: limit(3), lease: '400ms', name: 'share' }),
    gpuTime({ limit: `${limit(4)}ms`, window: `${WINDOW}ms`, estimate: '1ms', lease: `${LEASE}ms` }),
    gpuTime({ limit: `${limit(5)}ms`, window: 'day', estimate: '1ms', lease: '700ms', name: 'gpu-day' }),
  ];
}

interface Clock {
  now(): number;
  advance(ms: number): void;
}

/**
 * Does the same with a store and with the reference, and expects the same answers: decisions, states, slots and tokens. Also
 * expects of the store itself that no more than a limit is held, and that nothing is held a lease after the last crash.
 */
export async function expectAlike(world: HoldWorld, store: LimitStore, clock: Clock): Promise<void> {
  const reference = new ReferenceStore(() => clock.now());
  const tiers = [policiesOf(world.limits, 0), policiesOf(world.limits, 1)] as const;
  const policies = tiers[0];
  const admissions: { receipts: readonly [Receipt, Receipt]; isDead: boolean }[] = [];
  const chosen = (i: number) => {
    const found = admissions.length === 0 ? undefined : at(admissions, Math.max(0, admissions.length - 1 - i));
    return found?.isDead === false ? found.receipts : undefined;
  };
  for (const step of world.steps) {
    switch (step.kind) {
      case 'wait':
        clock.advance(step.ms);
        break;
      case 'admit': {
        const wanted = step.policies.map((i) => at(at(tiers, step.tier), i));
        const keys = wanted.map((_, i) => at(KEYS, at(step.keys, i)));
        const units = wanted.map((_, i) => at(step.units, i));
        const expected = reference.admit(wanted, keys, units);
        const decision = await store.admit(wanted, keys, units);
        expect(decision.kind).toBe(expected.kind);
        expect(decision.at).toBe(expected.at);
        expect(decision.states).toEqual(expected.states);
        if (decision.kind === 'refused' && expected.kind === 'refused') {
          expect(decision.violations).toEqual(expected.violations);
        } else if (decision.kind === 'admitted' && expected.kind === 'admitted') {
          const listed = (holds: typeof decision.holds) =>
            wanted.map((_, i) => holds?.[i] && { slot: holds[i].slot, token: holds[i].token });
          expect(listed(decision.holds)).toEqual(listed(expected.holds));
          admissions.push({ receipts: [decision.receipt, expected.receipt], isDead: false });
        }
        break;
      }
      case 'settle': {
        const receipts = chosen(step.admission);
        if (receipts === undefined) break;
        const units = step.units.map((each) => (each > 8 ? undefined : each));
        await store.settle(receipts[0], units);
        reference.settle(receipts[1], units);
        break;
      }
      case 'release': {
        const receipts = chosen(step.admission);
        if (receipts === undefined) break;
        await store.release?.(receipts[0]);
        reference.release(receipts[1]);
        break;
      }
      case 'renew': {
        const receipts = chosen(step.admission);
        if (receipts === undefined) break;
        expect(await store.renew?.(receipts[0])).toBe(reference.renew(receipts[1]));
        break;
      }
      case 'crash': {
        const admission = admissions.length === 0 ? undefined : at(admissions, step.admission);
        if (admission !== undefined) admission.isDead = true;
        break;
      }
      case 'reset':
        await store.reset([at(policies, step.policy)], [at(KEYS, step.key)]);
        reference.reset([at(policies, step.policy)], [at(KEYS, step.key)]);
        break;
    }
    for (const key of KEYS) {
      const keys = policies.map(() => key);
      expect(await store.peek(policies, keys)).toEqual(reference.peek(policies, keys));
    }
  }
  clock.advance(LEASE);
  for (const key of KEYS) {
    const slots = policies.filter(({ kind }) => kind === 'concurrency');
    const states = await store.peek(
      slots,
      slots.map(() => key),
    );
    expect(states.map(({ remaining }) => remaining)).toEqual(slots.map(({ limit }) => limit));
  }
}
