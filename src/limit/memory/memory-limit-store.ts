import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, LimitStore, Receipt, Violation } from '../store.js';
import { CounterTable, NONE } from './counter-table.js';
import type { Counters } from './counters.js';
import { endOfDay } from './day-log.js';
import { EntrySlab } from './entry-slab.js';
import { KeyHash } from './key-hash.js';
import { hold, MemoryAdmission, MemoryCharge, needed, share } from './memory-admission.js';
import { detachedKey } from './slot-keys.js';
import type { StoreClock } from './store-clock.js';

/** A limit store in this process' memory. It answers at once: none of its methods returns a promise. */
export interface MemoryStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision;
  settle(receipt: Receipt, units: number): void;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[];
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void;
  /** Counters in use now, for gauges and tests. */
  readonly size: number;
}

/** Policies come from the service's own settings: a store that sees more is misused. */
const MAX_POLICIES = 1024;

/** A table of counters for each policy, and the decisions over several of them. */
export class MemoryLimitStore implements MemoryStore {
  readonly #maxEntries: number;
  readonly #clock: StoreClock;
  readonly #slab = new EntrySlab();
  readonly #hash = new KeyHash();
  /** By policy id. */
  readonly #tables = new Map<string, CounterTable>();

  constructor(maxEntries: number, clock: StoreClock) {
    this.#maxEntries = maxEntries;
    this.#clock = clock;
  }

  get size(): number {
    let size = 0;
    for (const table of this.#tables.values()) size += table.size;
    return size;
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision {
    if (!Number.isInteger(units) || units < 1) {
      throw new RangeError(`gatewarden: quota units must be a positive integer, got ${units}`);
    }
    this.#clock.read();
    const charges = this.#chargesOf(policies, keys);
    let fits = true;
    for (let i = 0; i < charges.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const charge = charges[i] as MemoryCharge;
      if (charge.slot === NONE) this.#claim(policy, charge, charges);
      if (!charge.isNew) charge.used = charge.counters.used(policy, charge.slot, this.#nowOf(policy));
      // Written so that a limit of NaN refuses.
      if (!(charge.used + needed(charges, i, units) <= policy.limit)) fits = false;
    }
    return fits ? this.#charge(policies, keys, charges, units) : this.#refuse(policies, charges, units);
  }

  settle(receipt: Receipt, units: number): void {
    if (!(receipt instanceof MemoryAdmission) || receipt.store !== this) {
      throw new TypeError('gatewarden: this receipt is not from this memoryStore');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be a whole number, 0 or more, got ${units}`);
    }
    if (receipt.settled) return;
    this.#clock.read();
    receipt.settled = true;
    const { charges, policies } = receipt;
    for (let i = 0; i < charges.length; i++) {
      const { counters, slot, generation, time } = charges[i] as MemoryCharge;
      const policy = policies[i] as QuotaPolicy;
      if (counters.generation(slot) !== generation) continue;
      counters.settle(policy, slot, time, units - receipt.units, this.#nowOf(policy));
    }
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    this.#clock.read();
    return policies.map((policy, i) => {
      const key = keys[i] as string;
      const table = this.#tables.get(policy.id);
      const slot = table?.find(this.#hash.of(key), key, NONE) ?? NONE;
      if (table === undefined || slot === NONE) return this.#unused(policy);
      const { counters } = table;
      return this.#state(policy, counters, slot, counters.used(policy, slot, this.#nowOf(policy)));
    });
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    policies.forEach((policy, i) => {
      const key = keys[i] as string;
      const table = this.#tables.get(policy.id);
      const slot = table?.find(this.#hash.of(key), key, NONE) ?? NONE;
      if (slot !== NONE) table?.forget(slot);
    });
  }

  #table(policy: QuotaPolicy): CounterTable {
    const existing = this.#tables.get(policy.id);
    if (existing !== undefined) return existing;
    if (this.#tables.size === MAX_POLICIES) {
      throw new RangeError(`gatewarden: memoryStore holds at most ${MAX_POLICIES} policies`);
    }
    const table = new CounterTable(policy, this.#slab, this.#hash, this.#maxEntries);
    this.#tables.set(policy.id, table);
    return table;
  }

  /** A charge for each policy, with the counter that its key has. */
  #chargesOf(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly MemoryCharge[] {
    const charges: MemoryCharge[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const key = keys[i] as string;
      const table = this.#table(policy);
      for (let j = 0; j < i; j++) {
        if (charges[j]?.table !== table || keys[j] !== key) continue;
        throw new RangeError(`gatewarden: one admission names policy "${policy.name}" twice for the same key`);
      }
      table.sweep(this.#nowOf(policy));
      // Most often, all policies have the same key.
      const hash = i > 0 && keys[i - 1] === key ? (charges[i - 1] as MemoryCharge).hash : this.#hash.of(key);
      charges.push(new MemoryCharge(table, key, hash));
    }
    // After all tables were swept, and before any counter is forgotten for a new one.
    for (let i = 0; i < charges.length; i++) {
      const charge = charges[i] as MemoryCharge;
      let guess = NONE;
      if (i > 0 && keys[i - 1] === keys[i]) {
        const other = charges[i - 1] as MemoryCharge;
        hold(charge, other);
        // Counters that are made together mostly have the same slot.
        guess = other.slot;
      }
      charge.slot = charge.table.find(charge.hash, charge.key, guess);
      if (charge.slot !== NONE) {
        charge.key = charge.table.keyOf(charge.slot);
        charge.isHeld = true;
      }
    }
    return charges;
  }

  #nowOf(policy: QuotaPolicy): number {
    return policy.kind === 'daily-quota' ? this.#clock.wall : this.#clock.steady;
  }

  /** Finds a slot for a key without a counter of its own, or else one that it shares with others. */
  #claim(policy: QuotaPolicy, charge: MemoryCharge, charges: readonly MemoryCharge[]): void {
    const { table, key } = charge;
    const now = this.#nowOf(policy);
    // A key whose shared counter is at half its limit or more keeps it: part of that may be its own.
    if (table.shared !== undefined) {
      const { counters } = table.shared;
      const slot = table.shared.slotOf(key);
      if (counters.used(policy, slot, now) * 2 >= policy.limit) {
        share(charge, counters, slot);
        return;
      }
    }
    charge.slot = table.claim(now, charges);
    charge.isNew = charge.slot !== NONE;
    if (!charge.isNew) share(charge, table.sharedCounters().counters, table.sharedCounters().slotOf(key));
  }

  #charge(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    charges: readonly MemoryCharge[],
    units: number,
  ): Decision {
    const states: QuotaState[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const charge = charges[i] as MemoryCharge;
      const { table, counters, slot } = charge;
      if (charge.isNew) {
        if (i > 0 && keys[i - 1] === keys[i]) hold(charge, charges[i - 1] as MemoryCharge);
        if (!charge.isHeld) charge.key = detachedKey(charge.key);
        charge.isHeld = true;
        table.take(slot, charge.hash, charge.key);
      }
      charge.time = counters.charge(policy, slot, units, this.#nowOf(policy));
      charge.generation = counters.generation(slot);
      if (counters !== table.counters) table.shared?.keepUntil(counters.liveUntil(slot));
      states.push(this.#state(policy, counters, slot, charge.used + needed(charges, i, units)));
    }
    return new MemoryAdmission(this, policies, units, this.#clock.wall, states, charges);
  }

  #refuse(policies: readonly QuotaPolicy[], charges: readonly MemoryCharge[], units: number): Decision {
    const states: QuotaState[] = [];
    const violations: Violation[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const charge = charges[i] as MemoryCharge;
      const { counters, slot, used } = charge;
      const state = charge.isNew ? this.#unused(policy) : this.#state(policy, counters, slot, used);
      states.push(state);
      const more = needed(charges, i, units);
      if (!(used + more <= policy.limit)) {
        violations.push({ state, retryAt: this.#retryAt(policy, charge, more) });
      }
    }
    // A refusal occupies no counters.
    for (const { table, counters, slot, isNew } of charges) {
      if (isNew) table.release(slot);
      else if (counters === table.counters && counters.liveUntil(slot) === 0) table.forget(slot);
    }
    return { kind: 'refused', at: this.#clock.wall, states, violations };
  }

  #retryAt(policy: QuotaPolicy, { counters, slot, isNew }: MemoryCharge, units: number): number | null {
    const retryAt = isNew ? null : counters.retryAt(policy, slot, units);
    return retryAt === null ? null : this.#wallTime(policy, retryAt);
  }

  #state(policy: QuotaPolicy, counters: Counters, slot: number, used: number): QuotaState {
    const { name, limit } = policy;
    const resetAt = counters.resetAt(policy, slot, this.#nowOf(policy));
    return { name, limit, remaining: Math.max(0, limit - used), resetAt: this.#wallTime(policy, resetAt) };
  }

  /** The state of a policy for a key without a counter of its own. */
  #unused(policy: QuotaPolicy): QuotaState {
    const { name, limit } = policy;
    const { wall } = this.#clock;
    return { name, limit, remaining: limit, resetAt: policy.kind === 'daily-quota' ? endOfDay(policy, wall) : wall };
  }

  /** A time of a policy's counters as the time of day. */
  #wallTime(policy: QuotaPolicy, time: number): number {
    return policy.kind === 'daily-quota' ? time : time + this.#clock.wall - this.#clock.steady;
  }
}
