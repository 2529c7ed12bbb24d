import { noteSkipped } from '../core/answer-watch.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { renderReply } from '../core/render-reply.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR } from '../core/sequence.js';
import { webBody } from './web.js';

/** Runs guards. Returns their response, or undefined if the handler may run. A promise only if a guard is asynchronous. */
export function guardResponse(run: Guard, exchange: Exchange): Response | undefined | Promise<Response | undefined> {
  // The client has left, or the request is answered already: the handler must not start.
  if (exchange.outcome !== undefined) {
    noteSkipped(exchange);
    return unreadResponse();
  }
  const result = run(exchange);
  return result instanceof Promise
    ? result.then((reply) => responseToSend(exchange, reply))
    : responseToSend(exchange, result);
}

function responseToSend(exchange: Exchange, reply: Reply | undefined): Response | undefined {
  if (reply !== undefined) return responseFrom(exchange, reply);
  // The client may have left while a guard was waiting.
  return exchange.outcome === undefined ? undefined : unreadResponse();
}

/** The response for a reply. If the client has left, it is not sent, but `idempotent` remembers it. */
export function responseFrom(exchange: Exchange, reply: Reply): Response {
  const { outcome } = exchange;
  const isSent = outcome === undefined || (outcome.kind === 'aborted' && reply.stream === undefined);
  return isSent ? rendered(exchange, reply) : unreadResponse();
}

/** The runtime needs a response even after the client has left. */
function unreadResponse(): Response {
  return new Response(null, { status: 503 });
}

function rendered(exchange: Exchange, reply: Reply): Response {
  const { status, headers, body, stream, outcome } = renderReply(reply, exchange);
  let sent: string | ReadableStream<Uint8Array> | null = body ?? null;
  try {
    if (stream !== undefined) sent = webBody(stream(), (error) => exchange.fault(error));
  } catch (error) {
    exchange.fault(error);
    return rendered(exchange, INTERNAL_ERROR);
  }
  const response = new Response(sent, { status });
  // One by one, since `Headers` joins repeated names of a list.
  for (const [name, value] of headers) response.headers.set(name, value);
  // A stream ends with the response.
  if (stream === undefined) exchange.end(outcome);
  return response;
}
