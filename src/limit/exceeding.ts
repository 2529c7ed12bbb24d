import type { QuotaState } from '../core/quota-state.js';
import type { BoundPolicies, BoundPolicy } from './bound-policies.js';
import { granuleOf, MAX_LIMIT } from './policies/sliding-window.js';
import type { Decision, Violation } from './store.js';

const beyond = new WeakMap<BoundPolicies, BoundPolicies>();
const within = new WeakMap<BoundPolicies, BoundPolicies>();

/**
 * The same policies for a client that may exceed its own quotas. They are charged in the same counters, under a limit that is
 * never reached. Slots, and whatever is counted for other clients too, keep their limits: `global` and the keys of functions.
 */
export function beyondOwnQuotas(bound: BoundPolicies): BoundPolicies {
  let raised = beyond.get(bound);
  if (raised === undefined) {
    raised = { ...bound, policies: Object.freeze(bound.policies.map(beyondQuota)) };
    beyond.set(bound, raised);
    within.set(raised, bound);
  }
  return raised;
}

function beyondQuota(policy: BoundPolicy): BoundPolicy {
  if (!isOwnQuota(policy)) return policy;
  const limit = Math.max(MAX_LIMIT, policy.limit);
  if (policy.kind !== 'sliding-window') return Object.freeze({ ...policy, limit });
  // A window that keeps the time of every unit would have no room for them.
  return Object.freeze({ ...policy, limit, granule: granuleOf(limit, policy.window) });
}

function isOwnQuota({ kind, by }: BoundPolicy): boolean {
  return kind !== 'concurrency' && by !== 'global' && typeof by !== 'function';
}

/** A decision about policies of `beyondOwnQuotas`, with the limits that the client has. */
export function withOwnLimits(decision: Decision, raised: BoundPolicies): Decision {
  const bound = within.get(raised);
  if (bound === undefined) return decision;
  // Member by member: a store may answer with an object whose members are computed.
  const { at } = decision;
  const states = decision.states.map((state) => ownState(state, bound, raised));
  if (decision.kind === 'admitted') {
    return { kind: 'admitted', at, states, holds: decision.holds, receipt: decision.receipt };
  }
  const violations = decision.violations.map(
    ({ state, retryAt }): Violation => ({ state: ownState(state, bound, raised), retryAt }),
  );
  return { kind: 'refused', at, states, violations };
}

function ownState(state: QuotaState, { policies }: BoundPolicies, raised: BoundPolicies): QuotaState {
  const i = policies.findIndex(({ name }) => name === state.name);
  const limit = policies[i]?.limit ?? state.limit;
  const used = (raised.policies[i]?.limit ?? state.limit) - state.remaining;
  return { name: state.name, limit, remaining: Math.max(0, limit - used), resetAt: state.resetAt };
}
