import type { Exchange } from './exchange.js';
import type { Outcome } from './outcome.js';
import { renderProblem } from './problem-format.js';
import type { Reply } from './reply.js';
import { INTERNAL_ERROR } from './sequence.js';

/** A reply in the form in which it is sent. */
export interface RenderedReply {
  readonly status: number;
  /** Headers to set on the response. They replace headers of the same name. */
  readonly headers: Reply['headers'];
  /** JSON text. Undefined for a reply without a body. */
  readonly body: string | undefined;
  /** The outcome to end the exchange with. */
  readonly outcome: Outcome;
}

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 section 5.5. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Statuses whose responses have no body (RFC 9110 section 6.4.1). */
const BODILESS: readonly number[] = [204, 205, 304];

/**
 * Renders the reply of a guard. For adapters: set the status and the headers, send the body, and end the exchange with
 * the outcome. The body is a problem (RFC 9457), or what `problemFormat` makes of it. A reply that HTTP cannot carry is
 * a fault of the guard: it is reported, and the result is a 500.
 *
 * ```ts
 * const { status, headers, body, outcome } = renderReply(reply, exchange)
 * response.writeHead(status, Object.fromEntries(headers)).end(body)
 * exchange.end(outcome)
 * ```
 */
export function renderReply(reply: Reply, exchange: Exchange): RenderedReply {
  try {
    return rendered(reply, exchange);
  } catch (error) {
    exchange.fault(error);
    return rendered(INTERNAL_ERROR, exchange);
  }
}

function rendered(reply: Reply, exchange: Exchange): RenderedReply {
  for (const [name, value] of reply.headers) checkHeader(name, value);
  const problem = renderProblem(reply, exchange);
  const status = problem?.status ?? reply.status;
  const outcome: Outcome = { kind: 'refused', status, code: reply.problem?.code };
  if (problem === undefined) return { status, headers: reply.headers, body: undefined, outcome };
  if (BODILESS.includes(status)) {
    throw new TypeError(`gatewarden: a guard returned a problem with status ${status}, which has no body`);
  }
  const headersOfBody: Reply['headers'] = [
    ['Cache-Control', 'no-store'],
    ['Content-Type', problem.contentType],
    // Set here because a response to HEAD has the length without the body.
    ['Content-Length', String(Buffer.byteLength(problem.body))],
  ];
  const replaced = new Set(headersOfBody.map(([name]) => name.toLowerCase()));
  const others = reply.headers.filter(([name]) => !replaced.has(name.toLowerCase()));
  return { status, headers: [...others, ...headersOfBody], body: problem.body, outcome };
}

function checkHeader(name: string, value: string): void {
  // The value is not shown: it may hold a secret.
  if (!TOKEN.test(name)) throw new TypeError(`gatewarden: a guard returned the header name ${JSON.stringify(name)}`);
  if (!FIELD_VALUE.test(value)) {
    throw new TypeError(`gatewarden: a guard returned a value for ${name} that a header cannot hold`);
  }
}
