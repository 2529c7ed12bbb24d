import { OptionError } from '../../core/option.js';
import type { BoundPolicies, BoundPolicy } from '../bound-policies.js';
import type { Violation } from '../store.js';

/** Whether waiting can help: nothing but slots is missing, and none that the request could never get. */
export function lacksOnlySlots(violations: readonly Violation[], { policies }: BoundPolicies): boolean {
  return violations.every(({ state, retryAt }) => {
    return retryAt !== null && policies.find(({ name }) => name === state.name)?.kind === 'concurrency';
  });
}

/** The place of the policy that is queued for: the capacity of the service, or else the first `concurrency`. @throws OptionError */
export function queuedPlace(policies: readonly BoundPolicy[]): number {
  const slots = policies.filter(({ kind }) => kind === 'concurrency');
  const policy = slots.find(({ by }) => by === 'global') ?? slots[0];
  if (policy === undefined) {
    throw new OptionError(
      'gatewarden: limit "queue" needs a policy whose slots are waited for; add concurrency({ limit })',
    );
  }
  if (policy.cost !== 1) {
    throw new OptionError(
      `gatewarden: limit "queue" needs a concurrency whose "cost" is 1, but that of policy "${policy.name}" is another`,
    );
  }
  return policies.indexOf(policy);
}
