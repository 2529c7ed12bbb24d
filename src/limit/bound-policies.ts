import type { Exchange } from '../core/exchange.js';
import { badOption, OptionError } from '../core/option.js';
import { ignoreRejection } from '../core/thenable.js';
import { warn } from '../core/warning.js';
import { type Cost, checkCost } from './cost.js';
import { estimateOf } from './estimate.js';
import { partitionName } from './partition.js';
import {
  concurrency,
  dailyQuota,
  gpuTime,
  holds,
  type PartitionBy,
  type QuotaPolicy,
  slidingWindow,
} from './policy.js';
import { policyHeader } from './policy-header.js';

/** One policy or a list. */
export type Policies = QuotaPolicy | readonly QuotaPolicy[];

/** A checked policy, with what it is counted by. Its `id` names that too. */
export type BoundPolicy = QuotaPolicy & { readonly by: PartitionBy };

/** The checked policies of a guard, and what follows from them. */
export interface BoundPolicies {
  readonly policies: readonly BoundPolicy[];
  /** What each policy is counted by. */
  readonly partitions: readonly PartitionBy[];
  /** Quota units that every request is charged, if all policies have a fixed cost. */
  readonly fixedUnits: readonly number[] | undefined;
  /** Zero for each policy. */
  readonly noUnits: readonly number[];
  /** Whether admissions hold units of a policy. */
  readonly mayHold: boolean;
  /** The value of `RateLimit-Policy`. */
  readonly header: string;
  /** What the item of each policy in `RateLimit` starts with, up to what is left. */
  readonly items: readonly string[];
}

/** Where a guard gets its policies from. */
export interface PolicySource {
  /** Undefined if a function returns the policies of each exchange. */
  readonly fixed: BoundPolicies | undefined;
  /** The policies of an exchange. */
  of(exchange: Exchange): BoundPolicies;
}

/** Fixed policies, checked now, or a function's, checked when it returns them for the first time. @throws OptionError */
export function policySource(
  policies: Policies | ((exchange: Exchange) => Policies),
  guardBy: PartitionBy | undefined,
  guardCost: Cost,
): PolicySource {
  if (typeof policies !== 'function') {
    const fixed = bindPolicies(policies, guardBy, guardCost);
    warnOfCosts(fixed);
    return { fixed, of: () => fixed };
  }
  const cache = new WeakMap<Policies, BoundPolicies>();
  return {
    fixed: undefined,
    of(exchange) {
      const returned = policies(exchange);
      ignoreRejection(returned);
      let bound = cache.get(returned);
      if (bound === undefined) {
        bound = bindPolicies(returned, guardBy, guardCost);
        cache.set(returned, bound);
      }
      return bound;
    },
  };
}

/** Costs that no counter ever has room for are allowed, and surely a mistake. */
function warnOfCosts({ policies, fixedUnits }: BoundPolicies): void {
  for (const [i, { name, limit }] of policies.entries()) {
    const units = fixedUnits?.[i] ?? 0;
    if (units <= limit) continue;
    warn(`limit: each request costs ${units} units of "${name}", more than its limit of ${limit}: all are refused`, {
      code: 'GATEWARDEN_COST_ABOVE_LIMIT',
    });
  }
}

/** Checks policies and binds each to its own `by` and `cost`, or to the guard's. @throws OptionError */
export function bindPolicies(policies: Policies, guardBy: PartitionBy | undefined, guardCost: Cost): BoundPolicies {
  const list = isPolicy(policies) ? [policies] : policies;
  if (!Array.isArray(list) || list.length === 0) {
    throw badOption('limit', 'policies', 'must be a policy or a list of at least one', policies, MADE_BY);
  }
  const bound = Object.freeze(list.map((policy: QuotaPolicy) => bind(policy, guardBy)));
  const names = bound.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    throw badOption('limit', 'policies', 'must have different names', names, 'set "name" on one of them');
  }
  const costs = bound.map((policy) => (policy.kind === 'gpu-time' ? policy.estimate : (policy.cost ?? guardCost)));
  return {
    policies: bound,
    partitions: bound.map(({ by }) => by),
    fixedUnits: costs.every((cost) => typeof cost === 'number') ? Object.freeze(costs) : undefined,
    noUnits: Object.freeze(bound.map(() => 0)),
    mayHold: bound.some(holds),
    header: policyHeader(bound),
    items: bound.map(({ name }) => `"${name}";r=`),
  };
}

/** Quota units that an exchange is charged, for each policy. @throws OptionError for what a cost function returned */
export function unitsOf(
  { policies, fixedUnits }: BoundPolicies,
  guardCost: Cost,
  exchange: Exchange,
  keys: readonly string[],
): readonly number[] {
  if (fixedUnits !== undefined) return fixedUnits;
  let ofGuard: number | undefined;
  return policies.map((policy, i) => {
    if (policy.kind === 'gpu-time') return estimateOf(policy, keys[i] as string, exchange);
    const { cost } = policy;
    if (typeof cost === 'number') return cost;
    if (cost !== undefined) return checkCost('limit', cost(exchange));
    ofGuard ??= typeof guardCost === 'number' ? guardCost : checkCost('limit', guardCost(exchange));
    return ofGuard;
  });
}

const KINDS: readonly QuotaPolicy['kind'][] = ['sliding-window', 'daily-quota', 'concurrency', 'gpu-time'];
const FACTORIES = 'slidingWindow(...), dailyQuota(...), concurrency(...) or gpuTime(...)';
const MADE_BY = `make one with ${FACTORIES}`;

function isPolicy(value: Policies): value is QuotaPolicy {
  return typeof value === 'object' && value !== null && 'kind' in value;
}

function bind(policy: QuotaPolicy, guardBy: PartitionBy | undefined): BoundPolicy {
  if (!KINDS.includes(policy?.kind)) {
    throw badOption('limit', 'policies', `must be made by ${FACTORIES}`, policy);
  }
  const by = policy.by ?? guardBy;
  if (by === undefined) {
    throw new OptionError(
      `gatewarden: limit "by" must be given, since policy "${policy.name}" has no "by" of its own; ` +
        "use 'client-ip' (the usual choice), 'principal', 'principal-or-client-ip', 'global' or a function that returns a key",
    );
  }
  const checked = checkedCopy(policy);
  return Object.freeze({ ...checked, by, id: `${partitionName(by)}/${checked.id}` });
}

/** The policy made again by its factory, which checks every number: a policy written by hand could admit anything. */
function checkedCopy(policy: QuotaPolicy): QuotaPolicy {
  const { limit, name, cost } = policy;
  switch (policy.kind) {
    case 'sliding-window':
      return slidingWindow({ limit, name, cost, window: `${policy.window}ms` });
    case 'daily-quota':
      return dailyQuota({ limit, name, cost, timeZone: policy.timeZone });
    case 'concurrency':
      return concurrency({ limit, name, cost, lease: `${policy.lease}ms` });
    case 'gpu-time':
      return gpuTime({
        limit: `${limit}ms`,
        window: policy.dayOf === undefined ? `${policy.window}ms` : 'day',
        timeZone: policy.timeZone,
        estimate: typeof policy.estimate === 'number' ? `${policy.estimate}ms` : policy.estimate,
        lease: `${policy.lease}ms`,
        name,
      });
  }
}
