import type { Admission } from '../core/admission.js';
import { warn } from '../core/warning.js';
import type { BoundPolicy } from './bound-policies.js';
import type { LimitStore } from './store.js';
import { StoreAdmission } from './store-admission.js';

const CODE = { code: 'GATEWARDEN_SHARED_COUNT' };

/** What the limits of one store count, by policy id. */
interface Counted {
  readonly policies: Map<string, BoundPolicy>;
  readonly warned: Set<string>;
}

const countedBy = new WeakMap<LimitStore, Counted>();

function countedIn(store: LimitStore): Counted {
  const existing = countedBy.get(store);
  if (existing !== undefined) return existing;
  const counted: Counted = { policies: new Map(), warned: new Set() };
  countedBy.set(store, counted);
  return counted;
}

/** Warns if another limit over this store counts in the same counters, but with another limit: that is an accident. */
export function warnOfSharedPolicies(store: LimitStore, policies: readonly BoundPolicy[]): void {
  const counted = countedIn(store);
  for (const policy of policies) {
    const other = counted.policies.get(policy.id);
    if (other === undefined) counted.policies.set(policy.id, policy);
    // Two functions may return different keys.
    else if (other.limit !== policy.limit && other.by === policy.by) {
      warnOnce(counted, policy.id, `${limitOf(other)} and ${limitOf(policy)} share one count in one store`);
    }
  }
}

/** Warns if an earlier limit of the exchange has charged the same counter for the same request. */
export function warnOfSecondCharge(
  last: Admission,
  store: LimitStore,
  policies: readonly BoundPolicy[],
  keys: readonly string[],
): void {
  for (const admission of StoreAdmission.chainOf(last)) {
    policies.forEach((policy, i) => {
      const other = admission.chargeOf(store, policy.id, keys[i] as string);
      if (other === undefined) return;
      warnOnce(
        countedIn(store),
        policy.id,
        `a request passed ${limitOf(other)} and ${limitOf(policy)} and was charged twice in one counter`,
      );
    });
  }
}

function warnOnce({ warned }: Counted, id: string, what: string): void {
  if (warned.has(id)) return;
  warned.add(id);
  warn(`limit: ${what}; set "name" on one of the policies to count them apart`, CODE);
}

/** A policy in words, such as: the policy "60s" of 5 units by client-ip. */
function limitOf({ name, limit, by }: BoundPolicy): string {
  const partition = typeof by === 'function' ? 'the key of a function' : by;
  return `the policy "${name}" of ${limit} ${limit === 1 ? 'unit' : 'units'} by ${partition}`;
}
