import { callerOf, correctUse } from './caller.js';
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
  const caller = callerOf(argument);
  const remedy = caller === undefined ? 'pass it to guard(...) or sequence(...)' : `write ${correctUse(caller, made)}`;
  return new OptionError(`gatewarden: ${name}(...) is a guard, not middleware; ${remedy}`);
}
