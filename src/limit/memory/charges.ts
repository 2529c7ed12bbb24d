import type { QuotaPolicy } from '../policy.js';
import type { Decision } from '../store.js';
import { type CounterTable, NONE } from './counter-table.js';
import { unusedResetAt } from './day-log.js';
import type { KeyHash } from './key-hash.js';
import { CLAIMED, FOUND, MemoryCharge, MemoryRefusal } from './memory-admission.js';
import type { StoreClock } from './store-clock.js';

// The steps of an admission over any number of policies. Policy `i` is counted in table `i` under key `i`.

/** A charge for each policy, with the counter that its key has. Sweeps the tables. */
export function findCharges(
  tables: readonly CounterTable[],
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  keyHash: KeyHash,
): MemoryCharge {
  for (let i = 0; i < tables.length; i++) {
    for (let j = 0; j < i; j++) {
      if (tables[j] !== tables[i] || keys[j] !== keys[i]) continue;
      throw new RangeError(`gatewarden: one admission names policy "${policies[i]?.name}" twice for the same key`);
    }
    tables[i]?.sweep();
  }
  // After all tables were swept, and before any counter is forgotten for a new one.
  let first: MemoryCharge | undefined;
  let last: MemoryCharge | undefined;
  let hash = 0;
  for (let i = 0; i < tables.length; i++) {
    const table = tables[i] as CounterTable;
    const key = keys[i] as string;
    // Most often, all policies have the same key. Counters that are made together mostly have the same slot.
    const isSame = i > 0 && keys[i - 1] === key;
    if (!isSame) hash = keyHash.of(key);
    const slot = table.find(hash, key, isSame && last !== undefined ? last.slot : NONE);
    const charge = new MemoryCharge(policies[i] as QuotaPolicy, units[i] as number, table.counters, slot);
    if (last === undefined) first = charge;
    else last.next = charge;
    last = charge;
  }
  if (first === undefined) throw new RangeError('gatewarden: an admission needs at least one policy');
  return first;
}

/** Whether the units of all charges fit. Finds slots for keys without a counter. */
export function allFit(tables: readonly CounterTable[], first: MemoryCharge, keys: readonly string[]): boolean {
  let fits = true;
  let i = 0;
  for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
    if (charge.slot === NONE) claim(tables[i] as CounterTable, charge, keys[i] as string, first);
    if (charge.stage !== CLAIMED) charge.used = charge.counters.used(charge.policy, charge.slot);
    if (!fitsOne(charge, needed(first, charge))) fits = false;
    i++;
  }
  return fits;
}

/** Charges all of them. Keys get the slots that were claimed for them. */
export function chargeAll(
  tables: readonly CounterTable[],
  first: MemoryCharge,
  keys: readonly string[],
  keyHash: KeyHash,
): Decision {
  let i = 0;
  /** The key of the policy before, in memory of its own. */
  let copy: string | undefined;
  for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
    const { counters, slot } = charge;
    const { keeper } = counters;
    const table = tables[i] as CounterTable;
    if (charge.stage === CLAIMED) {
      const key = keys[i] as string;
      // All counters of one key share one string, which is found faster and occupies memory once.
      table.take(slot, keyHash.of(key), key, keys[i - 1] === key ? copy : undefined);
      charge.stage = FOUND;
    }
    copy = keeper === undefined ? table.keyOf(slot) : undefined;
    charge.used += needed(first, charge);
    counters.charge(charge);
    keeper?.keepUntil(counters.liveUntil(slot));
    i++;
  }
  return first;
}

/** Refuses all of them. A refusal occupies no counters. */
export function refuse(tables: readonly CounterTable[], first: MemoryCharge, clock: StoreClock): Decision {
  let refusal: MemoryRefusal | undefined;
  let last: MemoryRefusal | undefined;
  let i = 0;
  for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
    const { policy, counters, slot, used } = charge;
    const isNew = charge.stage === CLAIMED;
    const more = needed(first, charge);
    const resetAt = isNew ? unusedResetAt(policy, clock) : counters.resetAt(policy, slot);
    const retryAt = fitsOne(charge, more) ? undefined : isNew ? null : counters.retryAt(policy, slot, more);
    const part = new MemoryRefusal(clock.wall, policy, used, resetAt, retryAt);
    if (last === undefined) refusal = part;
    else last.next = part;
    last = part;
    if (isNew) tables[i]?.release(slot);
    else if (counters.keeper === undefined && !counters.isLive(slot)) tables[i]?.forget(slot);
    i++;
  }
  return refusal as MemoryRefusal;
}

/** Finds a slot for a key without a counter of its own, or else one that it shares with others. */
function claim(table: CounterTable, charge: MemoryCharge, key: string, first: MemoryCharge): void {
  const { policy } = charge;
  if (table.shared !== undefined) {
    const { counters } = table.shared;
    const slot = table.shared.slotOf(key);
    // A key whose shared counter is at half its limit or more keeps it, since part of that may be its own. So does one
    // whose shared counter has holds.
    if (counters.used(policy, slot) * 2 >= policy.limit || counters.isHeld(slot)) {
      charge.counters = counters;
      charge.slot = slot;
      return;
    }
  }
  charge.slot = table.claim(first);
  if (charge.slot !== NONE) {
    charge.stage = CLAIMED;
    return;
  }
  const shared = table.sharedCounters();
  charge.counters = shared.counters;
  charge.slot = shared.slotOf(key);
}

/** Whether a counter has room for `more` units. Written so that a limit of NaN refuses. */
function fitsOne({ policy, counters, slot, used, stage }: MemoryCharge, more: number): boolean {
  return used + more <= policy.limit && (stage === CLAIMED || !counters.isFull(slot));
}

/** Units that the charges from `first` to this one need from its counter: several keys may share one. */
function needed(first: MemoryCharge, charge: MemoryCharge): number {
  let sum = charge.units;
  for (let other = first; other !== charge; other = other.next as MemoryCharge) {
    if (other.counters === charge.counters && other.slot === charge.slot) sum += other.units;
  }
  return sum;
}
