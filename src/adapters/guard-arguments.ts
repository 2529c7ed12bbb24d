import type { Guard } from '../core/guard.js';
import { OptionError } from '../core/option.js';
import { sequence } from '../core/sequence.js';

/**
 * Combines the guards of one `guard(...)` call.
 * @throws OptionError without a guard, and whenever `sequence` does
 */
export function combine(guards: readonly Guard[]): Guard {
  if (guards.length === 0) {
    throw new OptionError('gatewarden: guard() needs at least one guard, such as guard(securityHeaders())');
  }
  return sequence(...guards);
}

/**
 * Whether an argument is an object with this member. If an application passes `guard` to its framework without calling
 * it, the framework calls it, with its own objects in place of the guards.
 */
export function hasMember<M extends string>(argument: unknown, member: M): argument is Readonly<Record<M, unknown>> {
  return typeof argument === 'object' && argument !== null && member in argument;
}

/** The error for `app.use(guard)`, with the correct code. */
export function uncalledGuard(correct = 'app.use(guard(...))'): OptionError {
  return new OptionError(
    `gatewarden: guard was used without calling it; write ${correct}, with the guards in the parentheses`,
  );
}
