/**
 * Guards for handlers that take a `Request` and return a `Response`, without a framework: Next.js route handlers,
 * `Bun.serve`, `Deno.serve` and Cloudflare Workers.
 * @module gatewarden/web
 */
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { callback, checkOptionNames, OptionError, type OptionNames, shown } from '../core/option.js';
import type { Reply } from '../core/reply.js';
import { sequence } from '../core/sequence.js';
import { isThenable } from '../core/thenable.js';
import { WebMessage } from './web.js';
import { addressFrom, paramsFrom } from './web-client.js';
import { beginExchange, finish, knownExchange } from './web-exchange.js';
import { guardResponse, responseFrom } from './web-reply.js';

/** A handler of the web. What the runtime passes after the request, such as `{ params }` or `env, ctx`, is passed on. */
export type WebHandler<R extends Request, Args extends readonly unknown[], Result> = (
  this: unknown,
  request: R,
  ...args: Args
) => Result | Promise<Result>;

/** The response of a handler, or of a guard. Undefined only if the handler may return that, as after an upgrade in Bun. */
type Answer<Result> = Response | Extract<Result, undefined>;

/** Puts guards before a handler. */
export type Guarded = <R extends Request, Args extends readonly unknown[], Result extends Response | undefined>(
  handler: WebHandler<R, Args, Result>,
  ...guards: readonly Guard[]
) => (this: unknown, request: R, ...args: Args) => Promise<Answer<Result>>;

/** The options of `createGuarded`. Each function receives what the runtime passes to the handler. */
export interface CreateGuardedOptions<R extends Request = Request, Args extends readonly unknown[] = readonly never[]> {
  /**
   * Returns the address of the client, or that of the proxy in front of the service, which `clientIp` must trust. Undefined
   * on a Unix socket. Never read it from a header that a client can send. Default: as Bun, Deno, Cloudflare and
   * `@hono/node-server` report it. On other runtimes, all clients count as one, and a warning says so.
   */
  readonly address?: ((request: R, ...args: Args) => string | undefined) | undefined;
  /**
   * Returns the parameters of the route, or a promise of them. Default: `request.params`, as in Bun, or `params` of the second
   * argument, as in Next.js.
   */
  readonly params?: ((request: R, ...args: Args) => unknown) | undefined;
  /** Returns the pattern of the route, such as `/jobs/:id`, for metrics. Default none. */
  readonly routePattern?: ((request: R, ...args: Args) => string | undefined) | undefined;
}

const OPTIONS: OptionNames<CreateGuardedOptions> = { address: true, params: true, routePattern: true };

/**
 * Puts guards before a handler that returns a `Response`. They run in order. The first that refuses answers the request,
 * and the handler does not run. All `guarded` handlers that see one request share one exchange, which handlers read with
 * `exchangeOf`. If the handler throws, the runtime answers as it does without guards.
 *
 * The exchange ends when the runtime has read the body of the response, or cancels it. A runtime does not show when the
 * client has received it. A body that is in memory, such as that of `Response.json`, counts as sent when the handler has
 * returned it. If the client leaves, the exchange is aborted, where the runtime aborts the signal of the request.
 *
 * ```ts
 * export const POST = guarded(generate, authenticate(apiKeys({ keys })))
 * ```
 * @throws OptionError for a handler that is not a function, without a guard, and for an argument that is not a guard
 */
export const guarded: Guarded = createGuarded();

/**
 * Creates `guarded` for a runtime that does not show the address of a client, or with routes of your own.
 *
 * ```ts
 * const guarded = createGuarded({ address: (request) => request.headers.get('x-real-ip') ?? undefined })
 * ```
 * @throws OptionError for an option that is not a function
 */
export function createGuarded<R extends Request = Request, Args extends readonly unknown[] = readonly never[]>(
  options: CreateGuardedOptions<R, Args> = {},
): Guarded {
  checkOptionNames('createGuarded', options, OPTIONS);
  const address = callback('createGuarded', 'address', options.address) as Read | undefined;
  const params = callback('createGuarded', 'params', options.params) as Read | undefined;
  const routePattern = callback('createGuarded', 'routePattern', options.routePattern) as Read | undefined;

  function messageOf(request: Request, args: readonly unknown[], found: unknown): WebMessage {
    return new WebMessage(
      request,
      () => textOrNone(address === undefined ? addressFrom(request, args[0]) : address(request, ...args)),
      (name) => ownText(found, name),
      () => textOrNone(routePattern?.(request, ...args)),
    );
  }

  return function guarded<R extends Request, Args extends readonly unknown[], Result extends Response | undefined>(
    handler: WebHandler<R, Args, Result>,
    ...guards: readonly Guard[]
  ) {
    const run = combined(handler, guards);
    return async function gatewarden(this: unknown, request: R, ...args: Args): Promise<Answer<Result>> {
      const handle = () => Reflect.apply(handler, this, [request, ...args]) as Promise<Answer<Result>>;
      const known = knownExchange(request);
      if (known !== undefined) return (await guardResponse(run, known)) ?? handle();
      const found = params === undefined ? paramsFrom(request, args[0]) : params(request, ...args);
      const message = messageOf(request, args, isThenable(found) ? await found : found);
      const exchange = beginExchange(request, message);
      try {
        const answer = guardResponse(run, exchange);
        const response = (answer instanceof Promise ? await answer : answer) ?? (await handle());
        if (response !== undefined) return await finish(message, exchange, response);
        // Bun has upgraded the connection.
        exchange.end({ kind: 'completed', status: 101 });
        return response;
      } catch (error) {
        exchange.end({ kind: 'completed', status: 500 });
        throw error;
      }
    };
  };
}

type Read = (request: Request, ...args: readonly unknown[]) => unknown;

/**
 * The exchange of a request, in its handler.
 *
 * ```ts
 * const { id } = principalOf(exchangeOf(request))
 * ```
 * @throws TypeError outside of `guarded`
 */
export function exchangeOf(request: Request): Exchange {
  const exchange = knownExchange(request);
  if (exchange === undefined) throw new TypeError('gatewarden: exchangeOf needs guarded(...) around the handler');
  return exchange;
}

/**
 * The response for a reply, such as that of `jobs`, for a handler to return.
 *
 * ```ts
 * const POST = guarded(async (request) => sendReply(request, await queue.respond(...)), authenticate(...))
 * ```
 * @throws TypeError outside of `guarded`
 */
export function sendReply(request: Request, reply: Reply): Response {
  return responseFrom(exchangeOf(request), reply);
}

function combined(handler: unknown, guards: readonly Guard[]): Guard {
  if (typeof handler !== 'function') {
    throw new OptionError(
      `gatewarden: guarded takes a handler first, got ${shown(handler)}; write guarded(handler, authenticate(...))`,
    );
  }
  if (guards.length === 0) {
    throw new OptionError('gatewarden: guarded needs at least one guard, such as guarded(handler, authenticate(...))');
  }
  return sequence(...guards);
}

/** What a function of the service returned, if it is a text. */
function textOrNone(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function ownText(params: unknown, name: string): string | undefined {
  if (typeof params !== 'object' || params === null || !Object.hasOwn(params, name)) return undefined;
  return textOrNone((params as Readonly<Record<string, unknown>>)[name]);
}
