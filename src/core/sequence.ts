import type { Exchange } from './exchange.js';
import type { Guard } from './guard.js';
import { OptionError } from './option.js';
import { problem } from './problem.js';
import { type Reply, refuse } from './reply.js';
import { isThenable } from './thenable.js';

/** For adapters: what answers a fault. */
export const INTERNAL_ERROR = refuse(problem('internal-error'));

/**
 * Guards as one guard: they run in order, and the first reply ends it. It answers without a promise where no guard is
 * asynchronous. A guard that throws, rejects, or returns anything but a reply or undefined is a fault: it is reported
 * and answered with 500. Once the client has gone, no further guard runs.
 * @throws OptionError for what is no guard
 */
export function sequence(...guards: readonly Guard[]): Guard {
  for (const guard of guards) {
    if (typeof guard !== 'function') throw new OptionError('gatewarden: a guard must be a function');
    if (guard.length > 1)
      throw new OptionError('gatewarden: a guard takes one argument, an exchange; did you pass framework middleware?');
  }
  return function sequence(exchange) {
    return run(guards, exchange, 0);
  };
}

function run(guards: readonly Guard[], exchange: Exchange, from: number): ReturnType<Guard> {
  try {
    for (let i = from; i < guards.length; i++) {
      const result = guards[i]?.(exchange);
      if (result === undefined) continue;
      if (!isThenable(result)) return checked(result);
      return Promise.resolve(result).then(
        (reply) => {
          if (reply !== undefined) return checkedLate(reply, exchange);
          return exchange.outcome === undefined ? run(guards, exchange, i + 1) : undefined;
        },
        (error: unknown) => faulted(exchange, error),
      );
    }
    return undefined;
  } catch (error) {
    return faulted(exchange, error);
  }
}

function checked(reply: Reply): Reply {
  // JavaScript callers may return anything; `true` or `null` must not read as "go on".
  if (typeof reply !== 'object' || reply === null || !isStatus(reply.status) || !areHeaders(reply.headers)) {
    throw new TypeError('gatewarden: a guard must return a reply or undefined');
  }
  return reply;
}

function isStatus(status: unknown): boolean {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599;
}

function areHeaders(headers: unknown): boolean {
  if (!Array.isArray(headers)) return false;
  for (const pair of headers) {
    if (!Array.isArray(pair) || typeof pair[0] !== 'string' || typeof pair[1] !== 'string') return false;
  }
  return true;
}

function checkedLate(reply: Reply, exchange: Exchange): Reply {
  try {
    return checked(reply);
  } catch (error) {
    return faulted(exchange, error);
  }
}

function faulted(exchange: Exchange, error: unknown): Reply {
  exchange.fault(error);
  return INTERNAL_ERROR;
}
