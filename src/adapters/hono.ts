/**
 * Guards as middleware for Hono 4, on Node and on other runtimes.
 * @module gatewarden/hono
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler, Next } from 'hono';
import { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { callback, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import type { Reply } from '../core/reply.js';
import { combine } from './guard-arguments.js';
import { honoRoute } from './hono-route.js';
import { exchangeOf } from './node-http.js';
import type { NodeRequest, RoutedRequest } from './node-message.js';
import { WebMessage } from './web.js';
import { beginExchange, finish, knownExchange, warnOfMissingAddress } from './web-exchange.js';
import { withHeaders } from './web-headers.js';
import { guardResponse, responseFrom } from './web-reply.js';

declare module 'hono' {
  interface ContextVariableMap {
    /** What the guards found out about this request. Only set behind `guard(...)`. */
    exchange: Exchange;
  }
}

/** Turns guards into Hono middleware. */
export type HonoGuard = (...guards: readonly Guard[]) => MiddlewareHandler;

/** What `createGuard` takes. */
export interface CreateGuardOptions {
  /** `getConnInfo` of the runtime, from `hono/bun`, `hono/deno` or `hono/cloudflare-workers`. */
  readonly getConnInfo: (context: Context) => { readonly remote: { readonly address?: string | undefined } };
}

const OPTIONS: OptionNames<CreateGuardOptions> = { getConnInfo: true };

/**
 * Turns guards into Hono middleware. They run in order. The first that refuses answers the request, and the handler
 * does not run. All `guard(...)` calls on one request share one exchange, which handlers read as `c.var.exchange`. On
 * Node, the exchange ends when the response has ended. On other runtimes, it ends when the runtime has read the body of the
 * response or has cancelled it, or when the signal of the request is aborted.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(apiKeys({ keys }))), handler)
 * ```
 * @throws OptionError without a guard, and for an argument that is not a guard
 */
export const guard: HonoGuard = (...guards) => middleware(guards, undefined);

/**
 * Creates `guard` for a runtime other than Node, on which Hono needs `getConnInfo` to find the address of a client.
 *
 * ```ts
 * import { getConnInfo } from 'hono/bun'
 * const guard = createGuard({ getConnInfo })
 * ```
 * @throws OptionError without `getConnInfo`
 */
export function createGuard(options: CreateGuardOptions): HonoGuard {
  checkOptionNames('createGuard', options, OPTIONS);
  const getConnInfo = callback('createGuard', 'getConnInfo', options.getConnInfo);
  if (getConnInfo === undefined) {
    throw new OptionError('gatewarden: createGuard needs "getConnInfo"; import it from hono/bun, or from your runtime');
  }
  return (...guards) => middleware(guards, getConnInfo);
}

/**
 * Sends a reply from a handler, such as that of `jobs`.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(apiKeys({ keys }))), async (c) => sendReply(c, await queue.respond(...)))
 * ```
 * @throws TypeError without `guard(...)` on the route
 */
export function sendReply(context: Context, reply: Reply): Response {
  const exchange: unknown = context.get('exchange');
  if (!(exchange instanceof Exchange)) throw new TypeError('gatewarden: sendReply needs guard(...) on the route');
  return responseFrom(exchange, reply);
}

function middleware(
  guards: readonly Guard[],
  getConnInfo: CreateGuardOptions['getConnInfo'] | undefined,
): MiddlewareHandler {
  const run = combine(guards);
  return function gatewarden(context, next) {
    // The first guard call of a request creates the exchange.
    const known: unknown = context.get('exchange');
    if (known instanceof Exchange) return answerOrContinue(run, known, context, next);
    const { incoming, outgoing } = (context.env ?? {}) as NodeBindings;
    if (incoming === undefined || outgoing === undefined) {
      // Of `guarded` around the application, or of `guardUpgrade` before an upgrade.
      const outer = knownExchange(context.req.raw) ?? (incoming as NodeRequest | undefined)?.exchange;
      if (outer instanceof Exchange) {
        context.set('exchange', outer);
        return answerOrContinue(run, outer, context, next);
      }
      const address = () => (getConnInfo === undefined ? socketAddress(incoming) : getConnInfo(context).remote.address);
      const { req } = context;
      const message = new WebMessage(
        req.raw,
        address,
        (name) => req.param(name),
        () => honoRoute(req),
      );
      // On serverless platforms, it may be a plain object.
      const socket = typeof incoming?.socket.once === 'function' ? incoming.socket : undefined;
      return onWebRequest(run, message, context, next, socket);
    }
    (incoming as RoutedRequest).paramSource = context.req;
    const exchange = exchangeOf(incoming, outgoing);
    context.set('exchange', exchange);
    return answerOrContinue(run, exchange, context, next);
  };
}

/**
 * Off Node, only the body shows when a response has ended. With a socket, it is the handshake of a WebSocket on Node: its
 * exchange lasts as long as the connection, unless it is refused.
 */
async function onWebRequest(
  run: Guard,
  message: WebMessage,
  context: Context,
  next: Next,
  socket: IncomingMessage['socket'] | undefined,
): Promise<void> {
  const exchange = beginExchange(context.req.raw, message);
  context.set('exchange', exchange);
  if (socket?.destroyed) exchange.abort();
  else socket?.once('close', () => exchange.abort());
  try {
    await answerOrContinue(run, exchange, context, next);
    if (socket === undefined || context.res.status >= 400) {
      replaceResponse(context, await finish(message, exchange, context.res));
    } else replaceResponse(context, withHeaders(context.res, message.headers()));
  } catch (error) {
    exchange.end({ kind: 'completed', status: 500 });
    throw error;
  }
}

function socketAddress(incoming: IncomingMessage | undefined): string | undefined {
  if (incoming === undefined) warnOfMissingAddress('guard', 'createGuard({ getConnInfo })');
  return incoming?.socket.remoteAddress;
}

/** What @hono/node-server passes on from Node. */
interface NodeBindings {
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
}

async function answerOrContinue(run: Guard, exchange: Exchange, context: Context, next: Next): Promise<void> {
  const answer = guardResponse(run, exchange);
  const response = answer instanceof Promise ? await answer : answer;
  if (response === undefined) await next();
  else context.res = response;
}

/** Hono merges the headers of the response that it has into a new one. */
function replaceResponse(context: Context, response: Response): void {
  if (context.res === response) return;
  context.res = undefined;
  context.res = response;
}
