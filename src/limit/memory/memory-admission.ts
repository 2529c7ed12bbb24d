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
