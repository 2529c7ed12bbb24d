import type { Duration } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { secondsUntil } from './headers.js';
import { partitionKey, partitionName } from './partition.js';
import { type PartitionBy, partitionBy, slidingWindow } from './policy.js';
import type { Decision, LimitStore } from './store.js';
import { checkStore, storeFailure } from './store-failure.js';

/** What `failedAuthLimit` takes. */
export interface FailedAuthLimitOptions {
  readonly store: LimitStore;
  /** Failures that one address may have in the window. */
  readonly limit: number;
  readonly window: Duration;
  /** What failures are counted by. Default `client-ip`, which needs `clientIp` before `authenticate`. */
  readonly by?: Exclude<PartitionBy, 'principal'>;
  /** Default `failed-auth`. Limits of one name and window share their count. */
  readonly name?: string;
}

/** Slows down guessing: see `failedAuthLimit`. */
export interface FailedAuthLimit {
  check(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
  failed(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
}

type Answer = Reply | undefined | Promise<Reply | undefined>;

/**
 * For `authenticate({ failedAuthLimit })`: after `limit` credentials from one address were not accepted within the
 * window, further ones from there are refused with 429 `authentication-throttled` and `Retry-After`, before any is
 * verified or looked up. Missing and malformed credentials do not count. A store that fails is answered with 503.
 *
 * Schemes that verify at once are held to the limit exactly. Of those that wait for a key source, as many guesses as
 * arrive together are looked at; only the first `limit` of them are told that they were wrong.
 *
 * ```ts
 * authenticate(apiKeys({ keys }), { failedAuthLimit: failedAuthLimit({ store: memoryStore(), limit: 10, window: '10m' }) })
 * ```
 * @throws OptionError
 */
export function failedAuthLimit(options: FailedAuthLimitOptions): FailedAuthLimit {
  checkOptionNames('failedAuthLimit', options, ['store', 'limit', 'window', 'by', 'name']);
  const { store, limit, window, name = 'failed-auth' } = options;
  checkStore('failedAuthLimit', store);
  const by = partitionBy('failedAuthLimit', options.by ?? 'client-ip') as PartitionBy;
  if (by === 'principal') throw badOption('failedAuthLimit', 'by', 'must not be principal: there is none yet', by);
  const policy = slidingWindow({ limit, window, name });
  const policies = Object.freeze([Object.freeze({ ...policy, by, id: `${partitionName(by)}/${policy.id}` })]);

  function check(exchange: Exchange): Answer {
    const keys = [partitionKey(by, exchange)];
    try {
      const states = store.peek(policies, keys);
      if (!isThenable(states)) return checked(exchange, keys, states[0]?.remaining);
      return Promise.resolve(states)
        .then((late) => checked(exchange, keys, late[0]?.remaining))
        .catch((error: unknown) => storeFailure(exchange, error));
    } catch (error) {
      return storeFailure(exchange, error);
    }
  }

  function checked(exchange: Exchange, keys: readonly string[], remaining: number | undefined): Answer {
    // Asked this way round, a store that knows nothing refuses nobody by this and is asked again below.
    if (remaining !== undefined && remaining > 0) return undefined;
    // Only a refusal tells by the store's own clock when to come back.
    const decision = store.admit(policies, keys, 1);
    return isThenable(decision)
      ? Promise.resolve(decision).then((late) => refusalUnlessOver(exchange, late))
      : refusalUnlessOver(exchange, decision);
  }

  function refusalUnlessOver(exchange: Exchange, decision: Decision): Answer {
    if (decision.kind === 'refused') return throttled(decision);
    const settled = store.settle(decision.receipt, 0);
    if (isThenable(settled)) Promise.resolve(settled).catch((error: unknown) => exchange.fault(error));
    return undefined;
  }

  function failed(exchange: Exchange): Answer {
    try {
      const decision = store.admit(policies, [partitionKey(by, exchange)], 1);
      if (!isThenable(decision)) return decision.kind === 'refused' ? throttled(decision) : undefined;
      return Promise.resolve(decision)
        .then((late) => (late.kind === 'refused' ? throttled(late) : undefined))
        .catch((error: unknown) => storeFailure(exchange, error));
    } catch (error) {
      return storeFailure(exchange, error);
    }
  }

  return { check, failed };
}

function throttled({ violations, at }: Decision & { kind: 'refused' }): Reply {
  const retryAt = violations[0]?.retryAt ?? at;
  return refuse(problem('authentication-throttled'), [['Retry-After', String(Math.max(1, secondsUntil(retryAt, at)))]]);
}
