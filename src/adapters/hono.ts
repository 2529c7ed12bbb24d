import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler, Next } from 'hono';
import { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { renderProblem } from '../core/problem-format.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR, sequence } from '../core/sequence.js';
import { exchangeOf } from './node-http.js';
import { mergedVary } from './vary.js';
import { WebMessage } from './web.js';

declare module 'hono' {
  interface ContextVariableMap {
    /** What the guards found out about this request. Only there behind `guard(...)`. */
    exchange: Exchange;
  }
}

/** Makes Hono middleware of guards. */
export type HonoGuard = (...guards: readonly Guard[]) => MiddlewareHandler;

/** What `guardWith` takes. */
export interface CreateGuardOptions {
  /** `getConnInfo` of the runtime, from `hono/bun`, `hono/deno` or `hono/cloudflare-workers`. Node needs none. */
  readonly getConnInfo: (context: Context) => { readonly remote: { readonly address?: string | undefined } };
}

/**
 * Guards as Hono middleware. They run in order; the first that refuses answers, and the handler never runs. All
 * `guard(...)` calls on one request share one exchange, which handlers read as `c.var.exchange`. On Node it settles when
 * the response has ended; elsewhere when the response has been made, or when the request's signal is aborted.
 *
 * ```ts
 * app.post('/generate', guard(authenticate(...), limit({ ... })), handler)
 * ```
 */
export const guard: HonoGuard = (...guards) => middleware(guards, undefined);

/** `guard` for runtimes other than Node, where only Hono's `getConnInfo` knows the caller's address. */
export function createGuard({ getConnInfo }: CreateGuardOptions): HonoGuard {
  return (...guards) => middleware(guards, getConnInfo);
}

function middleware(
  guards: readonly Guard[],
  getConnInfo: CreateGuardOptions['getConnInfo'] | undefined,
): MiddlewareHandler {
  const run = sequence(...guards);
  return async function gatewarden(context, next) {
    // The first guard of a request makes its exchange, and sees to the response once all others are through.
    if (context.var.exchange instanceof Exchange) return passOrAnswer(run, context.var.exchange, next);
    const { incoming, outgoing } = (context.env ?? {}) as NodeBindings;
    if (incoming !== undefined && outgoing !== undefined) {
      const exchange = exchangeOf(incoming, outgoing);
      context.set('exchange', exchange);
      respond(context, await passOrAnswer(run, exchange, next));
      joinVary(context, outgoing);
      return undefined;
    }
    const message = new WebMessage(context.req.raw, () => {
      if (getConnInfo !== undefined) return getConnInfo(context).remote.address;
      if (incoming === undefined) warnOfNoAddress();
      return incoming?.socket.remoteAddress;
    });
    const exchange = new Exchange(message, message);
    context.set('exchange', exchange);
    const { signal } = context.req.raw;
    if (signal.aborted) exchange.abort();
    else signal.addEventListener('abort', () => exchange.abort(), { once: true });
    try {
      respond(context, await passOrAnswer(run, exchange, next));
      for (const [name, value] of message.headers()) addHeader(context, name, value);
      exchange.end({ kind: 'completed', status: context.res.status });
    } catch (error) {
      exchange.end({ kind: 'completed', status: 500 });
      throw error;
    }
    return undefined;
  };
}

let warned = false;

function warnOfNoAddress(): void {
  if (warned) return;
  warned = true;
  process.emitWarning('guard knows no address of its clients here, and takes all for one: see guardWith', {
    code: 'GATEWARDEN_NO_ADDRESS',
  });
}

/** What @hono/node-server hands on of Node. */
interface NodeBindings {
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
}

async function passOrAnswer(run: Guard, exchange: Exchange, next: Next): Promise<Response | undefined> {
  // Gone or answered before this guard's turn came: nobody is waiting for the handler.
  if (exchange.outcome !== undefined) return nobody();
  const result = run(exchange);
  const reply = result instanceof Promise ? await result : result;
  if (reply !== undefined) return answer(exchange, reply);
  // The client may have left while a guard was waiting: then no work is started.
  if (exchange.outcome !== undefined) return nobody();
  await next();
  return undefined;
}

/** Hono wants a response, also where there is no one to read it. */
function nobody(): Response {
  return new Response(null, { status: 503 });
}

function respond(context: Context, response: Response | undefined): void {
  if (response !== undefined) context.res = response;
}

function answer(exchange: Exchange, reply: Reply): Response {
  let response: Response;
  let sent = reply;
  try {
    response = responseOf(exchange, reply);
  } catch (error) {
    // A status or a header that HTTP does not have is a guard's fault like any other.
    exchange.fault(error);
    sent = INTERNAL_ERROR;
    response = responseOf(exchange, sent);
  }
  exchange.end({ kind: 'refused', status: response.status, code: sent.problem?.code });
  return response;
}

function responseOf(exchange: Exchange, reply: Reply): Response {
  const rendered = renderProblem(reply, exchange);
  const headers = new Headers();
  for (const [name, value] of reply.headers) headers.set(name, value);
  if (rendered === undefined) return new Response(null, { status: reply.status, headers });
  headers.set('Cache-Control', 'no-store');
  headers.set('Content-Type', rendered.contentType);
  // Told by hand: a HEAD request is answered without the body that it is counted by.
  headers.set('Content-Length', String(Buffer.byteLength(rendered.body)));
  return new Response(rendered.body, { status: rendered.status, headers });
}

/** On Node guards have set their headers on the response itself, where those of Hono's win; `Vary` holds both. */
function joinVary(context: Context, outgoing: ServerResponse): void {
  if (outgoing.headersSent || !outgoing.hasHeader('Vary')) return;
  addHeader(context, 'Vary', String(outgoing.getHeader('Vary')));
}

/** What the handler has said itself stands; `Vary` holds both. */
function addHeader(context: Context, name: string, value: string): void {
  const own = context.res.headers.get(name);
  const vary = name.toLowerCase() === 'vary';
  if (own !== null && !vary) return;
  const whole = own === null ? value : mergedVary(value, own);
  try {
    context.res.headers.set(name, whole);
  } catch {
    // The response of a fetch cannot be changed.
    const changed = new Response(context.res.body, context.res);
    changed.headers.set(name, whole);
    context.res = undefined;
    context.res = changed;
  }
}
