import type { QuotaState } from '../../../core/quota-state.js';
import type { QuotaPolicy } from '../../policy.js';
import { type Decision, type Receipt, StoreError } from '../../store.js';
import { checkUnits } from '../../units.js';
import { NO_HOLDS, RedisReceipt, type SlotCharges } from '../receipt.js';
import type { ServerClock } from '../server-clock.js';
import type { HotCounter, Portion } from './hot-counter.js';
import { HotParts } from './hot-parts.js';
import type { HotTable } from './hot-table.js';

/** Decides about a request in another way. `error`: Redis has just not answered, and the time of the request is over. */
export type DecideOtherwise = (
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  error?: StoreError,
) => Promise<Decision>;

/** Milliseconds of a clock that only moves forward. */
export function steadyTime(clock: ServerClock): number {
  return clock.steady();
}

/**
 * Decides in memory from units that were taken ahead. A policy that has none here is decided otherwise. If that refuses,
 * the units of the others stay here, so that all policies are charged or none.
 */
export class HotDecisions {
  readonly #hot: HotTable;
  readonly #clock: ServerClock;
  /** Takes units, unless that makes no sense now. Resolves to the error if Redis does not answer. */
  readonly #take: (counter: HotCounter, now: number) => Promise<unknown> | undefined;
  /** Gives back all of an admission with so many policies. */
  readonly #undo: (receipt: Receipt, count: number) => Promise<void>;

  constructor(
    hot: HotTable,
    clock: ServerClock,
    take: (counter: HotCounter, now: number) => Promise<unknown> | undefined,
    undo: (receipt: Receipt, count: number) => Promise<void>,
  ) {
    this.#hot = hot;
    this.#clock = clock;
    this.#take = take;
    this.#undo = undo;
  }

  /** Decides for `store`. If units of all policies are on their way, waits for them. */
  admit(
    store: object,
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    otherwise: DecideOtherwise,
  ): Promise<Decision> {
    if (this.#hot.size === 0) return otherwise(policies, keys, units);
    const decision = this.#decide(store, policies, keys, units);
    if (decision !== undefined) return Promise.resolve(decision);
    const arrival = this.#arrival(policies, keys, units);
    if (arrival === undefined) return this.#admitInParts(store, policies, keys, units, otherwise);
    return arrival.then((error) => {
      checkUnits(policies, units);
      if (error instanceof StoreError) return otherwise(policies, keys, units, error);
      return this.#decide(store, policies, keys, units) ?? this.#admitInParts(store, policies, keys, units, otherwise);
    });
  }

  /** Decides in memory about the policies that have units here, and otherwise about the rest. */
  async #admitInParts(
    store: object,
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    otherwise: DecideOtherwise,
  ): Promise<Decision> {
    const taken = this.#takeParts(policies, keys, units);
    if (taken === undefined) return otherwise(policies, keys, units);
    let decision: Decision;
    try {
      decision = await otherwise(taken.restOf(policies), taken.restOf(keys), taken.restOf(units));
    } catch (error) {
      taken.undo(steadyTime(this.#clock));
      throw error;
    }
    const now = steadyTime(this.#clock);
    if (decision.kind === 'admitted' && !taken.isInTime(now)) {
      // The answer took too long. So all policies are charged now.
      taken.undo(now);
      await this.#undo(decision.receipt, taken.restOf(units).length);
      return otherwise(policies, keys, units);
    }
    if (decision.kind === 'refused') taken.undo(now);
    return taken.decisionOf(store, decision);
  }

  /** Uses the units that are here; undefined if there are none, or of all policies. */
  #takeParts(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): HotParts | undefined {
    if (policies.length === 1) return undefined;
    checkUnits(policies, units);
    const now = steadyTime(this.#clock);
    const parts = policies.flatMap((policy, place) => {
      const counter = this.#hot.find(policy, keys[place] as string);
      const portion = counter?.portionFor(units[place] as number, now);
      return counter === undefined || portion === undefined
        ? []
        : [{ place, counter, portion, units: units[place] as number }];
    });
    const isMistaken = new Set(parts.map(({ counter }) => counter)).size < parts.length;
    if (parts.length === 0 || parts.length === policies.length || isMistaken) return undefined;
    const taken = new HotParts(parts, policies.length);
    for (const { counter } of parts) if (counter.left < counter.refillBelow) this.#take(counter, now);
    return taken;
  }

  /** Decides, if each policy has enough units here. */
  #decide(
    store: object,
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): Decision | undefined {
    const now = steadyTime(this.#clock);
    if (policies.length !== 1) return this.#decideAll(store, policies, keys, units, now);
    const counter = this.#hot.find(policies[0] as QuotaPolicy, keys[0] as string);
    const wanted = units[0] as number;
    const portion = isUnits(wanted) ? counter?.portionFor(wanted, now) : undefined;
    if (counter === undefined || portion === undefined) return undefined;
    counter.use(portion, wanted);
    if (counter.left < counter.refillBelow) this.#take(counter, now);
    const at = this.#clock.at(now);
    return admitted(store, units, at, [counter.stateOf(portion, at)], portion.charges);
  }

  #decideAll(
    store: object,
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    now: number,
  ): Decision | undefined {
    const counters: HotCounter[] = [];
    const portions: Portion[] = [];
    for (let i = 0; i < policies.length; i++) {
      const counter = this.#hot.find(policies[i] as QuotaPolicy, keys[i] as string);
      const portion = isUnits(units[i]) ? counter?.portionFor(units[i] as number, now) : undefined;
      // A counter that is named twice is a mistake, which is reported elsewhere.
      if (counter === undefined || portion === undefined || counters.includes(counter)) return undefined;
      counters.push(counter);
      portions.push(portion);
    }
    const at = this.#clock.at(now);
    const states = counters.map((counter, i) => {
      const portion = portions[i] as Portion;
      counter.use(portion, units[i] as number);
      if (counter.left < counter.refillBelow) this.#take(counter, now);
      return counter.stateOf(portion, at);
    });
    const charges = portions.map(({ charges: [charge] }, i) => ({ ...charge, places: [i] }));
    return admitted(store, units, at, states, charges);
  }

  /** If units are on their way that are not here: resolves when they are, or to the error if Redis does not answer. */
  #arrival(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): Promise<unknown> | undefined {
    const now = steadyTime(this.#clock);
    let arrival: Promise<unknown> | undefined;
    for (let i = 0; i < policies.length; i++) {
      const counter = this.#hot.find(policies[i] as QuotaPolicy, keys[i] as string);
      if (counter !== undefined && counter.portionFor(units[i] as number, now) === undefined) {
        arrival ??= this.#take(counter, now);
      }
    }
    return arrival;
  }
}

const isUnits = (units: number | undefined): boolean => Number.isInteger(units) && (units as number) >= 1;

function admitted(
  store: object,
  units: readonly number[],
  at: number,
  states: readonly QuotaState[],
  charges: SlotCharges[],
): Decision {
  const receipt = new RedisReceipt(store, units, charges, undefined);
  return { kind: 'admitted', at, states, holds: NO_HOLDS, receipt };
}
