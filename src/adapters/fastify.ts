/**
 * Guards as a plugin and as hooks for Fastify 5.
 * @module gatewarden/fastify
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyPluginAsync } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { noteSkipped } from '../core/answer-watch.js';
import { callerOf } from '../core/caller.js';
import { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { OptionError } from '../core/option.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR, sequence } from '../core/sequence.js';
import { guardFrameworkErrors } from './fastify-errors.js';
import { CORRECT_HOOK, checkHooks, GUARD_AS_PLUGIN, rememberHook, wrongHook } from './fastify-hooks.js';
import { skipReadBodies } from './fastify-upload.js';
import { combine, uncalledGuard } from './guard-arguments.js';
import { exchangeOf } from './node-http.js';
import type { RoutedRequest } from './node-message.js';
import { sendReply as sendRaw } from './node-reply.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the guards found out about this request. Only set behind `gatewarden` or `guard(...)`. */
    exchange: Exchange;
  }
}

/** What the `gatewarden` plugin takes. */
export interface GatewardenOptions {
  /** Guards for every route, and for paths without a route. The list may be empty. */
  readonly guards: readonly Guard[];
}

/** Marks the requests of an application that has registered `gatewarden`. */
const REGISTERED = Symbol('gatewarden.registered');

/** A plugin for an application of any server, logger and type provider. */
export type GatewardenPlugin = (app: object, options: GatewardenOptions) => Promise<void>;

/** A hook that runs guards, in an application of any server, logger and type provider. */
export type FastifyGuardHook = (
  request: {
    readonly raw: object;
    readonly params?: unknown;
    readonly routeOptions?: { readonly url?: string | undefined };
    exchange: Exchange;
  },
  reply: {
    readonly raw: object;
    readonly sent: boolean;
    getHeaders(): Readonly<Record<string, number | string | string[] | undefined>>;
    hijack(): unknown;
  },
  done: (error?: Error) => void,
) => void;

/**
 * Turns guards into a Fastify hook: `onRequest` runs before the body is read, `preValidation` and `preHandler` run
 * after it. `upload` reads the body itself and only works on `onRequest`. The guards run in order. The first that
 * refuses answers the request, and the handler does not run. All guards of one request share one exchange, which
 * handlers read as `request.exchange`. It ends when the response has ended. The headers of guards are also sent if a
 * handler hijacks the reply.
 *
 * On any other hook, a guard cannot protect a route. If the `gatewarden` plugin is registered, the application then
 * does not start. Otherwise each request is answered with 500 or, if the hook runs after the response, reported as a
 * fault.
 *
 * ```ts
 * app.post('/generate', { onRequest: guard(authenticate(apiKeys({ keys }))) }, handler)
 * ```
 * @throws OptionError without a guard, and for an argument that is not a guard
 */
export function guard(...guards: readonly Guard[]): FastifyGuardHook {
  const misuse = misuseOf(guards);
  // Fastify turns the rejection into a failed start or a 500. It does not catch what a plugin throws.
  if (misuse !== undefined) return Promise.reject(misuse) as never;
  return hookOf(combine(guards));
}

/** Recognizes the arguments of a plugin or of a hook in place of guards. */
function misuseOf(args: readonly unknown[]): OptionError | undefined {
  const caller = callerOf(args[0]);
  if (caller === 'a Fastify plugin') return new OptionError(GUARD_AS_PLUGIN);
  if (caller !== 'a Fastify hook') return undefined;
  const error = uncalledGuard(CORRECT_HOOK);
  const [request, reply] = args as [{ raw: IncomingMessage }, { raw?: ServerResponse }];
  // After the response, Fastify would not report the error.
  if (reply.raw?.writableEnded) exchangeOf(request.raw, reply.raw).fault(error);
  return error;
}

function hookOf(run: Guard): FastifyGuardHook {
  const hook: FastifyGuardHook = function gatewarden(request, reply, next) {
    if (typeof next !== 'function') throw new OptionError(wrongHook());
    if ('addHook' in request) return next(new OptionError(GUARD_AS_PLUGIN));
    const response = responseOf(reply);
    const exchange = exchangeOf(request.raw as IncomingMessage, response);
    request.exchange = exchange;
    const routed = request.raw as RoutedRequest;
    routed.params = request.params;
    routed.routed = request;
    // The client has left, or the request is answered already: the handler must not start.
    if (exchange.outcome !== undefined) {
      noteSkipped(exchange);
      return void reply.hijack();
    }
    if (response.writableEnded) {
      exchange.fault(new OptionError(wrongHook()));
      return void reply.hijack();
    }
    const answer = run(exchange);
    if (answer === undefined) {
      next();
    } else if (answer instanceof Promise) {
      answer
        .then((lateAnswer) => {
          if (lateAnswer !== undefined) send(reply, exchange, lateAnswer);
          // While a guard was waiting, the client may have left or a timeout may have answered.
          else if (exchange.outcome !== undefined || reply.sent) reply.hijack();
          else if (exchange.upload !== undefined && !(REGISTERED in request)) {
            exchange.fault(pluginMissing());
            send(reply, exchange, INTERNAL_ERROR);
          } else next();
        })
        .catch(next);
    } else {
      send(reply, exchange, answer);
    }
  };
  rememberHook(hook);
  return hook;
}

/**
 * Sends a reply from a handler, such as that of `jobs`. Return what it returns.
 *
 * ```ts
 * app.post('/generate', { onRequest: guard(authenticate(apiKeys({ keys }))) }, async (request, reply) =>
 *   sendReply(request, reply, await queue.respond(...)),
 * )
 * ```
 * @throws TypeError without `guard(...)` on the route
 */
export function sendReply<R extends FastifyReply>(
  request: { readonly exchange: Exchange },
  reply: R,
  answer: Reply,
): R {
  const exchange: unknown = request.exchange;
  if (!(exchange instanceof Exchange)) throw new TypeError('gatewarden: sendReply needs guard(...) on the route');
  send(reply, exchange, answer);
  return reply;
}

type FastifyReply = Parameters<FastifyGuardHook>[1];

/** Over HTTP/2, request and response have the same members as over HTTP/1, as far as they are used here. */
function responseOf(reply: FastifyReply): ServerResponse {
  return reply.raw as ServerResponse;
}

/** Fastify holds the headers of other hooks until it sends the reply itself. A hijacked reply would lose them. */
function send(reply: FastifyReply, exchange: Exchange, answer: Reply): void {
  const response = responseOf(reply);
  if (!response.headersSent) {
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) response.setHeader(name, value);
    }
  }
  reply.hijack();
  sendRaw(response, exchange, answer);
}

// Asynchronous, so that an invalid option rejects the registration: Fastify does not catch what a callback plugin
// throws.
const plugin: FastifyPluginAsync<GatewardenOptions> = async (app, options) => {
  if (callerOf(app) !== 'a Fastify plugin' || !Array.isArray(options?.guards)) {
    throw new OptionError(
      'gatewarden: the Fastify plugin takes a list of guards; write app.register(gatewarden, { guards: [...] })',
    );
  }
  const { guards } = options;
  const hook = hookOf(sequence(...guards));
  app.addHook('onRequest', hook);
  guardFrameworkErrors(app, hook);
  app.addHook('onRoute', (route) => checkHooks(route, guard));
  if (!app.hasRequestDecorator(REGISTERED)) app.decorateRequest(REGISTERED, true);
  skipReadBodies(app);
};

function pluginMissing(): Error {
  return new Error(
    'gatewarden: upload has read the body, and Fastify would wait for it forever; register the gatewarden plugin: ' +
      'app.register(gatewarden, { guards: [] })',
  );
}

/**
 * Puts guards in front of a whole Fastify application, or of the part that registers it. The registration rejects with
 * an `OptionError` without a list of guards.
 *
 * ```ts
 * await app.register(gatewarden, { guards: [securityHeaders(), clientIp()] })
 * ```
 */
export const gatewarden: GatewardenPlugin = fastifyPlugin(plugin, {
  name: 'gatewarden',
  fastify: '5.x',
}) as GatewardenPlugin;
