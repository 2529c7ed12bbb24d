import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { secondsUntil } from './headers.js';
import type { Violation } from './store.js';

/** The violation that holds the request back longest. */
export function longestViolation(violations: readonly Violation[]): Violation {
  const waitEnd = ({ retryAt }: Violation) => retryAt ?? Number.POSITIVE_INFINITY;
  return violations.reduce((longest, next) => (waitEnd(next) > waitEnd(longest) ? next : longest));
}

/** The 429 `quota-exceeded` reply that names every violated policy. */
export function quotaRefusal(violations: readonly Violation[], now: number): Reply {
  const { state, retryAt } = longestViolation(violations);
  const states = violations.map((violation) => violation.state);
  return refuse(
    problem('quota-exceeded', {
      'violated-policies': states.map(({ name }) => name),
      policies: states,
      limit: state.limit,
      remaining: state.remaining,
      resetAt: state.resetAt,
      retryAt,
    }),
    retryAt === null ? [] : [retryAfter(retryAt, now)],
  );
}

/** `Retry-After` in whole seconds, at least one. */
export function retryAfter(retryAt: number, now: number): readonly [name: string, value: string] {
  return ['Retry-After', String(Math.max(1, secondsUntil(retryAt, now)))];
}
