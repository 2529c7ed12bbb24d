import type { Guard } from './guard.js';
import { named } from './guard-name.js';
import { OptionError } from './option.js';

/** Where a guard belongs among the others of one sequence. Guards are named by the function that makes them. */
export interface GuardOrder {
  /** The function that makes the guard, such as `limit`. */
  readonly name: string;
  /** Guards that must not first come after this one, each with the reason. */
  readonly after?: Readonly<Record<string, string>>;
  /** Guards that must not come before this one, each with the reason. */
  readonly before?: Readonly<Record<string, string>>;
  /** Why one and the same guard must not run twice for a request, if it must not. */
  readonly once?: string;
}

interface Placed extends GuardOrder {
  readonly guard: Guard;
}

const placements = new WeakMap<Guard, readonly Placed[]>();

/** Names a guard and declares where it belongs. `sequence` then reports a wrong order when the service starts. */
export function inOrder<G extends Guard>(guard: G, order: GuardOrder): G {
  placements.set(guard, [{ ...order, guard }]);
  return named(order.name, guard);
}

/**
 * Checks the order of the guards of `combined`, a sequence. A sequence inside a sequence counts as the guards in it.
 * @throws OptionError that names both guards, the reason and the remedy
 */
export function checkGuardOrder(guards: readonly Guard[], combined: Guard): void {
  const placed = guards.flatMap((guard) => placements.get(guard) ?? []);
  placements.set(combined, placed);
  placed.forEach((one, i) => {
    const earlier = placed.slice(0, i);
    const later = placed.slice(i + 1);
    if (one.once !== undefined && later.some(({ guard }) => guard === one.guard)) {
      throw new OptionError(`gatewarden: one ${one.name}(...) appears twice: ${one.once}; put it there once`);
    }
    for (const [name, why] of Object.entries(one.after ?? {})) {
      if (has(later, name) && !has(earlier, name)) throw wrongOrder(name, one.name, why);
    }
    for (const [name, why] of Object.entries(one.before ?? {})) {
      if (has(earlier, name)) throw wrongOrder(one.name, name, why);
    }
  });
}

/** Whether the function of this name has made the guard, or one of a sequence. */
export function isMadeBy(guard: Guard, name: string): boolean {
  return has(placements.get(guard) ?? [], name);
}

function has(placed: readonly Placed[], name: string): boolean {
  return placed.some((one) => one.name === name);
}

function wrongOrder(first: string, second: string, why: string): OptionError {
  return new OptionError(`gatewarden: put ${first}(...) before ${second}(...): ${why}`);
}
