import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import type { BoundPolicies } from './bound-policies.js';
import { secondsUntil } from './headers.js';
import type { Violation } from './store.js';

/** The status of a refusal because the service's own capacity is full. */
export type CapacityStatus = 429 | 503;

/** The violation that holds the request back longest. */
export function longestViolation(violations: readonly Violation[]): Violation {
  const waitEnd = ({ retryAt }: Violation) => retryAt ?? Number.POSITIVE_INFINITY;
  return violations.reduce((longest, next) => (waitEnd(next) > waitEnd(longest) ? next : longest));
}

/**
 * The reply that names every violated policy: 429 `quota-exceeded` if one of them counts what was used. Else only slots are
 * missing: 429 `concurrency-exceeded` if they are the caller's own, `capacity-exceeded` if they are those of all callers.
 */
export function quotaRefusal(
  violations: readonly Violation[],
  { policies }: BoundPolicies,
  now: number,
  capacityStatus: CapacityStatus,
): Reply {
  const { state, retryAt } = longestViolation(violations);
  const violated = policies.filter(({ name }) => violations.some((violation) => violation.state.name === name));
  const states = violations.map(({ state: { name, limit, remaining, resetAt } }) => {
    // A slot may become free at any moment, long before its lease is over.
    const isSlot = violated.some((policy) => policy.name === name && policy.kind === 'concurrency');
    return { name, limit, remaining, resetAt: isSlot ? now : resetAt };
  });
  const headers = retryAt === null ? [] : [retryAfter(retryAt, now)];
  const members = {
    'violated-policies': states.map(({ name }) => name),
    policies: states,
    limit: state.limit,
    remaining: state.remaining,
  };
  if (violated.some(({ kind }) => kind !== 'concurrency')) {
    return refuse(problem('quota-exceeded', { ...members, resetAt: state.resetAt, retryAt }), headers);
  }
  if (violated.some(({ by }) => by !== 'global')) return refuse(problem('concurrency-exceeded', members), headers);
  const full = problem('capacity-exceeded', members);
  return refuse(capacityStatus === 503 ? full : { ...full, status: 429, title: 'Too Many Requests' }, headers);
}

/** The reply to a request that the queue did not accept, or that waited too long. */
export function queueRefusal(
  code: 'queue-full' | 'queue-timeout',
  expectedWait: number,
  capacityStatus: CapacityStatus,
): Reply {
  const refused = problem(code);
  return refuse(capacityStatus === 503 ? refused : { ...refused, status: 429, title: 'Too Many Requests' }, [
    retryAfter(expectedWait, 0),
  ]);
}

/** `Retry-After` in whole seconds, at least one. */
export function retryAfter(retryAt: number, now: number): readonly [name: string, value: string] {
  return ['Retry-After', String(Math.max(1, secondsUntil(retryAt, now)))];
}
