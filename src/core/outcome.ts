import type { ProblemCode } from './problem.js';

/** The code of a problem: one of gatewarden, or one of the service's own. */
type AnyCode = ProblemCode | (string & {});

/**
 * How an exchange ended: `refused` by a guard, `completed` by the handler or a guard's answer that is no refusal, or `aborted` because the connection closed
 * before the response was finished, whatever status had been set.
 */
export type Outcome =
  | { readonly kind: 'refused'; readonly status: number; readonly code: AnyCode | undefined }
  | { readonly kind: 'completed'; readonly status: number }
  | { readonly kind: 'aborted' };
