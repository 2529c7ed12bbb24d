import { isThenable } from '../core/thenable.js';
import { isInForce, type Measure, type OperatorStore } from './operator-store.js';

/** The measures of a store as they were at one moment. */
export interface Measures {
  readonly all: readonly Measure[];
  readonly suspended: ReadonlyMap<string, Measure>;
  readonly exceeding: ReadonlyMap<string, Measure>;
}

/** How a store is read. */
export interface ViewOptions {
  readonly store: OperatorStore;
  /** How old a copy may be at the most, in milliseconds. */
  readonly maxAge: number;
  /** Whether the last copy is used while the store cannot be read. */
  readonly usesLastKnown: boolean;
  readonly now: () => number;
}

/**
 * A copy of the measures, so that most requests do not ask the store. It is read again by requests, never by a timer: in the
 * background from half of its age on, and before the request goes on if it is too old.
 */
export class MeasureView {
  readonly #options: ViewOptions;
  #copy: Measures | undefined;
  /** When the last reading began, by the clock: nothing of what came later is in the copy. */
  #copyAt = Number.NEGATIVE_INFINITY;
  #failure: { readonly error: unknown; readonly at: number } | undefined;
  #reading: Promise<Measures> | undefined;
  /** Changes with each change that this process makes: what was read before does not have it. */
  #epoch = 0;

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  /** The measures, at most `maxAge` old. Throws or rejects if they cannot be read. */
  current(): Measures | Promise<Measures> {
    const { maxAge, now } = this.#options;
    const at = now();
    const age = at - this.#copyAt;
    // A clock that was set back makes a copy as old as can be.
    if (this.#copy !== undefined && age >= 0 && age < maxAge) {
      if (age >= maxAge / 2) this.#refresh(at);
      return this.#copy;
    }
    const failure = this.#failure;
    // A store that does not answer is not asked by every request.
    if (failure !== undefined && at >= failure.at && at - failure.at < maxAge) return this.#withoutStore(failure.error);
    const reading = this.#read(at);
    return isThenable(reading) ? reading.catch((error: unknown) => this.#withoutStore(error)) : reading;
  }

  /** A client has this measure of the kind from now on, or none. That holds even if the store cannot be read again. */
  changed(kind: Measure['kind'], client: string, measure: Measure | undefined): void {
    this.outdated();
    if (this.#copy === undefined) return;
    const others = this.#copy.all.filter((other) => other.kind !== kind || other.client !== client);
    this.#copy = measuresOf(measure === undefined ? others : [...others, measure]);
  }

  /** The store may have other measures than what was read before. */
  outdated(): void {
    this.#epoch++;
    this.#copyAt = Number.NEGATIVE_INFINITY;
    this.#reading = undefined;
    this.#failure = undefined;
  }

  #refresh(at: number): void {
    try {
      const reading = this.#read(at);
      if (isThenable(reading)) reading.catch(() => undefined);
    } catch {
      // A request that finds the copy too old meets the failure again.
    }
  }

  #withoutStore(error: unknown): Measures {
    if (this.#options.usesLastKnown && this.#copy !== undefined) return this.#copy;
    throw error;
  }

  #read(at: number): Measures | Promise<Measures> {
    if (this.#reading !== undefined) return this.#reading;
    const epoch = this.#epoch;
    let listed: readonly Measure[] | Promise<readonly Measure[]>;
    try {
      listed = this.#options.store.list();
    } catch (error) {
      this.#failed(error, epoch);
      return this.#withoutStore(error);
    }
    if (!isThenable(listed)) return this.#keep(listed, at, epoch);
    const reading = Promise.resolve(listed)
      .then(
        (measures) => this.#keep(measures, at, epoch),
        (error: unknown) => {
          this.#failed(error, epoch);
          throw error;
        },
      )
      .finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    this.#reading = reading;
    return reading;
  }

  #failed(error: unknown, epoch: number): void {
    if (epoch === this.#epoch) this.#failure = { error, at: this.#options.now() };
  }

  #keep(all: readonly Measure[], at: number, epoch: number): Measures {
    const measures = measuresOf(all);
    if (epoch !== this.#epoch) return measures;
    this.#copy = measures;
    this.#copyAt = at;
    this.#failure = undefined;
    return measures;
  }
}

function measuresOf(all: readonly Measure[]): Measures {
  const of = (kind: Measure['kind']) =>
    new Map(all.filter((measure) => measure.kind === kind).map((measure) => [measure.client, measure]));
  return { all, suspended: of('suspended'), exceeding: of('exceeds-quotas') };
}

/** Whether a client has a measure that applies now. */
export function applies(measures: ReadonlyMap<string, Measure>, client: string, now: number): boolean {
  const measure = measures.get(client);
  return measure !== undefined && isInForce(measure, now);
}
