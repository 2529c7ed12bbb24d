import type { Exchange } from '../core/exchange.js';
import { badOption, OptionError } from '../core/option.js';
import { ignoreRejection } from '../core/thenable.js';
import { policyHeader } from './headers.js';
import { partitionName } from './partition.js';
import { dailyQuota, type PartitionBy, type QuotaPolicy, slidingWindow } from './policy.js';

/** One policy or a list. */
export type Policies = QuotaPolicy | readonly QuotaPolicy[];

/** A checked policy, with what it is counted by. Its `id` names that too. */
export type BoundPolicy = QuotaPolicy & { readonly by: PartitionBy };

/** The checked policies of a guard, and what follows from them. */
export interface BoundPolicies {
  readonly policies: readonly BoundPolicy[];
  /** What each policy is counted by. */
  readonly partitions: readonly PartitionBy[];
  /** The value of `RateLimit-Policy`. */
  readonly header: string;
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
): PolicySource {
  if (typeof policies !== 'function') {
    const fixed = bindPolicies(policies, guardBy);
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
        bound = bindPolicies(returned, guardBy);
        cache.set(returned, bound);
      }
      return bound;
    },
  };
}

/** Checks policies and binds each to its own `by`, or to the guard's. @throws OptionError */
export function bindPolicies(policies: Policies, guardBy: PartitionBy | undefined): BoundPolicies {
  const list = isPolicy(policies) ? [policies] : policies;
  if (!Array.isArray(list) || list.length === 0) {
    throw badOption('limit', 'policies', 'must be a policy or a list of at least one', policies, MADE_BY);
  }
  const bound = Object.freeze(list.map((policy: QuotaPolicy) => bind(policy, guardBy)));
  const names = bound.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    throw badOption('limit', 'policies', 'must have different names', names, 'set "name" on one of them');
  }
  return { policies: bound, partitions: bound.map(({ by }) => by), header: policyHeader(bound) };
}

const MADE_BY = 'make one with slidingWindow(...) or dailyQuota(...)';

function isPolicy(value: Policies): value is QuotaPolicy {
  return typeof value === 'object' && value !== null && 'kind' in value;
}

function bind(policy: QuotaPolicy, guardBy: PartitionBy | undefined): BoundPolicy {
  if (policy?.kind !== 'sliding-window' && policy?.kind !== 'daily-quota') {
    throw badOption('limit', 'policies', 'must be made by slidingWindow(...) or dailyQuota(...)', policy);
  }
  const by = policy.by ?? guardBy;
  if (by === undefined) {
    throw new OptionError(
      `gatewarden: limit "by" must be given, since policy "${policy.name}" has no "by" of its own; ` +
        "use 'client-ip' (the usual choice), 'principal', 'global' or a function that returns a key",
    );
  }
  const checked = checkedCopy(policy);
  return Object.freeze({ ...checked, by, id: `${partitionName(by)}/${checked.id}` });
}

/** The policy made again by its factory, which checks every number: a policy written by hand could admit anything. */
function checkedCopy(policy: QuotaPolicy): QuotaPolicy {
  const { limit, name } = policy;
  return policy.kind === 'sliding-window'
    ? slidingWindow({ limit, name, window: `${policy.window}ms` })
    : dailyQuota({ limit, name, timeZone: policy.timeZone });
}
