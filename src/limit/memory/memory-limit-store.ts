import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import { MemoryQueues, steady } from '../queue/memory-queues.js';
import type { QueueSettings, WaitingQueue } from '../queue/waiting-queue.js';
import type { Decision, LimitStore, Receipt } from '../store.js';
import { checkSettledUnits, checkUnits } from '../units.js';
import { allFit, chargeAll, findCharges, refuse } from './charges.js';
import type { CounterNotes } from './counter-notes.js';
import { CounterTable, NONE } from './counter-table.js';
import { unusedResetAt } from './day-log.js';
import { EntrySlab } from './entry-slab.js';
import { KeyHash } from './key-hash.js';
import { MemoryCharge, SETTLED } from './memory-admission.js';
import type { StoreClock } from './store-clock.js';
import { admitOne, admitSeveral, areStraight } from './straight.js';

/** A limit store in this process' memory. It answers at once: none of its methods returns a promise. */
export interface MemoryStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision;
  settle(receipt: Receipt, units: readonly (number | undefined)[]): void;
  renew(receipt: Receipt): boolean;
  release(receipt: Receipt): void;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[];
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void;
  queue(settings: QueueSettings): WaitingQueue;
  /** Counters in use now, for gauges and tests. */
  readonly size: number;
  /** Writes what is left to the journal, and lets another process have its directory. Without a journal, it does nothing. */
  close(): void;
}

/** Policies come from the service's own settings: a store that sees more is misused. */
const MAX_POLICIES = 1024;

/** A table of counters for each policy, and the decisions over several of them. */
export class MemoryLimitStore implements MemoryStore {
  readonly #maxEntries: number;
  protected readonly clock: StoreClock;
  readonly #slab = new EntrySlab();
  readonly #hash = new KeyHash();
  /** By policy id. */
  protected readonly tables = new Map<string, CounterTable>();
  /** Those of the last admission. Most stores serve one limit, so that no table is searched for. */
  #lastPolicies: readonly QuotaPolicy[] = [];
  #lastTables: readonly CounterTable[] = [];
  #lastAreStraight = false;
  #queues: MemoryQueues | undefined;
  /** Is told what changes, if a journal keeps it. */
  protected notes: CounterNotes | undefined = undefined;

  constructor(maxEntries: number, clock: StoreClock) {
    this.#maxEntries = maxEntries;
    this.clock = clock;
  }

  get size(): number {
    let size = 0;
    for (const table of this.tables.values()) size += table.size;
    return size;
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision {
    checkUnits(policies, units);
    this.clock.read();
    const tables = this.#tablesOf(policies);
    if (this.#lastAreStraight) {
      const decision = this.#admitStraight(tables, policies, keys, units);
      if (decision !== undefined) return decision;
    }
    const first = findCharges(tables, policies, keys, units, this.#hash);
    return allFit(tables, first, keys) ? chargeAll(tables, first, keys, this.#hash) : refuse(tables, first, this.clock);
  }

  settle(receipt: Receipt, units: readonly (number | undefined)[]): void {
    const first = this.#chargeOf(receipt);
    checkSettledUnits(units);
    this.clock.read();
    let i = 0;
    for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
      const settled = units[i++];
      if (settled === undefined || charge.stage === SETTLED) continue;
      charge.stage = SETTLED;
      const { counters, slot }: MemoryCharge = charge;
      if (counters.generation(slot) !== charge.generation) continue;
      if (counters.settle(charge, settled)) this.notes?.settled(charge, settled);
      counters.keeper?.keepUntil(counters.liveUntil(slot));
    }
    this.notes?.commit();
  }

  renew(receipt: Receipt): boolean {
    const first = this.#chargeOf(receipt);
    this.clock.read();
    let areHeld = true;
    for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
      const { counters, slot, hold } = charge;
      if (hold === undefined || charge.stage === SETTLED) continue;
      if (counters.generation(slot) !== charge.generation || !counters.renew(slot, hold)) areHeld = false;
      else {
        counters.keeper?.keepUntil(counters.liveUntil(slot));
        this.notes?.renewed(charge, hold);
      }
    }
    this.notes?.commit();
    return areHeld;
  }

  release(receipt: Receipt): void {
    const first = this.#chargeOf(receipt);
    this.clock.read();
    for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
      const { counters, slot, hold } = charge;
      if (hold === undefined || charge.stage === SETTLED) continue;
      charge.stage = SETTLED;
      if (counters.generation(slot) !== charge.generation || !counters.release(slot, hold)) continue;
      this.notes?.released(charge, hold);
    }
    this.notes?.commit();
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    this.clock.read();
    return policies.map((policy, i) => {
      const { name, limit } = policy;
      const key = keys[i] as string;
      const table = this.tables.get(policy.id);
      const slot = table?.find(this.#hash.of(key), key, NONE) ?? NONE;
      if (table === undefined || slot === NONE) {
        return { name, limit, remaining: limit, resetAt: unusedResetAt(policy, this.clock) };
      }
      const used = table.counters.used(policy, slot);
      return { name, limit, remaining: Math.max(0, limit - used), resetAt: table.counters.resetAt(policy, slot) };
    });
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    this.clock.read();
    policies.forEach((policy, i) => {
      const key = keys[i] as string;
      const table = this.tables.get(policy.id);
      const slot = table?.find(this.#hash.of(key), key, NONE) ?? NONE;
      if (table === undefined || slot === NONE) return;
      // What runs still runs.
      table.counters.clearLog(slot);
      this.notes?.cleared(table.counters, slot);
      if (!table.counters.isLive(slot)) table.forget(slot);
    });
    this.notes?.commit();
  }

  queue(settings: QueueSettings): WaitingQueue {
    this.#queues ??= new MemoryQueues({
      now: steady(() => {
        this.clock.read();
        return this.clock.steady;
      }),
      free: ({ policy }, key) => this.peek([policy], [key])[0]?.remaining ?? 0,
    });
    return this.#queues.open(settings);
  }

  close(): void {}

  #chargeOf(receipt: Receipt): MemoryCharge {
    if (receipt instanceof MemoryCharge && receipt.counters.isOf(this.clock)) return receipt;
    throw new TypeError('gatewarden: this receipt is not from this memoryStore');
  }

  /** A table for each policy. */
  #tablesOf(policies: readonly QuotaPolicy[]): readonly CounterTable[] {
    const known = this.#lastPolicies;
    let isKnown = known.length === policies.length;
    for (let i = 0; isKnown && i < policies.length; i++) isKnown = known[i] === policies[i];
    if (!isKnown) {
      this.#lastTables = policies.map((policy) => this.tableOf(policy));
      this.#lastPolicies = [...policies];
      this.#lastAreStraight = areStraight(this.#lastTables);
    }
    return this.#lastTables;
  }

  /** The table of a policy. Made at its first use. */
  protected tableOf(policy: QuotaPolicy): CounterTable {
    const existing = this.tables.get(policy.id);
    if (existing !== undefined) return existing;
    if (this.tables.size === MAX_POLICIES) {
      throw new RangeError(`gatewarden: memoryStore holds at most ${MAX_POLICIES} policies`);
    }
    const table = new CounterTable(policy, this.#slab, this.clock, this.#hash, this.#maxEntries);
    this.tables.set(policy.id, table);
    return table;
  }

  /** Undefined if the general path has to decide. */
  #admitStraight(
    tables: readonly CounterTable[],
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): Decision | undefined {
    if (tables.length > 1) return admitSeveral(tables, policies, keys, units, this.#hash);
    const [table, policy] = [tables[0] as CounterTable, policies[0] as QuotaPolicy];
    return admitOne(table, policy, keys[0] as string, units[0] as number, this.#hash, this.clock);
  }
}
