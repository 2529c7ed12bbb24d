import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { LimitStore, Receipt } from '../store.js';
import type { CounterTable } from './counter-table.js';
import type { Counters } from './counters.js';

/** One policy's part of an admission: which counter it charges. */
export class MemoryCharge {
  /** Those of the table, or those that it shares among keys. */
  counters: Counters;
  slot = -1;
  /** Whether `key` has memory of its own. */
  isHeld = false;
  /** Units in use before the charge. */
  used = 0;
  /** Whether the slot was claimed for this admission and holds nothing of its own yet. */
  isNew = false;
  generation = 0;
  /** Under which the counter keeps the charge. */
  time = 0;

  constructor(
    readonly table: CounterTable,
    public key: string,
    readonly hash: number,
  ) {
    this.counters = table.counters;
  }
}

/** An admission of a memory store. It is its own receipt, which saves an object for each request. */
export class MemoryAdmission {
  readonly kind = 'admitted';
  settled = false;

  constructor(
    readonly store: LimitStore,
    readonly policies: readonly QuotaPolicy[],
    readonly units: number,
    readonly at: number,
    readonly states: readonly QuotaState[],
    readonly charges: readonly MemoryCharge[],
  ) {}

  get receipt(): Receipt {
    return this;
  }
}

/** All counters of one key share one string, which is found faster and occupies memory once. */
export function hold(charge: MemoryCharge, other: MemoryCharge): void {
  charge.key = other.key;
  charge.isHeld = other.isHeld;
}

/** Charges a counter that several keys share. */
export function share(charge: MemoryCharge, counters: Counters, slot: number): void {
  charge.counters = counters;
  charge.slot = slot;
}

/** Units that charges 0 to `i` need from the counter of charge `i`: two keys may share one. */
export function needed(charges: readonly MemoryCharge[], i: number, units: number): number {
  if (i === 0) return units;
  let sum = units;
  const charge = charges[i] as MemoryCharge;
  for (let j = 0; j < i; j++) {
    if (charges[j]?.counters === charge.counters && charges[j]?.slot === charge.slot) sum += units;
  }
  return sum;
}
