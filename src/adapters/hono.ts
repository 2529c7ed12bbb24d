/**
 * Guards as middleware for Hono 4, on Node and on other runtimes.
 * @module gatewarden/hono
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler, Next } from 'hono';
import { noteSkipped } from '../core/answer-watch.js';
import { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { callback, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import { renderReply } from '../core/render-reply.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR } from '../core/sequence.js';
import { warn } from '../core/warning.js';
import { combine } from './guard-arguments.js';
import { exchangeOf } from './node-http.js';
import type { RoutedRequest } from './node-message.js';
import { mergedVary } from './vary.js';
import { WebMessage, webBody } from './web.js';

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
 * Node, the exchange ends when the response has ended. On other runtimes, it ends when the handler has returned the
 * response, or when the signal of the request is aborted.
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
  return isSent(exchange, reply) ? responseOf(exchange, reply) : unreadResponse();
}

/** If the client has left, nobody reads the reply, but `idempotent` remembers it. */
function isSent({ outcome }: Exchange, { stream }: Reply): boolean {
  return outcome === undefined || (outcome.kind === 'aborted' && stream === undefined);
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
      const address = () => (getConnInfo === undefined ? socketAddress(incoming) : getConnInfo(context).remote.address);
      const message = new WebMessage(context.req.raw, address, (name) => context.req.param(name));
      return onWebRequest(run, message, context, next);
    }
    (incoming as RoutedRequest).paramSource = context.req;
    const exchange = exchangeOf(incoming, outgoing);
    context.set('exchange', exchange);
    return answerOrContinue(run, exchange, context, next);
  };
}

/** Off Node, nothing reports the end of a response. The exchange ends when the handler has returned it. */
async function onWebRequest(run: Guard, message: WebMessage, context: Context, next: Next): Promise<void> {
  const exchange = new Exchange(message, message);
  context.set('exchange', exchange);
  const { signal } = context.req.raw;
  if (signal.aborted) exchange.abort();
  else signal.addEventListener('abort', () => exchange.abort(), { once: true });
  try {
    await answerOrContinue(run, exchange, context, next);
    const response = message.captured(context.res);
    if (response !== context.res) replaceResponse(context, await response);
    for (const [name, value] of message.headers()) addHeader(context, name, value);
    exchange.end({ kind: 'completed', status: context.res.status });
  } catch (error) {
    exchange.end({ kind: 'completed', status: 500 });
    throw error;
  }
}

function socketAddress(incoming: IncomingMessage | undefined): string | undefined {
  if (incoming === undefined) warnOfMissingAddress();
  return incoming?.socket.remoteAddress;
}

let hasWarned = false;

function warnOfMissingAddress(): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(
    'guard finds no client addresses on this runtime and treats all clients as one; use createGuard({ getConnInfo })',
    { code: 'GATEWARDEN_NO_ADDRESS' },
  );
}

/** What @hono/node-server passes on from Node. */
interface NodeBindings {
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
}

async function answerOrContinue(run: Guard, exchange: Exchange, context: Context, next: Next): Promise<void> {
  // The client has left, or the request is answered already: the handler must not start.
  if (exchange.outcome !== undefined) {
    noteSkipped(exchange);
    context.res = unreadResponse();
    return;
  }
  const result = run(exchange);
  const reply = result instanceof Promise ? await result : result;
  if (reply !== undefined && isSent(exchange, reply)) context.res = responseOf(exchange, reply);
  // The client may have left while a guard was waiting.
  else if (exchange.outcome !== undefined) context.res = unreadResponse();
  else await next();
}

/** Hono needs a response even after the client has left. */
function unreadResponse(): Response {
  return new Response(null, { status: 503 });
}

function responseOf(exchange: Exchange, reply: Reply): Response {
  const { status, headers, body, stream, outcome } = renderReply(reply, exchange);
  let sent: string | ReadableStream<Uint8Array> | null = body ?? null;
  try {
    if (stream !== undefined) sent = webBody(stream(), (error) => exchange.fault(error));
  } catch (error) {
    exchange.fault(error);
    return responseOf(exchange, INTERNAL_ERROR);
  }
  const response = new Response(sent, { status });
  // One by one, since `Headers` joins repeated names of a list.
  for (const [name, value] of headers) response.headers.set(name, value);
  // A stream ends with the response.
  if (stream === undefined) exchange.end(outcome);
  return response;
}

/** Adds the header of a guard, unless the handler has set it. `Vary` needs both values. */
function addHeader(context: Context, name: string, value: string): void {
  const handlerValue = context.res.headers.get(name);
  if (handlerValue !== null && name.toLowerCase() !== 'vary') return;
  const wholeValue = handlerValue === null ? value : mergedVary(value, handlerValue);
  try {
    context.res.headers.set(name, wholeValue);
  } catch {
    // The headers of a response that came from `fetch` are immutable.
    const changed = new Response(context.res.body, context.res);
    changed.headers.set(name, wholeValue);
    replaceResponse(context, changed);
  }
}

/** Hono merges the headers of the response that it has into a new one. */
function replaceResponse(context: Context, response: Response): void {
  context.res = undefined;
  context.res = response;
}
