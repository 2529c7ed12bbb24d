import { badOption, OptionError, text } from './option.js';

/**
 * A refusal that a service defines itself, with a code of its own. It may have more members, which become members of the
 * body.
 *
 * ```ts
 * const busy = problem({ code: 'model-busy', status: 503, title: 'Service Unavailable', detail: 'The model is busy.', model })
 * ```
 */
export interface OwnProblem {
  /** The stable name of the refusal: 1 to 64 letters, digits, `.`, `_` or `-`. Not one of the `ProblemCode`s. */
  readonly code: string;
  /** 400 to 599. */
  readonly status: number;
  /** A short summary that is the same for every occurrence. Without a `type`, the HTTP status phrase. */
  readonly title: string;
  /** What happened this time, and what to do. */
  readonly detail: string;
  /** A URI that names the problem type (RFC 9457 section 3.1.1). Default none. */
  readonly type?: string | undefined;
}

const CODE = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/** A frozen copy of a service's own problem. @throws OptionError */
export function ownProblem<P extends OwnProblem>(own: P, knownCodes: ReadonlySet<string>): P {
  if (typeof own !== 'object' || own === null || Array.isArray(own)) {
    throw new OptionError(
      'gatewarden: problem takes a code such as credentials-missing, or { code, status, title, detail }',
    );
  }
  checkProblem(own);
  if (knownCodes.has(own.code)) {
    throw badOption('problem', 'code', 'must not be a code of gatewarden', own.code, `write problem('${own.code}')`);
  }
  text('problem', 'title', own.title);
  text('problem', 'detail', own.detail);
  if (own.type !== undefined) text('problem', 'type', own.type);
  return Object.freeze({ ...own });
}

/** Checks what every problem must have, so that a guard in plain JavaScript cannot refuse with 200. @throws OptionError */
export function checkProblem({ code, status }: Pick<OwnProblem, 'code' | 'status'>): void {
  if (typeof code !== 'string' || !CODE.test(code)) {
    throw badOption('problem', 'code', 'must be 1 to 64 letters, digits, ".", "_" or "-"', code);
  }
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw badOption('problem', 'status', 'must be a whole number from 400 to 599', status);
  }
}
