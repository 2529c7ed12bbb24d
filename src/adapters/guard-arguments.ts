import { callerOf } from '../core/caller.js';
import type { Guard } from '../core/guard.js';
import { OptionError } from '../core/option.js';
import { sequence } from '../core/sequence.js';

/**
 * Combines the guards of one `guard(...)` call.
 * @throws OptionError without a guard, if a framework has called `guard`, and whenever `sequence` does
 */
export function combine(guards: readonly Guard[]): Guard {
  if (guards.length === 0) {
    throw new OptionError('gatewarden: guard() needs at least one guard, such as guard(securityHeaders())');
  }
  if (callerOf(guards[0]) !== undefined) throw uncalledGuard();
  return sequence(...guards);
}

/** The error for `app.use(guard)`, with the correct code. */
export function uncalledGuard(correct = 'app.use(guard(...))'): OptionError {
  return new OptionError(
    `gatewarden: guard was used without calling it; write ${correct}, with the guards in the parentheses`,
  );
}
