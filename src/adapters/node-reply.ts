import type { ServerResponse } from 'node:http';
import type { Exchange } from '../core/exchange.js';
import { renderProblem } from '../core/problem-format.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR } from '../core/sequence.js';

/** Writes a guard's reply and settles the exchange as refused. */
export function sendReply(response: ServerResponse, exchange: Exchange, reply: Reply): void {
  if (response.writableEnded || exchange.outcome !== undefined) return;
  if (response.headersSent) {
    exchange.fault(new Error('gatewarden: a guard refused after the response had begun; put guards first'));
    response.destroy();
    return;
  }
  let sent = reply;
  try {
    write(response, exchange, reply);
  } catch (error) {
    // A status or a header that HTTP does not have is a guard's fault like any other.
    exchange.fault(error);
    sent = INTERNAL_ERROR;
    write(response, exchange, sent);
  }
  exchange.end({ kind: 'refused', status: response.statusCode, code: sent.problem?.code });
}

function write(response: ServerResponse, exchange: Exchange, reply: Reply): void {
  const rendered = renderProblem(reply, exchange);
  for (const [name, value] of reply.headers) response.setHeader(name, value);
  response.statusCode = rendered?.status ?? reply.status;
  // What earlier middleware said of a body that is not this one.
  response.removeHeader('Content-Encoding');
  if (rendered === undefined) {
    response.end();
  } else {
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('Content-Type', rendered.contentType);
    response.setHeader('Content-Length', Buffer.byteLength(rendered.body));
    response.end(rendered.body);
  }
}
