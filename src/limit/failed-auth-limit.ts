import type { Duration } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import { badOption, checkOptionNames, type OptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { plainMemoryStore } from './memory/plain-memory-store.js';
import { partitionKeys, partitionName } from './partition.js';
import { type PartitionBy, partitionBy, slidingWindow } from './policy.js';
import { retryAfter } from './quota-refusal.js';
import type { Decision, LimitStore } from './store.js';
import { checkStore, storeFailure } from './store-failure.js';

/** Options of `failedAuthLimit`. */
export interface FailedAuthLimitOptions {
  /** The most failures of one address in the window. */
  readonly limit: number;
  /** The length of the window, such as `'10m'`. */
  readonly window: Duration;
  /** Where to count. Default: a memory store of its own. Several processes need one store that they share. */
  readonly store?: LimitStore | undefined;
  /**
   * What failures are counted by. Default `client-ip`: what `clientIp` found, or without a `clientIp` guard the socket's
   * address, which behind a proxy is the proxy's. Put `clientIp` before `authenticate`.
   */
  readonly by?: Exclude<PartitionBy, 'principal' | 'principal-or-client-ip'> | undefined;
  /** Default `failed-auth`. Limits with the same name, window and store share their count. */
  readonly name?: string | undefined;
}

/** Slows down the guessing of credentials. Made by `failedAuthLimit`, called by `authenticate`. */
export interface FailedAuthLimit {
  /** Whether it counts by the address that `clientIp` finds. */
  readonly byClientIp: boolean;
  /** Called before credentials are verified. Returns the refusal if the limit is reached. */
  check(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
  /** Called after credentials were refused. Counts the failure, and returns the refusal if there was no room for it. */
  failed(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
}

type Answer = Reply | undefined | Promise<Reply | undefined>;

const OPTIONS: OptionNames<FailedAuthLimitOptions> = { limit: true, window: true, store: true, by: true, name: true };

/** Units of the only policy. */
const ONE: readonly number[] = Object.freeze([1]);
const NONE: readonly number[] = Object.freeze([0]);

/**
 * Slows down the guessing of credentials, for `authenticate({ failedAuthLimit })`. Once `limit` credentials from one
 * address were refused within the window, further ones from that address get 429 `authentication-throttled` with
 * `Retry-After`, and are neither verified nor looked up. Missing and malformed credentials do not count. If the store
 * fails, the reply is 503 `store-unavailable`.
 *
 * For schemes that verify at once the limit is exact. Schemes that wait for a key source verify all guesses that arrive
 * together, but only the first `limit` of them learn that they were wrong.
 *
 * ```ts
 * authenticate(apiKeys({ keys }), { failedAuthLimit: failedAuthLimit({ limit: 10, window: '10m' }) })
 * ```
 * @throws OptionError
 */
export function failedAuthLimit(options: FailedAuthLimitOptions): FailedAuthLimit {
  checkOptionNames('failedAuthLimit', options, OPTIONS);
  const { limit, window, name = 'failed-auth' } = options;
  const by: PartitionBy = partitionBy('failedAuthLimit', options.by) ?? 'client-ip';
  if (by === 'principal' || by === 'principal-or-client-ip') {
    throw badOption('failedAuthLimit', 'by', `must not be ${by}`, by, 'a request has none before it is authenticated');
  }
  const policy = slidingWindow({ limit, window, name });
  const policies = Object.freeze([Object.freeze({ ...policy, by, id: `${partitionName(by)}/${policy.id}` })]);
  const store = options.store === undefined ? plainMemoryStore() : checkStore('failedAuthLimit', options.store);
  const partitionKey = partitionKeys({ factory: 'failedAuthLimit', before: 'authenticate' });

  function check(exchange: Exchange): Answer {
    const keys = [partitionKey(by, exchange)];
    try {
      const states = store.peek(policies, keys);
      if (!isThenable(states)) return afterPeek(exchange, keys, states[0]?.remaining);
      return Promise.resolve(states)
        .then((late) => afterPeek(exchange, keys, late[0]?.remaining))
        .catch((error: unknown) => storeFailure(exchange, error));
    } catch (error) {
      return storeFailure(exchange, error);
    }
  }

  function afterPeek(exchange: Exchange, keys: readonly string[], remaining: number | undefined): Answer {
    // If the store does not know what remains, the admission below decides.
    if (remaining !== undefined && remaining > 0) return undefined;
    // Only a refusal says, by the store's own clock, when to retry.
    const decision = store.admit(policies, keys, ONE);
    return isThenable(decision)
      ? Promise.resolve(decision).then((late) => refuseOrRefund(exchange, late))
      : refuseOrRefund(exchange, decision);
  }

  function refuseOrRefund(exchange: Exchange, decision: Decision): Answer {
    if (decision.kind === 'refused') return throttled(decision);
    const settled = store.settle(decision.receipt, NONE);
    if (isThenable(settled)) Promise.resolve(settled).catch((error: unknown) => exchange.fault(error));
    return undefined;
  }

  function failed(exchange: Exchange): Answer {
    try {
      const decision = store.admit(policies, [partitionKey(by, exchange)], ONE);
      if (!isThenable(decision)) return decision.kind === 'refused' ? throttled(decision) : undefined;
      return Promise.resolve(decision)
        .then((late) => (late.kind === 'refused' ? throttled(late) : undefined))
        .catch((error: unknown) => storeFailure(exchange, error));
    } catch (error) {
      return storeFailure(exchange, error);
    }
  }

  return { byClientIp: by === 'client-ip', check, failed };
}

function throttled({ violations, at }: Decision & { kind: 'refused' }): Reply {
  return refuse(problem('authentication-throttled'), [retryAfter(violations[0]?.retryAt ?? at, at)]);
}
