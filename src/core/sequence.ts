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

/** By the guard that `sequence` has made: the guards in it, which observers receive instead. */
const sequences = new WeakMap<Guard, readonly Guard[]>();

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
  sequences.set(sequence, guards);
  return sequence;
}

/** For adapters: the guards in a sequence, and in the sequences in it. For any other guard, that guard. */
export function guardsIn(guard: Guard): readonly Guard[] {
  return sequences.get(guard)?.flatMap(guardsIn) ?? [guard];
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
  let guard: Guard | undefined;
  let observer: Exchange['observer'];
  let startedAt = 0;
  try {
    for (let i = from; i < guards.length; i++) {
      guard = guards[i];
      observer = exchange.observer;
      if (observer !== undefined) startedAt = performance.now();
      const result = guard?.(exchange);
      if (result !== undefined) {
        if (!isThenable(result)) return noted(checkReply(result, guard), guard, exchange, observer, startedAt);
        return runLater(result, guards, exchange, i, startedAt);
      }
      if (observer !== undefined) noted(undefined, guard, exchange, observer, startedAt);
    }
    // Last, so that the guards which observe and set headers have run. A header that a guard relied on may be missing.
    return exchange.request.headersTruncated === true ? TOO_MANY_HEADERS : undefined;
  } catch (error) {
    return noted(faultReply(exchange, error), guard, exchange, observer, startedAt);
  }
}

/** The guard at place `i` has returned a promise. */
function runLater(
  result: PromiseLike<Reply | undefined>,
  guards: readonly Guard[],
  exchange: Exchange,
  i: number,
  startedAt: number,
): Promise<Reply | undefined> {
  const guard = guards[i];
  const observer = startedAt === 0 ? undefined : exchange.observer;
  return Promise.resolve(result).then(
    (late) => {
      // A reply is remembered also if the client has left, unless it would be read from a stream.
      if (exchange.outcome !== undefined && (late === undefined || late?.stream !== undefined)) noteSkipped(exchange);
      const reply = late === undefined ? undefined : checkLateReply(late, guard, exchange);
      noted(reply, guard, exchange, observer, startedAt);
      return reply === undefined && exchange.outcome === undefined ? run(guards, exchange, i + 1) : reply;
    },
    (error: unknown) => noted(faultReply(exchange, error), guard, exchange, observer, startedAt),
  );
}

/** Tells the observer that there was before the guard ran. A fault is an answer too. */
function noted<R extends Reply | undefined>(
  reply: R,
  guard: Guard | undefined,
  exchange: Exchange,
  observer: Exchange['observer'],
  startedAt: number,
): R {
  if (observer?.guardEnded !== undefined && guard !== undefined && !sequences.has(guard)) {
    observer.guardEnded(exchange, guard.name, performance.now() - startedAt, reply);
  }
  return reply;
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
