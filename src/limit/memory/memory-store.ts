import { checkOptionNames, clock, type OptionNames, positiveInteger } from '../../core/option.js';
import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, LimitStore, Receipt, Violation } from '../store.js';
import { CounterTable } from './counter-table.js';
import { CHARGE_LENGTH, MemoryAdmission } from './memory-admission.js';
import type { WindowRings } from './window-rings.js';

/** Options of `memoryStore`. */
export interface MemoryStoreOptions {
  /**
   * The most counters that the store holds, one for each policy and key. Default 100,000, at most 10,000,000. A counter
   * occupies about 60 bytes, its key, and 12 bytes for each entry of its window. While the store is full of live
   * counters, all new keys together share one allowance of each policy.
   */
  readonly maxEntries?: number | undefined;
  /** Returns the time in epoch milliseconds. It may jump backwards: nothing is then forgotten early. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A limit store in this process' memory. It answers at once: none of its methods returns a promise. */
export interface MemoryStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Decision;
  settle(receipt: Receipt, units: number): void;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[];
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void;
  /** Counters in use now, for gauges and tests. */
  readonly size: number;
}

const OPTIONS: OptionNames<MemoryStoreOptions> = { maxEntries: true, now: true };
const NONE = -1;
/** The last millisecond that a `Date` can hold. */
const LATEST = 8.64e15;
/** Expired counters freed with each admission: more than it can add, so that they are all freed, and never a long pause. */
const SWEEP = 2;

/**
 * Makes a limit store that counts in this process' memory, exactly and without waiting. Its memory is bounded, and it
 * starts no timer. Live counters are never evicted: requests with many other keys cannot free a key that is at its limit.
 * Services that run in more than one process need a store that they share, such as `redisStore`.
 *
 * ```ts
 * const store = memoryStore({ maxEntries: 1_000_000 })
 * ```
 * @throws OptionError
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  checkOptionNames('memoryStore', options, OPTIONS);
  const maxEntries = positiveInteger('memoryStore', 'maxEntries', options.maxEntries ?? 100_000, 10_000_000);
  return new MemoryStoreImplementation(new CounterTable(maxEntries), clock('memoryStore', options.now));
}

class MemoryStoreImplementation implements MemoryStore {
  readonly #table: CounterTable;
  readonly #rings: WindowRings;
  readonly #now: () => number;

  constructor(table: CounterTable, now: () => number) {
    this.#table = table;
    this.#rings = table.rings;
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
    const slots: number[] = [];
    let created: number[] | undefined;
    let fits = true;
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const key = keys[i] as string;
      const number = table.policyNumber(policy);
      table.sweep(number, now, SWEEP, slots);
      let slot = table.find(number, key);
      if (slot === NONE) {
        slot = this.#newCounter(policy, number, key, now, slots);
        if (created === undefined) created = [slot];
        else created.push(slot);
      } else if (slots.includes(slot)) {
        throw new RangeError(`gatewarden: one admission names policy "${policy.name}" twice for the same key`);
      }
      slots.push(slot);
      // Written so that a limit of NaN refuses.
      if (!(this.#used(policy, slot, now) + needed(slots, i, units) <= policy.limit)) fits = false;
    }
    if (fits) return this.#charge(policies, slots, units, now);
    const refused = this.#refuse(policies, slots, units, now);
    // A refusal must not occupy counters either.
    for (const slot of slots) if (table.total(slot) === 0 || created?.includes(slot) === true) table.free(slot);
    return refused;
  }

  settle(receipt: Receipt, units: number): void {
    if (!(receipt instanceof MemoryAdmission) || receipt.store !== this) {
      throw new TypeError('gatewarden: this receipt is not from this memoryStore');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be a whole number, 0 or more, got ${units}`);
    }
    if (receipt.settled) return;
    receipt.settled = true;
    const delta = units - receipt.units;
    const table = this.#table;
    const { charges, policies } = receipt;
    for (let i = 0; i < policies.length; i++) {
      const slot = charges[i * CHARGE_LENGTH] as number;
      const time = charges[i * CHARGE_LENGTH + 2] as number;
      if (table.generation(slot) !== charges[i * CHARGE_LENGTH + 1]) continue;
      if (policies[i]?.kind === 'sliding-window') this.#rings.correct(slot, time, delta);
      else if (table.time(slot) === time) table.addToDay(slot, delta);
    }
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    const table = this.#table;
    const now = this.#time();
    return policies.map((policy, i) => {
      const number = table.policyNumber(policy);
      let slot = table.find(number, keys[i] as string);
      // A key without a counter would start with what the overflow counter holds.
      if (slot === NONE && table.hasOverflow(number)) slot = table.overflow(number);
      // A day that has ended is not restarted here: the counter would look as if it had been charged.
      if (slot !== NONE && policy.kind === 'daily-quota' && now >= table.time(slot)) slot = NONE;
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
    // Written so that NaN throws. It would otherwise empty every window.
    if (!(now >= 0 && now <= LATEST)) {
      throw new RangeError(`gatewarden: memoryStore "now" must return epoch milliseconds, got ${now}`);
    }
    return now;
  }

  /**
   * The counter for a key that has none: the policy's overflow counter while the table is full. Afterwards a new counter
   * starts with all that the overflow counter holds, since some of it may have been charged to this key.
   */
  #newCounter(policy: QuotaPolicy, number: number, key: string, now: number, pinned: readonly number[]): number {
    const table = this.#table;
    const slot = table.create(number, key, now, pinned);
    if (slot === NONE) return table.overflow(number);
    if (table.hasOverflow(number)) {
      const overflow = table.overflow(number);
      if (this.#used(policy, overflow, now) > 0) {
        if (policy.kind === 'sliding-window') this.#rings.copy(slot, overflow);
        else {
          table.startDay(slot, table.time(overflow));
          table.addToDay(slot, table.total(overflow));
        }
      }
    }
    return slot;
  }

  /** Units in use now, after forgetting those that have left the window or the day. */
  #used(policy: QuotaPolicy, slot: number, now: number): number {
    if (policy.kind === 'sliding-window') this.#rings.evict(slot, now - policy.window);
    else if (now >= this.#table.time(slot)) this.#table.startDay(slot, policy.dayOf(now).end);
    return this.#table.total(slot);
  }

  #charge(policies: readonly QuotaPolicy[], slots: readonly number[], units: number, now: number): Decision {
    const table = this.#table;
    const states: QuotaState[] = [];
    const charges: number[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const slot = slots[i] as number;
      if (policy.kind === 'sliding-window') {
        // Rounded up, so that a unit is forgotten late and never early.
        const time = this.#rings.push(slot, Math.ceil(now / policy.granule) * policy.granule, units);
        charges.push(slot, table.generation(slot), time);
      } else {
        table.addToDay(slot, units);
        charges.push(slot, table.generation(slot), table.time(slot));
      }
      table.touch(slot);
      states.push(this.#state(policy, slot, now));
    }
    return new MemoryAdmission(this, policies, units, now, states, charges);
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
      if (!(table.total(slot) + needed(slots, i, units) <= policy.limit))
        violations.push({ state, retryAt: this.#retryAt(policy, slot, needed(slots, i, units)) });
    }
    return { kind: 'refused', at: now, states, violations };
  }

  #retryAt(policy: QuotaPolicy, slot: number, units: number): number | null {
    if (units > policy.limit) return null;
    if (policy.kind === 'daily-quota') return this.#table.time(slot);
    const time = this.#rings.timeOfUnits(slot, this.#table.total(slot) + units - policy.limit);
    return time === undefined ? null : time + policy.window;
  }

  #state(policy: QuotaPolicy, slot: number, now: number): QuotaState {
    const { name, limit } = policy;
    const used = slot === NONE ? 0 : this.#table.total(slot);
    return { name, limit, remaining: Math.max(0, limit - used), resetAt: this.#resetAt(policy, slot, now) };
  }

  #resetAt(policy: QuotaPolicy, slot: number, now: number): number {
    if (policy.kind === 'daily-quota') return slot === NONE ? policy.dayOf(now).end : this.#table.time(slot);
    if (slot === NONE) return now;
    // A correction may have raised the use above the limit. Then several units must leave before one is available.
    const over = this.#table.total(slot) - policy.limit;
    const time = over < 1 ? this.#rings.oldestTime(slot) : this.#rings.timeOfUnits(slot, over + 1);
    return time === undefined ? now : time + policy.window;
  }
}

/** Units that charges 0 to `i` need from the counter of charge `i`: several keys may share an overflow counter. */
function needed(slots: readonly number[], i: number, units: number): number {
  let sum = units;
  for (let j = 0; j < i; j++) if (slots[j] === slots[i]) sum += units;
  return sum;
}
