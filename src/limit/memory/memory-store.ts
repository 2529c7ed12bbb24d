import { badOption, checkOptionNames, positiveInteger } from '../../core/option.js';
import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Decision, LimitStore, Receipt, Violation } from '../store.js';
import { CounterTable } from './counter-table.js';

/** What `memoryStore` takes. */
export interface MemoryStoreOptions {
  /**
   * Counters held at a time: one for each policy and key, about 60 bytes, its key, and 12 bytes for each entry of its window. Default
   * 100,000, at most 10,000,000. While all of them are live, new keys share one allowance of each policy.
   */
  readonly maxEntries?: number;
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

/** Three numbers for each policy of an admission: its counter, the counter's generation, and the entry or day charged. */
const MARKS = 3;

/** An admission is its own receipt: one object less for each request. */
class Admitted {
  readonly kind = 'admitted';
  settled = false;

  constructor(
    readonly store: MemoryStore,
    readonly policies: readonly QuotaPolicy[],
    readonly units: number,
    readonly at: number,
    readonly states: readonly QuotaState[],
    readonly marks: readonly number[],
  ) {}

  get receipt(): Receipt {
    return this;
  }
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
  checkOptionNames('memoryStore', options, ['maxEntries', 'now']);
  const maxEntries = positiveInteger('memoryStore', 'maxEntries', options.maxEntries ?? 100_000, 10_000_000);
  const { now = Date.now } = options;
  if (typeof now !== 'function') throw badOption('memoryStore', 'now', 'must be a function', now);
  return new MemoryStoreImplementation(new CounterTable(maxEntries), now);
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
        throw new RangeError(`gatewarden: policy "${policy.name}" stands twice in one admission for one key`);
      }
      slots.push(slot);
      // Asked this way round, a limit that is no number admits nothing.
      if (!(this.#used(policy, slot, now) + needed(slots, i, units) <= policy.limit)) fits = false;
    }
    if (fits) return this.#charge(policies, slots, units, now);
    const refused = this.#refuse(policies, slots, units, now);
    // A refusal charges nothing, room in the table included.
    for (const slot of slots) if (table.total(slot) === 0 || created?.includes(slot) === true) table.free(slot);
    return refused;
  }

  settle(receipt: Receipt, units: number): void {
    if (!(receipt instanceof Admitted) || receipt.store !== this) {
      throw new TypeError('gatewarden: memoryStore did not make this receipt');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be an integer from zero, got ${units}`);
    }
    if (receipt.settled) return;
    receipt.settled = true;
    const delta = units - receipt.units;
    const table = this.#table;
    const { marks, policies } = receipt;
    for (let i = 0; i < policies.length; i++) {
      const slot = marks[i * MARKS] as number;
      const time = marks[i * MARKS + 2] as number;
      if (table.generation(slot) !== marks[i * MARKS + 1]) continue;
      if (policies[i]?.kind === 'sliding-window') table.correct(slot, time, delta);
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
      // A day that has ended is not begun anew here: the counter would seem to have been charged.
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
    if (policy.kind === 'sliding-window') this.#table.evict(slot, now - policy.window);
    else if (now >= this.#table.time(slot)) this.#table.startDay(slot, policy.dayOf(now).end);
    return this.#table.total(slot);
  }

  #charge(policies: readonly QuotaPolicy[], slots: readonly number[], units: number, now: number): Decision {
    const table = this.#table;
    const states: QuotaState[] = [];
    const marks: number[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as QuotaPolicy;
      const slot = slots[i] as number;
      if (policy.kind === 'sliding-window') {
        // Rounded up, so that a unit is forgotten late rather than early.
        const time = table.push(slot, Math.ceil(now / policy.granule) * policy.granule, units);
        marks.push(slot, table.generation(slot), time);
      } else {
        table.addToDay(slot, units);
        marks.push(slot, table.generation(slot), table.time(slot));
      }
      table.touch(slot);
      states.push(this.#state(policy, slot, now));
    }
    return new Admitted(this, policies, units, now, states, marks);
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
    if (slot === NONE) return now;
    // A correction may have put more in use than the limit: then several units must go before one is left.
    const over = this.#table.total(slot) - policy.limit;
    const time = over < 1 ? this.#table.oldestTime(slot) : this.#table.timeOfUnits(slot, over + 1);
    return time === undefined ? now : time + policy.window;
  }
}

/** Units that the first `i + 1` charges ask of the counter of charge `i`: several keys may share an overflow counter. */
function needed(slots: readonly number[], i: number, units: number): number {
  let sum = units;
  for (let j = 0; j < i; j++) if (slots[j] === slots[i]) sum += units;
  return sum;
}
