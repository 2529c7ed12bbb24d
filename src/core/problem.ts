import { badOption, type OptionError } from './option.js';
import { type OwnProblem, ownProblem } from './own-problem.js';
import { PROBLEMS } from './problem-kinds.js';
import type { ProblemMembers } from './problem-members.js';

/** The stable name of a refusal. */
export type ProblemCode = keyof typeof PROBLEMS;

export const PROBLEM_CODES: ReadonlySet<string> = new Set(Object.keys(PROBLEMS));

interface ProblemCore<C extends ProblemCode> {
  /** The problem type, if one is registered (RFC 9457 section 3.1.1). */
  readonly type?: string;
  readonly title: string;
  readonly status: (typeof PROBLEMS)[C]['status'];
  readonly detail: string;
  readonly code: C;
}

type MembersOf<C extends ProblemCode> = C extends keyof ProblemMembers ? ProblemMembers[C] : unknown;

/** A refusal as a value (RFC 9457). Its `code` says which one. */
export type Problem<C extends ProblemCode = ProblemCode> = C extends ProblemCode
  ? ProblemCore<C> & MembersOf<C>
  : never;

/**
 * A problem of the given code, with the members that this code has.
 *
 * ```ts
 * refuse(problem('upload-too-large', { part: 'file', limit: 1_048_576 }))
 * ```
 */
export function problem<C extends ProblemCode>(
  code: C,
  ...members: C extends keyof ProblemMembers ? [ProblemMembers[C]] : []
): Problem<C>;
/**
 * A problem of the service's own, with any further members. Make it once if it never changes.
 *
 * ```ts
 * refuse(problem({ code: 'model-busy', status: 503, title: 'Service Unavailable', detail: 'The model is busy.' }))
 * ```
 * @throws OptionError for a code or a status that cannot be, and for a code of gatewarden
 */
export function problem<P extends OwnProblem>(own: P): P;
export function problem(codeOrOwn: ProblemCode | OwnProblem, members?: object): object {
  if (typeof codeOrOwn !== 'string') return ownProblem(codeOrOwn, PROBLEM_CODES);
  if (!PROBLEM_CODES.has(codeOrOwn)) throw unknownCode(codeOrOwn);
  return { ...PROBLEMS[codeOrOwn], code: codeOrOwn, ...members };
}

function unknownCode(code: string): OptionError {
  const remedy = 'for a problem of your own, write problem({ code, status, title, detail })';
  return badOption('problem', 'code', 'must be a code of gatewarden', code, remedy);
}

/** A problem in a service's own wire format. */
export interface WireProblem {
  /** 400 to 599. Default the problem's own status. */
  readonly status?: number | undefined;
  /** The body, sent as JSON. */
  readonly body: unknown;
  /** Default `application/json`. */
  readonly contentType?: string | undefined;
}

/**
 * The wire format of each problem code, and `default` for codes that are not listed, the service's own among them. The
 * second argument is the id of the request if `requestId` ran before.
 */
export type ProblemFormats = {
  readonly [C in ProblemCode]?: ((problem: Problem<C>, requestId: string | undefined) => WireProblem) | undefined;
} & {
  readonly default?: ((problem: Problem | OwnProblem, requestId: string | undefined) => WireProblem) | undefined;
};
