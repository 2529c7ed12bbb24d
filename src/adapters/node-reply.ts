import type { ServerResponse } from 'node:http';
import type { Exchange } from '../core/exchange.js';
import { renderReply } from '../core/render-reply.js';
import type { Reply } from '../core/reply.js';
import { lowerCaseName } from './header-name.js';

/** Sends the reply of a guard and ends the exchange as refused. */
export function sendReply(response: ServerResponse, exchange: Exchange, reply: Reply): void {
  if (response.writableEnded || exchange.outcome !== undefined) return;
  if (response.headersSent) {
    exchange.fault(
      new Error(
        'gatewarden: a guard refused after the response had begun; put guards before everything that writes to it',
      ),
    );
    response.destroy();
    return;
  }
  const { status, headers, body, outcome } = renderReply(reply, exchange);
  for (const [name, value] of headers) response.setHeader(lowerCaseName(name), value);
  response.statusCode = status;
  // Earlier middleware may have set it for a body that is not sent now.
  response.removeHeader('content-encoding');
  response.end(body);
  exchange.end(outcome);
}
