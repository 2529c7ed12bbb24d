import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, boolean, callback, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import type { QuotaState } from '../core/quota-state.js';
import type { Reply } from '../core/reply.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { type BoundPolicies, type BoundPolicy, bindPolicies, policySource } from './bound-policies.js';
import { addRateLimit, setLegacyRateLimit } from './headers.js';
import { memoryStore } from './memory/memory-store.js';
import { partitionKeys, storedKey } from './partition.js';
import { type PartitionBy, partitionBy, type QuotaPolicy } from './policy.js';
import { longestViolation, quotaRefusal } from './quota-refusal.js';
import { type RefundCause, refundCause, refundCauses } from './refund.js';
import { warnOfSecondCharge, warnOfSharedPolicies } from './shared-counts.js';
import type { Decision, LimitStore } from './store.js';
import { StoreAdmission } from './store-admission.js';
import { checkStore, storeFailure } from './store-failure.js';

export type { RefundCause } from './refund.js';

/** Options of `limit`. */
export interface LimitOptions {
  /**
   * What to count by; `client-ip` is the usual choice. Required unless every policy has its own `by`. `client-ip` counts
   * by what `clientIp` found. Without a `clientIp` guard it counts by the socket's address, which behind a proxy is the
   * proxy's. `principal` needs an `authenticate` before the guard.
   */
  readonly by?: PartitionBy | undefined;
  /**
   * One policy or a list. A request is charged to all of them or to none, so their names must differ. A function returns
   * the policies of each exchange, such as the limits of its principal; a list that it returns again is not checked again.
   */
  readonly policies:
    | readonly QuotaPolicy[]
    | QuotaPolicy
    | ((exchange: Exchange) => QuotaPolicy | readonly QuotaPolicy[]);
  /**
   * Where to count. Default: a memory store of the guard's own. Guards that share counts need one store, and so do several
   * processes.
   */
  readonly store?: LimitStore | undefined;
  /** Quota units that a request costs: a positive integer, or a function that returns one. Default 1. */
  readonly cost?: number | ((exchange: Exchange) => number) | undefined;
  /**
   * Which requests are not charged, such as those of a monitor. They pass without a header. Default none. It must return a
   * boolean at once: a promise is a fault, and the request does not pass.
   */
  readonly skip?: ((exchange: Exchange) => boolean | undefined) | undefined;
  /**
   * When the charge is refunded: a later guard refused before a byte of the body was read (`refused`) or after it
   * (`refused-after-body`), the handler answered with a 5xx (`server-error`), or the client left (`aborted`). Default
   * `refused` and `server-error`. Use `[]` for a limit before `authenticate` that slows down guessing. The refunds of one
   * window never exceed the limit.
   */
  readonly refundOn?: readonly RefundCause[] | undefined;
  /** Also sets `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds). Default false. */
  readonly legacyHeaders?: boolean | undefined;
}

/** A `limit` guard with access to its counters. */
export interface LimitGuard extends Guard {
  /**
   * Returns what is left for a partition key, without charging it. Covers the policies that are counted by the guard's
   * own `by`. Pass `policies` if the guard's are a function. `addressKey` returns the key of an address.
   * @throws TypeError for an empty key, or if the policies are not known
   */
  peek(
    key: string,
    policies?: QuotaPolicy | readonly QuotaPolicy[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /**
   * Forgets what was charged to a partition key. Covers the same policies as `peek`.
   * @throws TypeError for an empty key, or if the policies are not known
   */
  reset(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]): void | Promise<void>;
}

const OPTIONS: OptionNames<LimitOptions> = {
  by: true,
  policies: true,
  store: true,
  cost: true,
  skip: true,
  refundOn: true,
  legacyHeaders: true,
};

/**
 * Limits how much a client may use. If every policy has room for the request's cost, all of them are charged in one atomic
 * step. Otherwise none is charged, and the reply is 429 `quota-exceeded`. Its `Retry-After` is never too early, and is
 * absent if the cost is above a limit. If the store fails, the reply is 503 `store-unavailable`. If there is no key to
 * count by, such as `by: 'principal'` without a principal, that is a fault, never a pass.
 *
 * Writes `exchange.admission`, and the headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
 * A guard that runs twice for one request charges it twice, and reports a fault once.
 *
 * ```ts
 * limit({ by: 'client-ip', policies: slidingWindow({ limit: 60, window: '1m' }) })
 * ```
 * @throws OptionError
 */
export function limit(options: LimitOptions): LimitGuard {
  checkOptionNames('limit', options, OPTIONS);
  const { cost = 1, legacyHeaders = false } = options;
  if (typeof cost !== 'function') checkCost(cost);
  boolean('limit', 'legacyHeaders', legacyHeaders);
  const skip = callback('limit', 'skip', options.skip);
  const refundOn = refundCauses(options.refundOn);
  const guardBy = partitionBy('limit', options.by);
  const source = policySource(options.policies, guardBy);
  const store = options.store === undefined ? memoryStore() : checkStore('limit', options.store);
  const partitionKey = partitionKeys({ factory: 'limit', before: 'limit' });
  if (source.fixed !== undefined) warnOfSharedPolicies(store, source.fixed.policies);
  /** Identifies this guard in the admissions that it makes. */
  const identity = {};
  let reportedSecondCharge = false;

  function charge(exchange: Exchange): ReturnType<Guard> {
    if (skip !== undefined && skips(skip(exchange))) return undefined;
    const units = typeof cost === 'number' ? cost : checkCost(cost(exchange));
    const bound = source.of(exchange);
    const keys = bound.partitions.map((by) => partitionKey(by, exchange));
    if (exchange.admission !== undefined) reportSecondCharge(exchange, exchange.admission, bound, keys);
    let decision: Decision | Promise<Decision>;
    try {
      decision = store.admit(bound.policies, keys, units);
    } catch (error) {
      return storeFailure(exchange, error);
    }
    if (!isThenable(decision)) return apply(exchange, bound, keys, decision);
    return Promise.resolve(decision).then(
      (late) => apply(exchange, bound, keys, late),
      (error: unknown) => storeFailure(exchange, error),
    );
  }

  function reportSecondCharge(
    exchange: Exchange,
    last: NonNullable<Exchange['admission']>,
    { policies }: BoundPolicies,
    keys: readonly string[],
  ): void {
    if (!StoreAdmission.wasMadeBy(identity, last)) {
      warnOfSecondCharge(last, store, policies, keys);
    } else if (!reportedSecondCharge) {
      reportedSecondCharge = true;
      exchange.fault(new Error(CHARGED_TWICE));
    }
  }

  function apply(
    exchange: Exchange,
    { header, policies }: BoundPolicies,
    keys: readonly string[],
    decision: Decision,
  ): Reply | undefined {
    // A store may admit without knowing the state of the quotas.
    if (decision.states.length > 0) addRateLimit(exchange, header, decision.states, decision.at);
    if (legacyHeaders) {
      const decisive = decision.kind === 'refused' ? [longestViolation(decision.violations).state] : decision.states;
      setLegacyRateLimit(exchange, decisive, decision.kind === 'refused');
    }
    if (decision.kind === 'refused') return quotaRefusal(decision.violations, decision.at);
    if (decision.kind !== 'admitted') throw new TypeError(NO_DECISION);
    const charged = { guard: identity, store, policies, keys };
    const admission = new StoreAdmission(charged, decision.receipt, decision.states, exchange.admission);
    exchange.admission = admission;
    exchange.onEnd((outcome) => {
      const cause = refundCause(outcome, exchange);
      return cause !== undefined && refundOn.includes(cause) ? admission.settle(0) : undefined;
    });
    return undefined;
  }

  /** The policies that `peek` and `reset` cover, and a key for each. */
  function countedBy(
    key: string,
    policies: QuotaPolicy | readonly QuotaPolicy[] | undefined,
  ): [policies: readonly BoundPolicy[], keys: readonly string[]] {
    const bound = policies === undefined ? source.fixed : bindPolicies(policies, guardBy);
    if (bound === undefined) throw new TypeError(UNKNOWN_POLICIES);
    const counted = bound.policies.filter(({ by }) => by === guardBy);
    const stored = storedKey(key);
    return [counted, counted.map(() => stored)];
  }

  const guard = Object.assign(
    function limit(exchange: Exchange) {
      checkExchange('limit', exchange);
      return charge(exchange);
    },
    {
      peek(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]) {
        return store.peek(...countedBy(key, policies));
      },
      reset(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]) {
        return store.reset(...countedBy(key, policies));
      },
    },
  );
  return inOrder(guard, {
    name: 'limit',
    after: comesAfter(source.fixed?.partitions ?? [guardBy]),
    once: 'it would charge the request twice',
  });
}

/** The guards that find out what these partitions are counted by. */
function comesAfter(partitions: readonly (PartitionBy | undefined)[]): Record<string, string> {
  return {
    ...(partitions.includes('principal') ? { authenticate: 'limit counts by the principal' } : {}),
    ...(partitions.includes('client-ip') ? { clientIp: 'limit counts by the address that clientIp finds' } : {}),
  };
}

const CHARGED_TWICE =
  'gatewarden: the same limit(...) ran twice for one request and charged it twice; put it on the route once';
const NO_DECISION =
  "gatewarden: limit got no decision from its store; admit must return one of kind 'admitted' or 'refused'";
const UNKNOWN_POLICIES =
  'gatewarden: limit cannot know which policies this key has, since "policies" is a function; pass them as the second argument';

function checkCost(cost: number): number {
  if (isThenable(cost)) {
    ignoreRejection(cost);
    throw new OptionError(`gatewarden: limit "cost" must be a positive integer, got a promise; ${AT_ONCE}`);
  }
  if (!Number.isSafeInteger(cost) || cost < 1) throw badOption('limit', 'cost', 'must be a positive integer', cost);
  return cost;
}

/** Anything but a boolean is a fault: a promise would count as true, and let every request pass. */
function skips(skip: boolean | undefined): boolean {
  if (typeof skip === 'boolean' || skip === undefined) return skip === true;
  ignoreRejection(skip);
  if (isThenable(skip)) {
    throw new OptionError(`gatewarden: limit "skip" must return true or false, got a promise; ${AT_ONCE}`);
  }
  throw badOption('limit', 'skip', 'must return true or false', skip);
}

const AT_ONCE = 'it must return at once, so wait for the value in a guard before limit';
