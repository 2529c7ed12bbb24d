/**
 * Guards as middleware for Express 4 and 5.
 * @module gatewarden/express
 */
import type { ServerResponse } from 'node:http';
import { noteSkipped } from '../core/answer-watch.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import type { Reply } from '../core/reply.js';
import { combine } from './guard-arguments.js';
import { exchangeOf } from './node-http.js';
import type { NodeRequest } from './node-message.js';
import { sendReply as send } from './node-reply.js';

declare global {
  namespace Express {
    interface Request {
      /** What the guards found out about this request. Only set behind `guard(...)`. */
      readonly exchange: Exchange;
    }
  }
}

/** Middleware for Express 4, Express 5 and any other framework with the same signature. */
export type ExpressMiddleware = (
  request: NodeRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Turns guards into Express middleware. They run in order. The first that refuses answers the request, and the handler
 * does not run. All `guard(...)` calls on one request share one exchange, which handlers read as `req.exchange`. If no
 * guard is asynchronous, `next` is called before the middleware returns.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(apiKeys({ keys }))), handler)
 * ```
 * @throws OptionError without a guard, and for an argument that is not a guard
 */
export function guard(...guards: readonly Guard[]): ExpressMiddleware {
  const run = combine(guards);
  return function gatewarden(request, response, next) {
    const exchange = exchangeOf(request, response);
    // The client has left, or the request is answered already: the handler must not start.
    if (exchange.outcome !== undefined) return noteSkipped(exchange);
    const reply = run(exchange);
    if (reply === undefined) {
      next();
    } else if (reply instanceof Promise) {
      reply
        .then((lateReply) => {
          if (lateReply !== undefined) send(response, exchange, lateReply);
          // While a guard was waiting, the client may have left or a timeout may have answered.
          else if (exchange.outcome === undefined && !response.writableEnded) next();
        })
        .catch(next);
    } else {
      send(response, exchange, reply);
    }
  };
}

/**
 * Sends a reply from a handler, such as that of `jobs`.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(apiKeys({ keys }))), async (req, res) => {
 *   sendReply(req, res, await queue.respond(...))
 * })
 * ```
 */
export function sendReply(request: NodeRequest, response: ServerResponse, reply: Reply): void {
  send(response, exchangeOf(request, response), reply);
}
