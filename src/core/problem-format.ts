import { checkExchange } from './check-exchange.js';
import type { Exchange } from './exchange.js';
import type { Guard } from './guard.js';
import { named } from './guard-name.js';
import { checkOptionNames, OptionError } from './option.js';
import type { OwnProblem } from './own-problem.js';
import type { Problem, ProblemFormats, WireProblem } from './problem.js';
import { PROBLEMS } from './problem-kinds.js';
import { KNOWN_MEMBERS } from './problem-members.js';
import type { Reply } from './reply.js';
import { ignoreRejection } from './thenable.js';

/**
 * Lets a service keep the error bodies and statuses that its clients know. Put it before the guards it words.
 *
 * ```ts
 * problemFormat({
 *   'credentials-missing': () => ({ status: 403, body: { detail: 'Not authenticated' } }),
 *   default: (problem) => ({ body: { error: problem.detail } }),
 * })
 * ```
 * A format that throws, or gives what cannot be sent (a status outside 400 to 599, a body that is not JSON), is
 * reported, and the problem goes out in the ordinary form (RFC 9457). Headers such as `Retry-After` and `WWW-Authenticate` are kept.
 * @throws OptionError for a code that does not exist or a format that is no function
 */
export function problemFormat(formats: ProblemFormats): Guard {
  checkOptionNames('problemFormat', formats, { ...PROBLEMS, default: true });
  for (const [code, format] of Object.entries(formats)) {
    if (format !== undefined && typeof format !== 'function')
      throw new OptionError(`gatewarden: problemFormat "${code}" must be a function`);
  }
  const own: ProblemFormats = Object.freeze({ ...formats });
  return named('problemFormat', (exchange) => {
    checkExchange('problemFormat', exchange);
    exchange.problemFormats = own;
    return undefined;
  });
}

/** A reply's body as it goes over the wire. */
export interface RenderedProblem {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** For adapters: the wire form of a reply's problem; undefined for a reply without a body. */
export function renderProblem(reply: Reply, exchange: Exchange): RenderedProblem | undefined {
  const { problem } = reply;
  if (problem === undefined) return undefined;
  if (exchange.problemFormats !== undefined) {
    try {
      const wire = formatted(problem, exchange.problemFormats, exchange.requestId);
      ignoreRejection(wire);
      if (wire !== undefined) return rendered(wire, reply.status);
    } catch (error) {
      exchange.fault(error);
    }
  }
  const { requestId } = exchange;
  const body = JSON.stringify(requestId === undefined ? problem : { ...problem, requestId });
  return { status: reply.status, contentType: 'application/problem+json', body };
}

function formatted(
  problem: Problem | OwnProblem,
  formats: ProblemFormats,
  requestId: string | undefined,
): WireProblem | undefined {
  const { code } = problem;
  const isFormatted = Object.hasOwn(formats, code) && hasMembers(problem);
  const forCode = isFormatted ? formats[code as keyof ProblemFormats] : undefined;
  return ((forCode ?? formats.default) as ProblemFormats['default'])?.(problem, requestId);
}

/** Whether a problem has the members that a format for its code may read. */
function hasMembers(problem: Problem | OwnProblem): boolean {
  const { code } = problem;
  return !Object.hasOwn(KNOWN_MEMBERS, code) || KNOWN_MEMBERS[code as keyof typeof KNOWN_MEMBERS] in problem;
}

function rendered(wire: WireProblem, ordinaryStatus: number): RenderedProblem {
  const status = wire.status ?? ordinaryStatus;
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(`gatewarden: a problemFormat gave the status ${status}; it must be 400 to 599`);
  }
  const body = JSON.stringify(wire.body);
  if (body === undefined) throw new TypeError('gatewarden: a problemFormat gave a body that is not JSON');
  const contentType = wire.contentType ?? 'application/json';
  if (typeof contentType !== 'string' || !/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(contentType)) {
    throw new TypeError('gatewarden: a problemFormat gave a contentType that no header can hold');
  }
  return { status, contentType, body };
}
