import { noteSkipped } from './answer-watch.js';
import { checkExchange } from './check-exchange.js';
import type { Exchange } from './exchange.js';
import type { Guard } from './guard.js';
import { checkGuardOrder } from './guard-order.js';
import { OptionError, shown } from './option.js';
import { problem } from './problem.js';
import { type Reply, refuse } from './reply.js';
import { isThenable } from './thenable.js';

/** For adapters: the answer to a fault. */
export const INTERNAL_ERROR = refuse(problem('internal-error'));
const TOO_MANY_HEADERS = refuse(problem('headers-too-many'));

/**
 * Combines guards into one guard. They run in order, and the first reply ends the sequence. It returns a promise only if a
 * guard is asynchronous. A guard that throws, rejects, or returns anything but a reply or undefined is a fault: it is
 * reported and answered with 500. Once the client has left, no further guard runs. A request with more header lines than
 * the server reads is refused with 431 `headers-too-many`.
 *
 * ```ts
 * const entrance = sequence(authenticate(apiKeys({ keys })), requireScope('generate'))
 * ```
 * @throws OptionError for a value that is not a guard, and for guards in an order that cannot work
 */
export function sequence(...guards: readonly Guard[]): Guard {
  for (const guard of guards) checkGuard(guard);
  function sequence(exchange: Exchange): ReturnType<Guard> {
    checkExchange('sequence', exchange);
    return run(guards, exchange, 0);
  }
  checkGuardOrder(guards, sequence);
  return sequence;
}

function checkGuard(guard: unknown): void {
  if (typeof guard !== 'function') {
    throw new OptionError(`gatewarden: a guard must be a function, got ${kindOf(guard)}${remedyFor(guard)}`);
  }
  if (guard.length > 1) {
    throw new OptionError('gatewarden: a guard takes one argument, an exchange; did you pass framework middleware?');
  }
}

/** What was passed for a guard. Lists and strings are not shown: a secret may be in them. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' ? 'a string' : shown(value);
}

function remedyFor(value: unknown): string {
  if (Array.isArray(value)) return '; pass the guards one by one';
  const isAuthenticator = typeof value === 'object' && value !== null && 'verify' in value && 'challenge' in value;
  return isAuthenticator ? '; put it into authenticate(...)' : '';
}

function run(guards: readonly Guard[], exchange: Exchange, from: number): ReturnType<Guard> {
  try {
    for (let i = from; i < guards.length; i++) {
      const guard = guards[i];
      const result = guard?.(exchange);
      if (result === undefined) continue;
      if (!isThenable(result)) return checkReply(result, guard);
      return Promise.resolve(result).then(
        (reply) => {
          // A reply is remembered also if the client has left, unless it would be read from a stream.
          if (exchange.outcome !== undefined && (reply === undefined || reply?.stream !== undefined))
            noteSkipped(exchange);
          if (reply !== undefined) return checkLateReply(reply, guard, exchange);
          return exchange.outcome === undefined ? run(guards, exchange, i + 1) : undefined;
        },
        (error: unknown) => faultReply(exchange, error),
      );
    }
    // Last, so that the guards which observe and set headers have run. A header that a guard relied on may be missing.
    return exchange.request.headersTruncated === true ? TOO_MANY_HEADERS : undefined;
  } catch (error) {
    return faultReply(exchange, error);
  }
}

/** JavaScript callers may return anything; `true` or `null` must not let the request pass. */
function checkReply(reply: Reply, guard: Guard | undefined): Reply {
  if (typeof reply === 'object' && reply !== null && isStatus(reply.status) && areHeaders(reply.headers)) return reply;
  const name = guard?.name ? `the guard "${guard.name}"` : 'a guard';
  const remedy = typeof reply === 'function' ? '; was it called, as in guard(securityHeaders())?' : '';
  throw new TypeError(`gatewarden: ${name} must return a reply or undefined, got ${kindOf(reply)}${remedy}`);
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

function checkLateReply(reply: Reply, guard: Guard | undefined, exchange: Exchange): Reply {
  try {
    return checkReply(reply, guard);
  } catch (error) {
    return faultReply(exchange, error);
  }
}

function faultReply(exchange: Exchange, error: unknown): Reply {
  exchange.fault(error);
  return INTERNAL_ERROR;
}
