import type { FastifyInstance, FastifyServerOptions, onRequestHookHandler } from 'fastify';

type FrameworkErrors = NonNullable<FastifyServerOptions['frameworkErrors']>;
type Request = Parameters<onRequestHookHandler>[0];
type Reply = Parameters<onRequestHookHandler>[1];

/** The symbol under which Fastify keeps its options. Only the application itself has it, and no part of it. */
const OPTIONS = 'fastify.options';

const hooksOf = new WeakMap<object, onRequestHookHandler[]>();

/**
 * Runs a hook before Fastify's own answer to a request that it cannot route, such as one for `/%`. Fastify sends that
 * answer before any hook. `frameworkErrors` is the only way to take part in it, and Fastify reads this option at each request.
 */
export function guardFrameworkErrors(app: FastifyInstance, hook: onRequestHookHandler): void {
  const options = optionsOf(app);
  if (options === undefined) return;
  const known = hooksOf.get(options);
  if (known !== undefined) {
    known.push(hook);
    return;
  }
  const hooks = [hook];
  hooksOf.set(options, hooks);
  const answer = options.frameworkErrors ?? sendError;
  options.frameworkErrors = (error, request, reply) => {
    runHooks(app, hooks, request as Request, reply as Reply, (failure) => {
      if (failure === undefined) answer(error, request, reply);
      else reply.send(failure);
    });
  };
}

function optionsOf(app: FastifyInstance): { frameworkErrors?: FrameworkErrors } | undefined {
  const symbol = Object.getOwnPropertySymbols(app).find(({ description }) => description === OPTIONS);
  const options: unknown = symbol === undefined ? undefined : Reflect.get(app, symbol);
  return typeof options === 'object' && options !== null ? options : undefined;
}

const sendError: FrameworkErrors = (error, _request, reply) => void reply.send(error);

/** Calls `done` after the last hook, or with what a hook reports. A hook that answers the request does not go on. */
function runHooks(
  app: FastifyInstance,
  hooks: readonly onRequestHookHandler[],
  request: Request,
  reply: Reply,
  done: (failure?: Error) => void,
): void {
  const [hook, ...rest] = hooks;
  if (hook === undefined) {
    done();
    return;
  }
  hook.call(app, request, reply, (failure) => {
    if (failure === undefined) runHooks(app, rest, request, reply, done);
    else done(failure);
  });
}
