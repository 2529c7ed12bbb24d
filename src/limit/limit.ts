import type { Admission } from '../core/admission.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames, OptionError } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import { problem } from '../core/problem.js';
import type { QuotaState } from '../core/quota-state.js';
import { type Reply, refuse } from '../core/reply.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { addRateLimit, policyHeader, secondsUntil, setLegacyRateLimit } from './headers.js';
import { partitionKey, partitionName, storedKey } from './partition.js';
import { dailyQuota, type PartitionBy, partitionBy, type QuotaPolicy, slidingWindow } from './policy.js';
import type { Decision, LimitStore, Receipt, Violation } from './store.js';
import { checkStore, storeFailure } from './store-failure.js';

/** Ends of an exchange that give the charge back. */
export type RefundCause = 'refused' | 'server-error' | 'aborted';

/** What `limit` takes. */
export interface LimitOptions {
  readonly store: LimitStore;
  /** What to count by. May be left out where every policy has its own `by`. */
  readonly by?: PartitionBy;
  /**
   * All of them are charged, or none. Names must differ. A function gives each exchange its own, such as the limits of
   * its principal; one that gives the same list again for the same client has it checked once.
   */
  readonly policies: readonly QuotaPolicy[] | ((exchange: Exchange) => readonly QuotaPolicy[]);
  /** Quota units that a request costs: a positive integer, or a function that gives one. Default 1. */
  readonly cost?: number | ((exchange: Exchange) => number);
  /**
   * When the charge is given back: a later guard `refused`, the handler answered with a 5xx (`server-error`), or the
   * client left (`aborted`). Default `refused` and `server-error`. A limit that stands before `authenticate` to slow
   * down guessing must not refund what was refused: `[]`.
   */
  readonly refundOn?: readonly RefundCause[];
  /** Also sets `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds). Default false. */
  readonly legacyHeaders?: boolean;
}

/** A `limit` guard, and a way to look into its counters. */
export interface LimitGuard extends Guard {
  /**
   * What a partition key has left of the policies counted by the guard's own `by`. Charges nothing. Where the guard's
   * `policies` is a function, say which.
   */
  peek(key: string, policies?: readonly QuotaPolicy[]): readonly QuotaState[] | Promise<readonly QuotaState[]>;
  /** Forgets what was charged to a partition key under those policies. */
  reset(key: string, policies?: readonly QuotaPolicy[]): void | Promise<void>;
}

const OPTIONS = ['store', 'by', 'policies', 'cost', 'refundOn', 'legacyHeaders'];
const REFUND_CAUSES: readonly RefundCause[] = ['refused', 'server-error', 'aborted'];

/**
 * Admits a request if every policy has room for its cost, and charges them all in one step; otherwise refuses with 429
 * `quota-exceeded` and charges none. `Retry-After` is never earlier than the request could pass, and missing where the
 * cost is above a limit. A guard that stands twice on the way of one request charges twice, and reports that as a fault,
 * once. Writes `exchange.admission`, `RateLimit-Policy` and `RateLimit`. A store that fails is answered
 * with 503 `store-unavailable`.
 *
 * ```ts
 * limit({ store: memoryStore(), by: 'client-ip', policies: [slidingWindow({ limit: 60, window: '1m' })] })
 * ```
 * @throws OptionError
 */
export function limit(options: LimitOptions): LimitGuard {
  checkOptionNames('limit', options, OPTIONS);
  const { store, cost = 1, legacyHeaders = false } = options;
  checkStore('limit', store);
  if (typeof legacyHeaders !== 'boolean') {
    throw badOption('limit', 'legacyHeaders', 'must be true or false', legacyHeaders);
  }
  if (typeof cost !== 'function') checkCost(cost);
  const refundOn = refundCauses(options.refundOn);
  const ownBy = partitionBy('limit', options.by);
  const boundTo = binder(options.policies, ownBy);
  /** Tells this guard from others. */
  const self = {};
  let told = false;

  function charge(exchange: Exchange): ReturnType<Guard> {
    if (exchange.admission !== undefined && !told && isBy(self, exchange.admission)) {
      told = true;
      exchange.fault(new Error(CHARGED_TWICE));
    }
    const units = typeof cost === 'number' ? cost : checkCost(cost(exchange));
    const bound = boundTo(exchange);
    const { policies, partitions } = bound;
    const keys = partitions.map((by) => partitionKey(by, exchange));
    let decision: Decision | Promise<Decision>;
    try {
      decision = store.admit(policies, keys, units);
    } catch (error) {
      return storeFailure(exchange, error);
    }
    if (!isThenable(decision)) return apply(exchange, bound, decision);
    return Promise.resolve(decision).then(
      (late) => apply(exchange, bound, late),
      (error: unknown) => storeFailure(exchange, error),
    );
  }

  function apply(exchange: Exchange, { header }: BoundPolicies, decision: Decision): Reply | undefined {
    // A store that admits without knowing how things stand has no states.
    if (decision.states.length > 0) addRateLimit(exchange, header, decision.states, decision.at);
    if (legacyHeaders) {
      const decisive = decision.kind === 'refused' ? [lastToYield(decision.violations).state] : decision.states;
      setLegacyRateLimit(exchange, decisive, decision.kind === 'refused');
    }
    if (decision.kind === 'refused') return refusal(decision.violations, decision.at);
    if (decision.kind !== 'admitted') throw new TypeError('gatewarden: limit got no decision from its store');
    const admission = new StoreAdmission(store, decision.receipt, decision.states, self, exchange.admission);
    exchange.admission = admission;
    exchange.onEnd((outcome) => {
      const cause = refundCause(outcome);
      return cause !== undefined && refundOn.includes(cause) ? admission.settle(0) : undefined;
    });
    return undefined;
  }

  const fixed = typeof options.policies === 'function' ? undefined : countedByKey(options.policies, ownBy);
  function counted(policies: readonly QuotaPolicy[] | undefined): readonly BoundPolicy[] {
    const counted = policies === undefined ? fixed : countedByKey(policies, ownBy);
    if (counted === undefined)
      throw new TypeError('gatewarden: limit does not know which policies the key has: say so');
    return counted;
  }
  const keysOf = (key: string, policies: readonly QuotaPolicy[]) => policies.map(() => storedKey(key));
  return Object.assign(
    function limit(exchange: Exchange) {
      return charge(exchange);
    },
    {
      peek(key: string, policies?: readonly QuotaPolicy[]) {
        const own = counted(policies);
        return store.peek(own, keysOf(key, own));
      },
      reset(key: string, policies?: readonly QuotaPolicy[]) {
        const own = counted(policies);
        return store.reset(own, keysOf(key, own));
      },
    },
  );
}

const CHARGED_TWICE =
  'gatewarden: one limit(...) stands twice on the way of a request, which is charged twice for it: put it there once';

class StoreAdmission implements Admission {
  readonly #store: LimitStore;
  readonly #receipt: Receipt;
  readonly quotas: readonly QuotaState[];
  /** The guard that has charged. */
  readonly by: object;
  /** Of the guard before. */
  readonly before: Admission | undefined;

  constructor(
    store: LimitStore,
    receipt: Receipt,
    quotas: readonly QuotaState[],
    by: object,
    before: Admission | undefined,
  ) {
    this.#store = store;
    this.#receipt = receipt;
    this.quotas = quotas;
    this.by = by;
    this.before = before;
  }

  settle(units: number): void | Promise<void> {
    return this.#store.settle(this.#receipt, units);
  }
}

/** Whether a guard has charged for an admission, or for one before it. */
function isBy(guard: object, last: Admission): boolean {
  let admission: Admission | undefined = last;
  while (admission instanceof StoreAdmission) {
    if (admission.by === guard) return true;
    admission = admission.before;
  }
  return false;
}

type BoundPolicy = QuotaPolicy & { readonly by: PartitionBy };

/** Policies, each with what it is counted by, and what follows from them. */
interface BoundPolicies {
  readonly policies: readonly BoundPolicy[];
  readonly partitions: readonly PartitionBy[];
  /** `RateLimit-Policy`. */
  readonly header: string;
}

/** Gives an exchange its policies: always the same, or those that the function names. */
function binder(
  policies: LimitOptions['policies'],
  ownBy: PartitionBy | undefined,
): (exchange: Exchange) => BoundPolicies {
  if (typeof policies !== 'function') {
    const fixed = bind(policies, ownBy);
    return () => fixed;
  }
  const known = new WeakMap<readonly QuotaPolicy[], BoundPolicies>();
  return (exchange) => {
    const list = policies(exchange);
    ignoreRejection(list);
    let bound = known.get(list);
    if (bound === undefined) {
      bound = bind(list, ownBy);
      known.set(list, bound);
    }
    return bound;
  };
}

function countedByKey(policies: readonly QuotaPolicy[], ownBy: PartitionBy | undefined): readonly BoundPolicy[] {
  return bind(policies, ownBy).policies.filter(({ by }) => by === ownBy);
}

function bind(list: readonly QuotaPolicy[], ownBy: PartitionBy | undefined): BoundPolicies {
  const policies = boundPolicies(list, ownBy);
  return { policies, partitions: policies.map(({ by }) => by), header: policyHeader(policies) };
}

function boundPolicies(policies: readonly QuotaPolicy[], ownBy: PartitionBy | undefined): readonly BoundPolicy[] {
  if (!Array.isArray(policies) || policies.length === 0) {
    throw badOption('limit', 'policies', 'must be a list of at least one policy', policies);
  }
  const bound = policies.map((policy: QuotaPolicy): BoundPolicy => {
    if (policy?.kind !== 'sliding-window' && policy?.kind !== 'daily-quota') {
      throw badOption('limit', 'policies', 'must be made by slidingWindow(...) or dailyQuota(...)', policy);
    }
    const by = policy.by ?? ownBy;
    if (by === undefined) {
      throw new OptionError(`gatewarden: limit "by" must be given, for policy "${policy.name}" has none of its own`);
    }
    const checked = remade(policy);
    return Object.freeze({ ...checked, by, id: `${partitionName(by)}/${checked.id}` });
  });
  const names = new Set(bound.map(({ name }) => name));
  if (names.size < bound.length) {
    throw badOption('limit', 'policies', 'must have different names', [...bound.map(({ name }) => name)]);
  }
  return Object.freeze(bound);
}

/** The policy made anew, so that all its figures are checked: one that was put together by hand could admit anything. */
function remade(policy: QuotaPolicy): QuotaPolicy {
  const { limit, name } = policy;
  return policy.kind === 'sliding-window'
    ? slidingWindow({ limit, name, window: `${policy.window}ms` })
    : dailyQuota({ limit, name, timeZone: policy.timeZone });
}

function checkCost(cost: number): number {
  ignoreRejection(cost);
  if (!Number.isSafeInteger(cost) || cost < 1) throw badOption('limit', 'cost', 'must be a positive integer', cost);
  return cost;
}

function refundCauses(causes: readonly RefundCause[] = ['refused', 'server-error']): readonly RefundCause[] {
  if (!Array.isArray(causes) || causes.some((cause) => !REFUND_CAUSES.includes(cause))) {
    throw badOption('limit', 'refundOn', `must be a list of ${REFUND_CAUSES.join(', ')}`, causes);
  }
  return [...causes];
}

function refundCause(outcome: Outcome): RefundCause | undefined {
  if (outcome.kind !== 'completed') return outcome.kind;
  return outcome.status >= 500 ? 'server-error' : undefined;
}

/** The violation that holds the request back longest. */
function lastToYield(violations: readonly Violation[]): Violation {
  const yields = (violation: Violation) => violation.retryAt ?? Number.POSITIVE_INFINITY;
  return violations.reduce((last, next) => (yields(next) > yields(last) ? next : last));
}

function refusal(violations: readonly Violation[], now: number): Reply {
  const { state, retryAt } = lastToYield(violations);
  const states = violations.map((violation) => violation.state);
  return refuse(
    problem('quota-exceeded', {
      'violated-policies': states.map(({ name }) => name),
      policies: states,
      limit: state.limit,
      remaining: state.remaining,
      resetAt: state.resetAt,
      retryAt,
    }),
    retryAt === null ? [] : [['Retry-After', String(Math.max(1, secondsUntil(retryAt, now)))]],
  );
}
