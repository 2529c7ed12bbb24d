import { Readable } from 'node:stream';
import type { FastifyPluginAsync, onRequestHookHandler, RawServerBase, RawServerDefault } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { OptionError } from '../core/option.js';
import type { Reply } from '../core/reply.js';
import { INTERNAL_ERROR, sequence } from '../core/sequence.js';
import { exchangeOf } from './node-http.js';
import { sendReply } from './node-reply.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the guards found out about this request. Only there behind `gatewarden` or `guard(...)`. */
    exchange: Exchange;
  }
}

/** What the `gatewarden` plugin takes. */
export interface GatewardenOptions {
  /** In front of every route, unknown paths included. */
  readonly guards: readonly Guard[];
}

/** A pattern, so that another parser of the type may come before or after ours. */
const MULTIPART = /^multipart\/form-data[ \t]*(?:;|$)/i;
/** Marks the requests of an application that has registered `gatewarden`. */
const REGISTERED = Symbol('gatewarden.registered');

/** Hooks that come when the work has been done, or that hand on a payload and have their `next` elsewhere. */
const OTHER_HOOKS = [
  'preParsing',
  'preSerialization',
  'onSend',
  'onResponse',
  'onError',
  'onTimeout',
  'onRequestAbort',
] as const;
const WRONG_HOOK = 'gatewarden: guard(...) goes on onRequest, preValidation or preHandler, on no other hook';
/** All that `guard` has made. */
const HOOKS = new WeakSet<object>();

/** A plugin for applications over HTTP/1 and HTTP/2. */
export type GatewardenPlugin = <RawServer extends RawServerBase = RawServerDefault>(
  ...registered: Parameters<FastifyPluginAsync<GatewardenOptions, RawServer>>
) => Promise<void>;

type FastifyReply = Parameters<onRequestHookHandler>[1];

/**
 * Guards as a Fastify hook: `onRequest`, before the body is read, or `preValidation` or `preHandler` behind it (not
 * `upload`, which reads it itself). They run in order; the first that refuses answers, and the handler never runs. All
 * guards of one request share one exchange, which handlers read as `request.exchange`; it settles when the response has
 * ended. Headers are kept where a handler hijacks the reply. On any other hook of a route it stops the start, where
 * `gatewarden` is registered, and else lets nobody in or reports a fault.
 *
 * ```ts
 * app.post('/generate', { onRequest: guard(authenticate(...), limit({ ... })) }, handler)
 * ```
 */
export function guard<RawServer extends RawServerBase = RawServerDefault>(
  ...guards: readonly Guard[]
): onRequestHookHandler<RawServer> {
  const run = sequence(...guards);
  const hook: onRequestHookHandler = function gatewarden(request, reply, next) {
    if (typeof next !== 'function') throw new OptionError(WRONG_HOOK);
    const exchange = exchangeOf(request.raw, reply.raw);
    request.exchange = exchange;
    // Gone or answered before this guard's turn came: nobody is waiting for the handler.
    if (exchange.outcome !== undefined) return void reply.hijack();
    if (reply.raw.writableEnded) {
      exchange.fault(new OptionError(WRONG_HOOK));
      return void reply.hijack();
    }
    const answer = run(exchange);
    if (answer === undefined) {
      next();
    } else if (answer instanceof Promise) {
      answer
        .then((late) => {
          if (late !== undefined) send(reply, exchange, late);
          // The client may have left, or a time-out answered, while a guard was waiting: then no work is started.
          else if (exchange.outcome !== undefined || reply.sent) reply.hijack();
          else if (exchange.upload !== undefined && !(REGISTERED in request)) {
            exchange.fault(
              new Error('gatewarden: register the gatewarden plugin, without which Fastify waits for the body'),
            );
            send(reply, exchange, INTERNAL_ERROR);
          } else next();
        })
        .catch(next);
    } else {
      send(reply, exchange, answer);
    }
  };
  HOOKS.add(hook);
  // Over HTTP/2 request and response have the members of those of HTTP/1 that are used here.
  return hook as onRequestHookHandler<RawServer>;
}

/** Fastify keeps what it was told of headers to itself; written past it, a reply would lose them. */
function send(reply: FastifyReply, exchange: Exchange, answer: Reply): void {
  if (!reply.raw.headersSent) {
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
  }
  reply.hijack();
  sendReply(reply.raw, exchange, answer);
}

// Asynchronous, so that a bad option rejects the registration: Fastify does not catch what a callback plugin throws.
const plugin: FastifyPluginAsync<GatewardenOptions> = async (app, { guards }) => {
  if (!Array.isArray(guards)) throw new OptionError('gatewarden: the fastify plugin takes "guards", a list of guards');
  app.addHook('onRequest', guard(...guards));
  app.addHook('onRoute', (route) => {
    for (const name of OTHER_HOOKS) {
      if ([route[name]].flat().some((hook) => hook !== undefined && HOOKS.has(hook))) {
        throw new OptionError(`${WRONG_HOOK}: it is on ${name} of ${route.url}`);
      }
    }
  });
  if (!app.hasRequestDecorator(REGISTERED)) app.decorateRequest(REGISTERED, true);
  // What `upload` has read must not be looked for again: by no parser, or it waits for ever.
  app.addHook('preParsing', (request, _reply, payload, done) => {
    done(null, request.exchange?.upload === undefined ? payload : takenBody());
  });
  // What nobody has read stays what it is without us: unsupported.
  if (!app.hasContentTypeParser(MULTIPART)) {
    app.addContentTypeParser(MULTIPART, (request, _payload, parsed) => {
      parsed(request.exchange?.upload === undefined ? unsupported() : null);
    });
  }
};

/** Instead of a body that `upload` has taken. */
function takenBody(): Readable {
  return new Readable({
    read() {
      const error = new Error('gatewarden: upload has read this body, and a content type parser looks for it again');
      this.destroy(Object.assign(error, { statusCode: 500 }));
    },
  });
}

function unsupported(): Error {
  return Object.assign(new Error('Unsupported Media Type: multipart/form-data'), {
    statusCode: 415,
    code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE',
  });
}

/**
 * Puts guards in front of a whole Fastify application, or of the part that registers it.
 *
 * ```ts
 * await app.register(gatewarden, { guards: [securityHeaders(), clientIp()] })
 * ```
 */
export const gatewarden: GatewardenPlugin = fastifyPlugin(plugin, {
  name: 'gatewarden',
  fastify: '5.x',
}) as GatewardenPlugin;
