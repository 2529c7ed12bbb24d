import type { Readable } from 'node:stream';
import { noteReply } from './answer-watch.js';
import type { Exchange } from './exchange.js';
import type { Outcome } from './outcome.js';
import { type RenderedProblem, renderProblem } from './problem-format.js';
import type { Reply } from './reply.js';
import { INTERNAL_ERROR } from './sequence.js';

/** A reply in the form in which it is sent. */
export interface RenderedReply {
  readonly status: number;
  /** Headers to set on the response. They replace headers of the same name. */
  readonly headers: Reply['headers'];
  /** JSON text. Undefined for a reply without a body, and for one with a stream. */
  readonly body: string | undefined;
  /** Opens the body, instead of `body`. Undefined for a HEAD request. */
  readonly stream: (() => Readable) | undefined;
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
 * the outcome. If there is a `stream`, send it, and end the exchange when the response has ended. The body is a problem (RFC 9457), or what `problemFormat` makes of it, or the guard's own JSON. A reply
 * that HTTP cannot carry is a fault of the guard: it is reported, and the result is a 500.
 *
 * ```ts
 * const { status, headers, body, outcome } = renderReply(reply, exchange)
 * response.writeHead(status, Object.fromEntries(headers)).end(body)
 * exchange.end(outcome)
 * ```
 */
export function renderReply(reply: Reply, exchange: Exchange): RenderedReply {
  const result = renderedOrFault(reply, exchange);
  noteReply(exchange, result.outcome);
  return result;
}

function renderedOrFault(reply: Reply, exchange: Exchange): RenderedReply {
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
  if (problem !== undefined) {
    if (reply.body !== undefined || reply.stream !== undefined) {
      throw new TypeError('gatewarden: a guard returned a problem and a body');
    }
    return renderedProblem(problem, reply);
  }
  const { status, headers } = reply;
  // Nothing was refused if a guard served what the client asked for.
  const isAnswer = reply.isAnswer ?? ((reply.body !== undefined || reply.stream !== undefined) && status < 400);
  const outcome: Outcome = isAnswer ? { kind: 'completed', status } : { kind: 'refused', status, code: undefined };
  if (reply.stream !== undefined) return streamed(reply, reply.stream, exchange, outcome);
  if (reply.body === undefined) return { status, headers, body: undefined, stream: undefined, outcome };
  const body = JSON.stringify(reply.body);
  if (body === undefined) throw new TypeError('gatewarden: a guard returned a body that is not JSON');
  const defaults = DEFAULTS_OF_BODY.filter(([name]) => !hasHeader(headers, name));
  return { status, headers: withBody(status, [...headers, ...defaults], body), body, stream: undefined, outcome };
}

function streamed(
  { status, headers, body }: Reply,
  open: () => Readable,
  { request }: Exchange,
  outcome: Outcome,
): RenderedReply {
  if (body !== undefined) throw new TypeError('gatewarden: a guard returned a body and a stream');
  if (typeof open !== 'function') {
    throw new TypeError('gatewarden: a guard returned a stream that is not a function that opens it');
  }
  checkBodyAllowed(status);
  const whole: Reply['headers'] = hasHeader(headers, 'Cache-Control')
    ? headers
    : [...headers, ['Cache-Control', 'no-store']];
  const stream = request.method === 'HEAD' ? undefined : open;
  return { status, headers: whole, body: undefined, stream, outcome };
}

const DEFAULTS_OF_BODY: Reply['headers'] = [
  ['Cache-Control', 'no-store'],
  ['Content-Type', 'application/json'],
];

function hasHeader(headers: Reply['headers'], name: string): boolean {
  return headers.some(([other]) => other.toLowerCase() === name.toLowerCase());
}

function renderedProblem({ status, contentType, body }: RenderedProblem, reply: Reply): RenderedReply {
  const headersOfBody: Reply['headers'] = [
    ['Cache-Control', 'no-store'],
    ['Content-Type', contentType],
  ];
  const others = reply.headers.filter(([name]) => !hasHeader(headersOfBody, name));
  const headers = withBody(status, [...others, ...headersOfBody], body);
  return { status, headers, body, stream: undefined, outcome: { kind: 'refused', status, code: reply.problem?.code } };
}

/** The length is set here because a response to HEAD has it without the body. */
function withBody(status: number, headers: Reply['headers'], body: string): Reply['headers'] {
  checkBodyAllowed(status);
  const others = headers.filter(([name]) => name.toLowerCase() !== 'content-length');
  return [...others, ['Content-Length', String(Buffer.byteLength(body))]];
}

function checkBodyAllowed(status: number): void {
  if (!BODILESS.includes(status)) return;
  throw new TypeError(`gatewarden: a guard returned a body with status ${status}, which has no body`);
}

/**
 * For adapters: checks a header that a guard has set or returned.
 * @throws TypeError for a header that HTTP cannot carry
 */
export function checkHeader(name: string, value: string): void {
  // The value is not shown: it may hold a secret.
  if (!TOKEN.test(name)) throw new TypeError(`gatewarden: a guard returned the header name ${JSON.stringify(name)}`);
  if (!FIELD_VALUE.test(value)) {
    throw new TypeError(`gatewarden: a guard returned a value for ${name} that a header cannot hold`);
  }
}
