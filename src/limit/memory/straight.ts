import type { QuotaPolicy } from '../policy.js';
import type { Decision } from '../store.js';
import { type CounterTable, NONE } from './counter-table.js';
import type { KeyHash } from './key-hash.js';
import { MemoryCharge, MemoryRefusal } from './memory-admission.js';
import type { StoreClock } from './store-clock.js';
import { NOT_TAKEN, taken } from './window-take.js';

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
  const { counters } = table;
  const policy = policies[0] as QuotaPolicy;
  const key = keys[0] as string;
  const more = units[0] as number;
  const hash = keyHash.of(key);
  const slot = table.find(hash, key, NONE);
  if (slot === NONE) return undefined;
  let others: MemoryCharge | undefined;
  if (tables.length > 1) {
    others = chargesOfOthers(tables, policies, keys, units, keyHash, hash, slot);
    if (others === undefined) return undefined;
  }
  let first: MemoryCharge;
  const before = counters.take(policy, slot, more);
  if (before !== NOT_TAKEN) {
    first = new MemoryCharge(policy, more, counters, slot);
    first.used = before + more;
    first.ahead = taken.ahead;
    first.wait = taken.wait;
    counters.mark(first);
  } else {
    const used = counters.used(policy, slot);
    if (!(used + more <= policy.limit)) {
      // A refusal occupies no counter, so the general path forgets an empty one.
      if (tables.length > 1 || used === 0) return undefined;
      table.sweep();
      const resetAt = counters.resetAt(policy, slot);
      return new MemoryRefusal(clock.wall, policy, used, resetAt, counters.retryAt(policy, slot, more));
    }
    first = new MemoryCharge(policy, more, counters, slot);
    first.used = used + more;
    counters.charge(first);
  }
  table.sweep();
  first.next = others;
  for (let charge = others, i = 1; charge !== undefined; charge = charge.next, i++) {
    charge.counters.charge(charge);
    (tables[i] as CounterTable).sweep();
  }
  return first;
}

/** Charges of all policies but the first. Undefined if one of them has no counter with room. */
function chargesOfOthers(
  tables: readonly CounterTable[],
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  keyHash: KeyHash,
  firstHash: number,
  firstSlot: number,
): MemoryCharge | undefined {
  let hash = firstHash;
  let slot = firstSlot;
  let others: MemoryCharge | undefined;
  let last: MemoryCharge | undefined;
  for (let i = 1; i < tables.length; i++) {
    const table = tables[i] as CounterTable;
    const policy = policies[i] as QuotaPolicy;
    const key = keys[i] as string;
    const more = units[i] as number;
    const isSame = key === keys[i - 1];
    if (!isSame) hash = keyHash.of(key);
    // Counters that are made together mostly have the same slot.
    slot = table.find(hash, key, isSame ? slot : NONE);
    if (slot === NONE) return undefined;
    const used = table.counters.used(policy, slot);
    if (!(used + more <= policy.limit)) return undefined;
    const charge = new MemoryCharge(policy, more, table.counters, slot);
    charge.used = used + more;
    if (last === undefined) others = charge;
    else last.next = charge;
    last = charge;
  }
  return others;
}
