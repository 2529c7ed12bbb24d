import type { ServerResponse } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { Exchange } from '../core/exchange.js';
import { renderReply } from '../core/render-reply.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR } from '../core/sequence.js';
import { lowerCaseName } from './header-name.js';

/**
 * Sends the reply of a guard, and ends the exchange unless the body is a stream. If the client has left, the reply is not
 * received, but `idempotent` remembers it.
 */
export function sendReply(response: ServerResponse, exchange: Exchange, reply: Reply): void {
  const { outcome: earlier } = exchange;
  if (response.writableEnded || (earlier !== undefined && earlier.kind !== 'aborted')) return;
  if (earlier !== undefined && (response.headersSent || reply.stream !== undefined)) return;
  if (response.headersSent) {
    exchange.fault(
      new Error(
        'gatewarden: a guard refused after the response had begun; put guards before everything that writes to it',
      ),
    );
    response.destroy();
    return;
  }
  const { status, headers, body, stream, outcome } = renderReply(reply, exchange);
  // Earlier middleware may have set it for a body that is not sent now.
  response.removeHeader('content-encoding');
  for (const [name, value] of headers) response.setHeader(lowerCaseName(name), value);
  response.statusCode = status;
  if (stream !== undefined) {
    sendStream(response, exchange, stream, headers);
    return;
  }
  response.end(body);
  exchange.end(outcome);
}

/** The exchange ends with the response. */
function sendStream(
  response: ServerResponse,
  exchange: Exchange,
  open: () => Readable,
  headers: Reply['headers'],
): void {
  let source: Readable;
  try {
    source = open();
  } catch (error) {
    exchange.fault(error);
    // They are of the body that cannot be sent.
    for (const [name] of headers) response.removeHeader(name);
    sendReply(response, exchange, INTERNAL_ERROR);
    return;
  }
  pipeline(source, response, (error) => {
    // The client has left.
    if (error && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') exchange.fault(error);
  });
}
