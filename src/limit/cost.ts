import type { Exchange } from '../core/exchange.js';
import { badOption, OptionError } from '../core/option.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';

/** Quota units that a request costs: a positive integer, or a function that returns one at once. */
export type Cost = number | ((exchange: Exchange) => number);

/** Checks an optional `cost`. @throws OptionError */
export function fixedOrFunction(factory: string, cost: Cost | undefined): Cost | undefined {
  if (cost === undefined || typeof cost === 'function') return cost;
  return checkCost(factory, cost);
}

/** Checks quota units that a function returned. @throws OptionError */
export function checkCost(factory: string, cost: number): number {
  if (isThenable(cost)) {
    ignoreRejection(cost);
    throw new OptionError(`gatewarden: ${factory} "cost" must be a positive integer, got a promise; ${AT_ONCE}`);
  }
  if (!Number.isSafeInteger(cost) || cost < 1) throw badOption(factory, 'cost', 'must be a positive integer', cost);
  return cost;
}

/** Why a promise is refused, and what to do. */
export const AT_ONCE = 'it must return at once, so wait for the value in a guard before limit';
