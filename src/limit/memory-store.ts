import { checkOptionNames, positiveInteger } from '../option.js';
import type { QuotaState } from '../problem.js';
import { CounterTable } from './counter-table.js';
import type { QuotaPolicy } from './policy.js';
import type { Decision, LimitStore, Receipt, Violation } from './store.js';

export interface MemoryStoreOptions {
  /**
   * Counters held at a time: one for each policy and key, about 60 bytes and 12 for each entry of its window. Default
   * 100,000, at most 10,000,000. While all of them are live, new keys share one allowance of each policy.
   */
  readonly maxKeys?: number;
  /** Epoch milliseconds. It may jump backwards: nothing is then forgotten early. Default `Date.now`. */
  readonly now?: () => number;
}

/** A memory store answers at once: none of its verbs gives a promise. */
export interface MemoryStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision;
  settle(receipt: Receipt, units: number): void;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[];
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void;
  /** Counters in use now, for gauges and tests. */
  readonly size: number;
}

const NONE = -1;
/** Expired counters freed with each admission: more than it can add, so that they leave, and never a long stop. */
const SWEEP = 2;

class MemoryReceipt {
  settled = false;
  constructor(
    readonly store: MemoryStore,
    readonly policies: readonly QuotaPolicy[],
    readonly slots: readonly number[],
    readonly generations: readonly number[],
    /** Which entry, or which day, of each counter holds the charge. */
    readonly times: readonly number[],
    readonly units: number,
  ) {}
}

/**
 * Counts in this process' memory, exactly and without waiting. Bounded, with no timer. Live counters are never evicted:
 * a key that stands at its limit cannot be washed out by a flood of other keys.
 *
 * ```ts
 * const store = memoryStore()
 * ```
 * @throws OptionError
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  checkOptionNames('memoryStore', options, ['maxKeys', 'now']);
  const capacity = positiveInteger('memoryStore', 'maxKeys', options.maxKeys ?? 100_000, 10_000_000);
  return new MemoryStoreImplementation(new CounterTable(capacity), options.now ?? Date.now);
}

class MemoryStoreImplementation implements MemoryStore {
  readonly #table: CounterTable;
  readonly #now: () => number;

  constructor(table: CounterTable, now: () => number) {
    this.#table = table;
    this.#now = now;
  }

  get size(): number {
    return this.#table.size;
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision {
    if (!Number.isInteger(units) || units < 1) {
      throw new RangeError(`gatewarden: quota units must be a positive integer, got ${units}`);
    }
    const table = this.#table;
    const now = this.#time();
    for (const policy of policies) table.sweep(table.policyNumber(policy), now, SWEEP);
    const slots: number[] = [];
    let fits = true;
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const key = keys[i] as string;
      const number = table.policyNumber(policy);
      let slot = table.find(number, key);
      if (slot === NONE) slot = this.#newCounter(policy, number, key, now, slots);
      slots.push(slot);
      if (this.#used(policy, slot, now) + units > policy.limit) fits = false;
    }
    return fits ? this.#charge(policies, slots, units, now) : this.#refuse(policies, slots, units, now);
  }

  settle(receipt: Receipt, units: number): void {
    if (!(receipt instanceof MemoryReceipt) || receipt.store !== this) {
      throw new TypeError('gatewarden: memoryStore did not make this receipt');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be an integer from zero, got ${units}`);
    }
    if (receipt.settled) return;
    receipt.settled = true;
    const delta = units - receipt.units;
    const table = this.#table;
    for (let i = 0; i < receipt.slots.length; i++) {
      const slot = receipt.slots[i] as number;
      const time = receipt.times[i] as number;
      if (table.generation(slot) !== receipt.generations[i]) continue;
      if (receipt.policies[i]?.kind === 'sliding-window') table.correct(slot, time, delta);
      else if (table.time(slot) === time) table.addToDay(slot, delta);
    }
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    const table = this.#table;
    const now = this.#time();
    return policies.map((policy, i) => {
      const number = table.policyNumber(policy);
      let slot = table.find(number, keys[i] as string);
      // A key without a counter would start from what the overflow counter holds.
      if (slot === NONE && table.hasOverflow(number)) slot = table.overflow(number);
      if (slot !== NONE) this.#used(policy, slot, now);
      return this.#state(policy, slot, now);
    });
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    policies.forEach((policy, i) => {
      const slot = this.#table.find(this.#table.policyNumber(policy), keys[i] as string);
      if (slot !== NONE) this.#table.free(slot);
    });
  }

  #time(): number {
    const now = this.#now();
    // Every comparison with NaN is false: a broken clock would empty each window.
    if (!(now >= 0 && now <= 8.64e15)) throw new RangeError(`gatewarden: the clock of memoryStore gave ${now}`);
    return now;
  }

  /**
   * A counter for a key that has none. While the table is full that is the policy's overflow counter. Later, the key's
   * own counter starts with all that the overflow counter holds, as some of it may have been this key's.
   */
  #newCounter(policy: QuotaPolicy, number: number, key: string, now: number, pinned: readonly number[]): number {
    const table = this.#table;
    const slot = table.create(number, key, now, pinned);
    if (slot === NONE) return table.overflow(number);
    if (table.hasOverflow(number)) {
      const overflow = table.overflow(number);
      if (this.#used(policy, overflow, now) > 0) {
        if (policy.kind === 'sliding-window') table.copyEntries(slot, overflow);
        else {
          table.startDay(slot, table.time(overflow));
          table.addToDay(slot, table.total(overflow));
        }
      }
    }
    return slot;
  }

  /** Units in use now; what has left the window or the day is forgotten first. */
  #used(policy: QuotaPolicy, slot: number, now: number): number {
    if (policy.kind === 'sliding-window') this.#table.evict(slot, now);
    else if (now >= this.#table.time(slot)) this.#table.startDay(slot, policy.dayOf(now).end);
    return this.#table.total(slot);
  }

  #charge(policies: readonly QuotaPolicy[], slots: readonly number[], units: number, now: number): Decision {
    const table = this.#table;
    const states: QuotaState[] = [];
    const generations: number[] = [];
    const times: number[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const slot = slots[i] as number;
      if (policy.kind === 'sliding-window') {
        // Rounded up, so that a unit is forgotten late rather than early.
        times.push(table.push(slot, Math.ceil(now / policy.granule) * policy.granule, units));
      } else {
        table.addToDay(slot, units);
        times.push(table.time(slot));
      }
      table.touch(slot);
      generations.push(table.generation(slot));
      states.push(this.#state(policy, slot, now));
    }
    const receipt = new MemoryReceipt(this, policies, slots, generations, times, units);
    return { kind: 'admitted', at: now, states, receipt };
  }

  #refuse(policies: readonly QuotaPolicy[], slots: readonly number[], units: number, now: number): Decision {
    const table = this.#table;
    const states: QuotaState[] = [];
    const violations: Violation[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const slot = slots[i] as number;
      const state = this.#state(policy, slot, now);
      states.push(state);
      if (table.total(slot) + units > policy.limit)
        violations.push({ state, retryAt: this.#retryAt(policy, slot, units) });
    }
    // Counters made for this request, or empty anyway.
    for (const slot of slots) if (table.total(slot) === 0) table.free(slot);
    return { kind: 'refused', at: now, states, violations };
  }

  #retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    if (units > policy.limit) return null;
    if (policy.kind === 'daily-quota') return this.#table.time(slot);
    const time = this.#table.timeOfUnits(slot, this.#table.total(slot) + units - policy.limit);
    return time === undefined ? null : time + policy.window;
  }

  #state(policy: QuotaPolicy, slot: number, now: number): QuotaState {
    const { name, limit } = policy;
    const used = slot === NONE ? 0 : this.#table.total(slot);
    return { name, limit, remaining: Math.max(0, limit - used), resetAt: this.#resetAt(policy, slot, now) };
  }

  #resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    if (policy.kind === 'daily-quota') return slot === NONE ? policy.dayOf(now).end : this.#table.time(slot);
    const oldest = slot === NONE ? undefined : this.#table.oldestTime(slot);
    return oldest === undefined ? now : oldest + policy.window;
  }
}
