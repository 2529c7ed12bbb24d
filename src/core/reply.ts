import type { Problem } from './problem.js';

/** An answer that a guard gives instead of the handler. Without a problem it has no body (a CORS preflight). */
export interface Reply {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly problem: Problem | undefined;
}

const NO_HEADERS: Reply['headers'] = Object.freeze([]);

/**
 * A reply that refuses with `problem`.
 *
 * ```ts
 * const closed = (exchange) => (isOpen() ? undefined : refuse(problem('scope-insufficient')))
 * ```
 */
export function refuse(problem: Problem, headers: Reply['headers'] = NO_HEADERS): Reply {
  return { status: problem.status, headers, problem };
}
