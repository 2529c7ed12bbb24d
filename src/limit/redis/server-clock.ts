/** The Redis server's time, as known from its replies. Before the first reply, this process' time. */
export class ServerClock {
  readonly #manual: (() => number) | undefined;
  /** The server's clock minus `performance.now()`. */
  #offset: number | undefined;

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
    return this.#offset !== undefined;
  }

  /** Epoch milliseconds. */
  now(): number {
    if (this.#manual !== undefined) return this.#manual();
    return this.#offset === undefined ? Date.now() : Math.floor(performance.now() + this.#offset);
  }

  /**
   * The server has reported the time at which it ran a call, in epoch milliseconds. `preparedAt` is when the call was
   * prepared, by `performance.now()`. The server ran it between then and now: a reply that was read late, because this
   * process was busy, changes nothing that is known better.
   */
  learn(at: number, preparedAt: number): void {
    const lowest = at - performance.now();
    // The server's milliseconds are rounded down.
    const highest = at + 1 - preparedAt;
    this.#offset = Math.min(Math.max(this.#offset ?? lowest, lowest), highest);
  }
}
