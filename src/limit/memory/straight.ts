import type { QuotaPolicy } from '../policy.js';
import type { Decision } from '../store.js';
import { type CounterTable, NONE } from './counter-table.js';
import type { KeyHash } from './key-hash.js';
import { MemoryCharge, MemoryRefusal } from './memory-admission.js';
import type { StoreClock } from './store-clock.js';

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
  let first: MemoryCharge | undefined;
  let last: MemoryCharge | undefined;
  let lastKey: string | undefined;
  let hash = 0;
  for (let i = 0; i < tables.length; i++) {
    const { counters } = tables[i] as CounterTable;
    const policy = policies[i] as QuotaPolicy;
    const key = keys[i] as string;
    const more = units[i] as number;
    const isSame = key === lastKey;
    if (!isSame) hash = keyHash.of(key);
    lastKey = key;
    // Counters that are made together mostly have the same slot.
    const slot = (tables[i] as CounterTable).find(hash, key, isSame && last !== undefined ? last.slot : NONE);
    if (slot === NONE) return undefined;
    const used = counters.used(policy, slot);
    if (!(used + more <= policy.limit)) {
      // A refusal occupies no counter, so the general path forgets an empty one.
      return tables.length > 1 || used === 0 ? undefined : refuseOne(tables[i] as CounterTable, policy, slot, used, more, clock);
    }
    const charge = new MemoryCharge(policy, more, counters, slot);
    charge.used = used + more;
    if (last === undefined) first = charge;
    else last.next = charge;
    last = charge;
  }
  for (let charge = first, i = 0; charge !== undefined; charge = charge.next, i++) {
    charge.counters.charge(charge);
    (tables[i] as CounterTable).sweep();
  }
  return first;
}

function refuseOne(
  table: CounterTable,
  policy: QuotaPolicy,
  slot: number,
  used: number,
  more: number,
  clock: StoreClock,
): Decision {
  table.sweep();
  const { counters } = table;
  return new MemoryRefusal(clock.wall, policy, used, counters.resetAt(policy, slot), counters.retryAt(policy, slot, more));
}
