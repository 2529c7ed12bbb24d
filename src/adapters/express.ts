import type { ServerResponse } from 'node:http';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { sequence } from '../core/sequence.js';
import { exchangeOf } from './node-http.js';
import type { NodeRequest } from './node-message.js';
import { sendReply } from './node-reply.js';

declare global {
  namespace Express {
    interface Request {
      /** What the guards found out about this request. Only there behind `guard(...)`. */
      readonly exchange: Exchange;
    }
  }
}

/** Middleware for Express 4, Express 5 and anything else with their signature. */
export type ExpressMiddleware = (
  request: NodeRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Guards as Express middleware. They run in order; the first that refuses answers, and the handler never runs. All
 * `guard(...)` calls on one request share one exchange, which handlers read as `req.exchange`. Where no guard is
 * asynchronous, `next` is called before the middleware returns.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(...), limit({ ... })), handler)
 * ```
 */
export function guard(...guards: readonly Guard[]): ExpressMiddleware {
  const run = sequence(...guards);
  return function gatewarden(request, response, next) {
    const exchange = exchangeOf(request, response);
    // Gone or answered before this guard's turn came: nobody is waiting for the handler.
    if (exchange.outcome !== undefined) return;
    const reply = run(exchange);
    if (reply === undefined) {
      next();
    } else if (reply instanceof Promise) {
      reply
        .then((late) => {
          if (late !== undefined) sendReply(response, exchange, late);
          // The client may have left, or a time-out answered, while a guard was waiting: then no work is started.
          else if (exchange.outcome === undefined && !response.writableEnded) next();
        })
        .catch(next);
    } else {
      sendReply(response, exchange, reply);
    }
  };
}
