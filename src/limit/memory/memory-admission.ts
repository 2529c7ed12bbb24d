import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Hold, Receipt, Violation } from '../store.js';
import type { Counters } from './counters.js';
import type { MemoryHold } from './holds.js';

const NO_HOLDS: readonly undefined[] = Object.freeze([]);

/** Where a charge is on its way. */
export const FOUND = 0;
/** Its slot was claimed for this admission and holds nothing of its own yet. */
export const CLAIMED = 1;
export const SETTLED = 2;

/**
 * One policy's part of an admission: which counter it charges, and with what. The first of an admission is the decision and
 * the receipt as well. There is one for each request, so it is small: lists are made when they are read, and times are kept
 * as differences, which need no memory of their own.
 */
export class MemoryCharge {
  // Declared, and assigned by the constructor alone: an initializer for each field would take as long as the decision.
  declare readonly policy: QuotaPolicy;
  declare readonly units: number;
  /** Those of the table, or those that it shares among keys. */
  declare counters: Counters;
  declare slot: number;
  declare stage: number;
  /** Units in use before the charge, and then after it. */
  declare used: number;
  declare generation: number;
  /** When it was admitted, by the clock of the counters. */
  declare readonly now: number;
  /** From `now` to the time of day. */
  declare readonly offset: number;
  /** From `now` to the time under which the counter keeps the charge. */
  declare ahead: number;
  /** From `now` to when more units become available after the charge. */
  declare wait: number;
  /** What a policy with leases holds. */
  declare hold: MemoryHold | undefined;
  /** That of the next policy. */
  declare next: MemoryCharge | undefined;
  declare private madeStates: readonly QuotaState[] | undefined;

  constructor(policy: QuotaPolicy, units: number, counters: Counters, slot: number) {
    this.policy = policy;
    this.units = units;
    this.counters = counters;
    this.slot = slot;
    this.stage = FOUND;
    this.used = 0;
    this.generation = 0;
    this.now = counters.now;
    this.offset = counters.offset;
    this.ahead = 0;
    this.wait = 0;
    this.hold = undefined;
    this.next = undefined;
    this.madeStates = undefined;
  }

  get kind(): 'admitted' {
    return 'admitted';
  }

  get at(): number {
    return this.now + this.offset;
  }

  get resetAt(): number {
    return this.now + this.wait + this.offset;
  }

  get receipt(): Receipt {
    return this;
  }

  get states(): readonly QuotaState[] {
    this.madeStates ??= statesOf(this);
    return this.madeStates;
  }

  get holds(): readonly (Hold | undefined)[] {
    const list: (Hold | undefined)[] = [];
    let holdsAny = false;
    for (let charge: MemoryCharge | undefined = this; charge !== undefined; charge = charge.next) {
      const { hold } = charge;
      list.push(hold === undefined ? undefined : { slot: hold.slot, token: hold.token });
      if (hold !== undefined) holdsAny = true;
    }
    return holdsAny ? list : NO_HOLDS;
  }
}

/** One policy's part of a refusal. The first is the decision. */
export class MemoryRefusal {
  declare readonly policy: QuotaPolicy;
  declare readonly used: number;
  declare readonly at: number;
  /** From `at` to when more units become available. */
  declare private readonly wait: number;
  /** From `at` to when the units would fit; null if they never do. Undefined if they do: another policy refuses. */
  declare private readonly retryIn: number | null | undefined;
  /** That of the next policy. */
  declare next: MemoryRefusal | undefined;
  declare private madeStates: readonly QuotaState[] | undefined;

  constructor(at: number, policy: QuotaPolicy, used: number, resetAt: number, retryAt: number | null | undefined) {
    this.policy = policy;
    this.used = used;
    this.at = at;
    this.wait = resetAt - at;
    this.retryIn = typeof retryAt === 'number' ? retryAt - at : retryAt;
    this.next = undefined;
    this.madeStates = undefined;
  }

  get resetAt(): number {
    return this.at + this.wait;
  }

  get retryAt(): number | null | undefined {
    return typeof this.retryIn === 'number' ? this.at + this.retryIn : this.retryIn;
  }

  get kind(): 'refused' {
    return 'refused';
  }

  get states(): readonly QuotaState[] {
    this.madeStates ??= statesOf(this);
    return this.madeStates;
  }

  get violations(): readonly Violation[] {
    const list: Violation[] = [];
    let i = 0;
    for (let refusal: MemoryRefusal | undefined = this; refusal !== undefined; refusal = refusal.next) {
      const { retryAt } = refusal;
      if (retryAt !== undefined) list.push({ state: this.states[i] as QuotaState, retryAt });
      i++;
    }
    return list;
  }
}

function statesOf(first: MemoryCharge | MemoryRefusal): readonly QuotaState[] {
  const states: QuotaState[] = [];
  for (let part: MemoryCharge | MemoryRefusal | undefined = first; part !== undefined; part = part.next) {
    const { name, limit } = part.policy;
    states.push({ name, limit, remaining: Math.max(0, limit - part.used), resetAt: part.resetAt });
  }
  return states;
}
