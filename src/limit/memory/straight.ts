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
  return tables.length > 0 && new Set(tables).size === tables.length && tables.every((table) => !table.holds);
}

/** The decision under one policy, if the key has a counter. Undefined in any other case. Then nothing was charged. */
export function admitOne(
  table: CounterTable,
  policy: QuotaPolicy,
  key: string,
  units: number,
  keyHash: KeyHash,
  clock: StoreClock,
): Decision | undefined {
  const slot = table.find(keyHash.of(key), key, NONE);
  if (slot === NONE) return undefined;
  const { counters } = table;
  if (counters.hasRoom(policy, slot, units)) {
    const charge = new MemoryCharge(policy, units, counters, slot);
    charge.used = counters.take(charge) + units;
    table.sweep();
    return charge;
  }
  const used = counters.used(policy, slot);
  if (used + units <= policy.limit) {
    const charge = new MemoryCharge(policy, units, counters, slot);
    charge.used = used + units;
    counters.charge(charge);
    table.sweep();
    return charge;
  }
  // A refusal occupies no counter, so the general path forgets an empty one.
  if (used === 0) return undefined;
  table.sweep();
  const retryAt = counters.retryAt(policy, slot, units);
  // Of a full counter, one unit fits when the first becomes available.
  const isSame = units === 1 && used === policy.limit && retryAt !== null;
  return new MemoryRefusal(clock.wall, policy, used, isSame ? retryAt : counters.resetAt(policy, slot), retryAt);
}

/** Admits under several policies, if every key has a counter with room. Undefined in any other case. Then nothing was charged. */
export function admitSeveral(
  tables: readonly CounterTable[],
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  keyHash: KeyHash,
): Decision | undefined {
  let first: MemoryCharge | undefined;
  let last: MemoryCharge | undefined;
  let hash = 0;
  for (let i = 0; i < tables.length; i++) {
    const table = tables[i] as CounterTable;
    const policy = policies[i] as QuotaPolicy;
    const key = keys[i] as string;
    const more = units[i] as number;
    const isSame = i > 0 && key === keys[i - 1];
    if (!isSame) hash = keyHash.of(key);
    // Counters that are made together mostly have the same slot.
    const slot = table.find(hash, key, isSame && last !== undefined ? last.slot : NONE);
    if (slot === NONE) return undefined;
    const { counters } = table;
    if (!counters.hasRoom(policy, slot, more) && !(counters.used(policy, slot) + more <= policy.limit))
      return undefined;
    const charge = new MemoryCharge(policy, more, counters, slot);
    if (last === undefined) first = charge;
    else last.next = charge;
    last = charge;
  }
  let i = 0;
  for (let charge = first; charge !== undefined; charge = charge.next) {
    charge.used = charge.counters.take(charge) + charge.units;
    (tables[i++] as CounterTable).sweep();
  }
  return first;
}
