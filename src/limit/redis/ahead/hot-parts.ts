import type { QuotaState } from '../../../core/quota-state.js';
import type { Decision, Hold, Receipt } from '../../store.js';
import { NO_HOLDS, PartsReceipt, RedisReceipt } from '../receipt.js';
import type { HotCounter, Portion } from './hot-counter.js';

interface HotPart {
  readonly place: number;
  readonly counter: HotCounter;
  readonly portion: Portion;
  readonly units: number;
}

/** A request of which some policies are decided in memory, and the rest otherwise. */
export class HotParts {
  readonly #parts: readonly HotPart[];
  readonly #count: number;
  /** The places of the other policies. */
  readonly #rest: readonly number[];

  /** Uses the units of these policies. `count` is the number of all policies of the request. */
  constructor(parts: readonly HotPart[], count: number) {
    this.#parts = parts;
    this.#count = count;
    const isHot = new Set(parts.map(({ place }) => place));
    this.#rest = Array.from({ length: count }, (_, place) => place).filter((place) => !isHot.has(place));
    for (const { counter, portion, units } of parts) counter.use(portion, units);
  }

  /** What is to be decided otherwise. */
  restOf<T>(list: readonly T[]): readonly T[] {
    return this.#rest.map((place) => list[place] as T);
  }

  /** The units were not used after all. */
  undo(now: number): void {
    for (const { counter, portion, units } of this.#parts) counter.undo(portion, units, now);
  }

  /** Whether all units may still be used. */
  isInTime(now: number): boolean {
    return this.#parts.every(({ portion }) => now <= portion.usableUntil);
  }

  /** The whole decision, given that about the rest. */
  decisionOf(store: object, rest: Decision): Decision {
    const states = this.#merge<QuotaState>(rest.states, ({ counter, portion }) => counter.stateOf(portion, rest.at));
    // A store that has admitted without knowing the states knows none of them.
    const all = rest.states.length === 0 ? [] : states;
    if (rest.kind === 'refused') return { ...rest, states: all };
    const { at, holds: held = NO_HOLDS, receipt } = rest;
    const holds = held.length === 0 ? NO_HOLDS : this.#merge<Hold | undefined>(held, () => undefined);
    return { kind: 'admitted', at, states: all, holds, receipt: this.#receipt(store, receipt) };
  }

  #receipt(store: object, rest: Receipt): Receipt {
    const places = this.#parts.map(({ place }) => place);
    const units = this.#parts.map((part) => part.units);
    const charges = this.#parts.map(({ portion: { charges } }, i) => ({ ...charges[0], places: [i] }));
    const hot = new RedisReceipt(store, units, charges, undefined);
    return new PartsReceipt(rest, this.#rest, hot, places);
  }

  #merge<T>(ofRest: readonly T[], ofHot: (part: HotPart) => T): readonly T[] {
    const all: T[] = new Array(this.#count);
    this.#rest.forEach((place, i) => {
      all[place] = ofRest[i] as T;
    });
    for (const part of this.#parts) all[part.place] = ofHot(part);
    return all;
  }
}
