import type { Readable } from 'node:stream';
import { checkProblem, type OwnProblem } from './own-problem.js';
import type { Problem } from './problem.js';

/**
 * An answer that a guard gives instead of the handler: a problem, a JSON body, a stream, or none of these, such as the
 * answer to a CORS preflight.
 */
export interface Reply {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly problem: Problem | OwnProblem | undefined;
  /** Sent as JSON. Only without a problem. Default no body. */
  readonly body?: unknown;
  /**
   * Opens a body that is sent as it is read, with the `Content-Type` of `headers`. Only without a problem and a body. It is
   * called once at the most, and not for a HEAD request. The stream is destroyed when the client leaves. If it fails, so does
   * the connection, and the error is reported as a fault.
   */
  readonly stream?: (() => Readable) | undefined;
  /**
   * Whether this is what the client has asked for, so that the exchange ends as `completed`, and not as `refused`. Default
   * true for a status under 400 with a body or a stream.
   */
  readonly isAnswer?: boolean | undefined;
}

const NO_HEADERS: Reply['headers'] = Object.freeze([]);
/** Marks what `refuse` has made, and a copy of it. JSON cannot have it. */
const REFUSAL = Symbol('gatewarden.refusal');

/**
 * A reply that refuses with `problem`.
 *
 * ```ts
 * const closed = (exchange) => (isOpen() ? undefined : refuse(problem('scope-insufficient')))
 * ```
 * @throws OptionError for a problem whose status is not 400 to 599, or whose code is not a text
 */
export function refuse(problem: Problem | OwnProblem, headers: Reply['headers'] = NO_HEADERS): Reply {
  checkProblem(problem);
  const reply: Reply & { readonly [REFUSAL]: true } = { status: problem.status, headers, problem, [REFUSAL]: true };
  return reply;
}

/** Whether `refuse` has made a value. What only looks like that, such as the JSON of a stranger, does not count. */
export function isRefusal(value: unknown): value is Reply {
  return typeof value === 'object' && value !== null && REFUSAL in value;
}

/**
 * A reply with a JSON body, such as a report that a guard serves. With a status under 400, the exchange ends as
 * `completed`, since nothing was refused. Unless `headers` says otherwise, the reply is not cached.
 *
 * ```ts
 * const status = (exchange) => (exchange.request.url === '/status' ? jsonReply(200, { queued: 3 }) : undefined)
 * ```
 */
export function jsonReply(status: number, body: unknown, headers: Reply['headers'] = NO_HEADERS): Reply {
  return { status, headers, problem: undefined, body };
}
