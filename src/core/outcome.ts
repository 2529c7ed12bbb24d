import type { ProblemCode } from './problem.js';

/**
 * How an exchange ended: `refused` by a guard, `completed` by the handler, or `aborted` because the connection closed
 * before the response was finished, whatever status had been set.
 */
export type Outcome =
  | { readonly kind: 'refused'; readonly status: number; readonly code: ProblemCode | undefined }
  | { readonly kind: 'completed'; readonly status: number }
  | { readonly kind: 'aborted' };
