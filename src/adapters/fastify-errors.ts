/** A hook of Fastify. It gets the objects that Fastify passes to `frameworkErrors`, which are those of other hooks. */
type Hook = (request: never, reply: never, done: (failure?: Error) => void) => void;

type FrameworkErrors = (error: Error, request: unknown, reply: { send(payload: unknown): unknown }) => void;

/** The symbol under which Fastify keeps its options. Only the application itself has it, and no part of it. */
const OPTIONS = 'fastify.options';

const hooksOf = new WeakMap<object, Hook[]>();

/**
 * Runs a hook before Fastify's own answer to a request that it cannot route, such as one for `/%`. Fastify sends that
 * answer before any hook. Its option `frameworkErrors` is the only way to take part in it. Fastify reads this option at each
 * request, so that a plugin can still set it.
 */
export function guardFrameworkErrors(app: object, hook: Hook): void {
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
    runHooks(hooks, request, reply, (failure) => {
      if (failure === undefined) answer(error, request, reply);
      else reply.send(failure);
    });
  };
}

function optionsOf(app: object): { frameworkErrors?: FrameworkErrors } | undefined {
  const symbol = Object.getOwnPropertySymbols(app).find(({ description }) => description === OPTIONS);
  const options: unknown = symbol === undefined ? undefined : Reflect.get(app, symbol);
  return typeof options === 'object' && options !== null ? options : undefined;
}

const sendError: FrameworkErrors = (error, _request, reply) => void reply.send(error);

/** Calls `done` after the last hook, or with what a hook reports. A hook that answers the request does not go on. */
function runHooks(hooks: readonly Hook[], request: unknown, reply: unknown, done: (failure?: Error) => void): void {
  const [hook, ...rest] = hooks;
  if (hook === undefined) {
    done();
    return;
  }
  hook(request as never, reply as never, (failure) => {
    if (failure === undefined) runHooks(rest, request, reply, done);
    else done(failure);
  });
}
