/** A smaller change between the two clocks of this process is noise of reading them, in milliseconds. */
const NOISE = 20;

/** The Redis server's time, as known from its replies. Before the first reply, this process' time. */
export class ServerClock {
  readonly #manual: (() => number) | undefined;
  // The server's clock minus `performance.now()` is between these.
  #lowest = Number.NEGATIVE_INFINITY;
  #highest = Number.POSITIVE_INFINITY;
  /** The time of day minus `performance.now()`. */
  #offset = Date.now() - performance.now();
  /** For how long `performance.now()` has stood still. */
  #stoodStill = 0;

  /** `manual` is a clock to use instead of the server's own, in epoch milliseconds. */
  constructor(manual: (() => number) | undefined) {
    this.#manual = manual;
  }

  /** Whether decisions are made by a clock that is not the server's own. */
  get isManual(): boolean {
    return this.#manual !== undefined;
  }

  /** Whether the server has reported its time. */
  get isKnown(): boolean {
    return this.#lowest > Number.NEGATIVE_INFINITY;
  }

  /** Epoch milliseconds. */
  now(): number {
    if (this.#manual !== undefined) return this.#manual();
    return this.isKnown ? Math.floor(performance.now() + this.#lowest) : Date.now();
  }

  /**
   * Milliseconds of a clock that only moves forward, unless a clock was passed in. It also counts the time for which this
   * machine was suspended, and `performance.now()` with it.
   */
  steady(): number {
    if (this.#manual !== undefined) return this.#manual();
    const steady = performance.now();
    const offset = Date.now() - steady;
    if (Math.abs(offset - this.#offset) >= NOISE) {
      // The time of day may also have been set forward: then units that were taken ahead end early, never late.
      this.#stoodStill += Math.max(0, offset - this.#offset);
      this.#offset = offset;
    }
    return steady + this.#stoodStill;
  }

  /** The time of `now` at a moment of `steady`: the clock is not read again. */
  at(steady: number): number {
    if (this.#manual !== undefined) return steady;
    return this.isKnown ? Math.floor(steady - this.#stoodStill + this.#lowest) : Date.now();
  }

  /** How many milliseconds `latest` may be ahead of the server's clock. */
  get uncertainty(): number {
    return this.isKnown ? Math.ceil(this.#highest - this.#lowest) : 0;
  }

  /** The latest time that the server's clock may show now. Only if the time is known. */
  latest(): number {
    return Math.ceil(performance.now() + this.#highest);
  }

  /**
   * The server has reported the time at which it ran a call, in epoch milliseconds. `preparedAt` is when the call was
   * prepared, by `performance.now()`. The server ran it between then and now, which may be a long time if this process
   * was busy. So a reply only ever narrows what earlier replies have shown, unless it contradicts them.
   */
  learn(at: number, preparedAt: number): void {
    const lowest = at - performance.now();
    // The server's milliseconds are rounded down.
    const highest = at + 1 - preparedAt;
    const isContradiction = lowest > this.#highest || highest < this.#lowest;
    this.#lowest = isContradiction ? lowest : Math.max(lowest, this.#lowest);
    this.#highest = isContradiction ? highest : Math.min(highest, this.#highest);
  }
}
