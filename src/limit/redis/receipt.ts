import type { QuotaPolicy } from '../policy.js';
import type { Receipt } from '../store.js';
import type { Charged } from './operation.js';

/** The charges of one admission in one slot of Redis. */
export interface SlotCharges {
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly charged: readonly Charged[];
}

/** The receipt of one admission. */
export class RedisReceipt {
  /** What the work really cost, once the admission is settled. */
  settledUnits: number | undefined;

  constructor(
    /** The store that made this receipt. */
    readonly store: object,
    readonly units: number,
    /** What Redis has charged. A local admission is added when Redis has charged it, after the outage. */
    readonly charges: SlotCharges[],
    /** The local share's own receipt, if this process admitted the request by itself. */
    readonly localReceipt: Receipt | undefined,
  ) {}
}
