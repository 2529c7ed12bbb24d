import { OptionError } from './option.js';

/**
 * Checks that a guard was called with an exchange. An application that uses a guard as middleware calls it with the objects
 * of its framework. Without this check, some guards would then never answer, and never go on.
 * @throws OptionError with the correct code
 */
export function checkExchange(name: string, exchange: unknown): void {
  if (typeof exchange !== 'object' || exchange === null || !('onEnd' in exchange))
    throw usedAsMiddleware(name, exchange);
}

function usedAsMiddleware(name: string, argument: unknown): OptionError {
  const made = name === 'sequence' ? 'guards' : `${name}(...)`;
  return new OptionError(`gatewarden: ${name}(...) is a guard, not middleware; ${remedy(made, argument)}`);
}

/** What to write, by the object that the framework has passed. */
function remedy(made: string, argument: unknown): string {
  const has = (member: string) => typeof argument === 'object' && argument !== null && member in argument;
  if (has('addHook')) return `write app.register(gatewarden, { guards: [${made}] }), from gatewarden/fastify`;
  if (has('raw')) return `write app.addHook('onRequest', guard(${made})), with guard from gatewarden/fastify`;
  if (has('req')) return `write app.use(guard(${made})), with guard from gatewarden/hono`;
  if (has('headers')) return `write app.use(guard(${made})), with guard from gatewarden/express`;
  return `pass it to guard(...) or sequence(...)`;
}
