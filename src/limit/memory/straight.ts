import type { QuotaPolicy } from '../policy.js';
import type { Decision } from '../store.js';
import { type CounterTable, NONE } from './counter-table.js';
import type { KeyHash } from './key-hash.js';
import { MemoryCharge, MemoryRefusal } from './memory-admission.js';
import type { StoreClock } from './store-clock.js';
import { NOT_TAKEN } from './window-log.js';

// The straight path of an admission: what most of them need, in few steps. It decides as the general path in charges.ts
// does, and leaves everything else to it.

/** Whether admissions over these tables may take the straight path: none has leases, and no two policies share a table. */
export function areStraight(tables: readonly CounterTable[]): boolean {
  return new Set(tables).size === tables.length && tables.every((table) => !table.holds);
}

/**
 * Admits if every key has a counter with room, or refuses under a single policy. Undefined in any other case. Then nothing
 * was charged.
 */
export function admitStraight(
  tables: readonly CounterTable[],
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  keyHash: KeyHash,
  clock: StoreClock,
): Decision | undefined {
  const table = tables[0] as CounterTable;
  const key = keys[0] as string;
  const hash = keyHash.of(key);
  const slot = table.find(hash, key, NONE);
  if (slot === NONE) return undefined;
  const first = new MemoryCharge(policies[0] as QuotaPolicy, units[0] as number, table.counters, slot);
  if (tables.length > 1 && !othersFit(first, tables, policies, keys, units, keyHash, hash)) return undefined;
  const taken = table.counters.take(first);
  if (taken !== NOT_TAKEN) {
    first.used = taken + first.units;
  } else {
    const used = table.counters.used(first.policy, slot);
    if (!(used + first.units <= first.policy.limit)) {
      // A refusal occupies no counter, so the general path forgets an empty one.
      return tables.length > 1 || used === 0 ? undefined : refuseOne(table, first, used, clock);
    }
    first.used = used + first.units;
    table.counters.charge(first);
  }
  table.sweep();
  for (let charge = first.next, i = 1; charge !== undefined; charge = charge.next, i++) {
    charge.counters.charge(charge);
    (tables[i] as CounterTable).sweep();
  }
  return first;
}

/** Whether all policies but the first have a counter with room. Adds a charge for each to the first one. */
function othersFit(
  first: MemoryCharge,
  tables: readonly CounterTable[],
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  keyHash: KeyHash,
  firstHash: number,
): boolean {
  let hash = firstHash;
  let last = first;
  for (let i = 1; i < tables.length; i++) {
    const table = tables[i] as CounterTable;
    const policy = policies[i] as QuotaPolicy;
    const key = keys[i] as string;
    const more = units[i] as number;
    const isSame = key === keys[i - 1];
    if (!isSame) hash = keyHash.of(key);
    // Counters that are made together mostly have the same slot.
    const slot = table.find(hash, key, isSame ? last.slot : NONE);
    if (slot === NONE) return false;
    const used = table.counters.used(policy, slot);
    if (!(used + more <= policy.limit)) return false;
    const charge = new MemoryCharge(policy, more, table.counters, slot);
    charge.used = used + more;
    last.next = charge;
    last = charge;
  }
  return true;
}

function refuseOne(
  table: CounterTable,
  { policy, slot, units }: MemoryCharge,
  used: number,
  clock: StoreClock,
): Decision {
  const { counters } = table;
  table.sweep();
  return new MemoryRefusal(
    clock.wall,
    policy,
    used,
    counters.resetAt(policy, slot),
    counters.retryAt(policy, slot, units),
  );
}
