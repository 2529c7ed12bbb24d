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

  /** The server has just reported this time, in epoch milliseconds. */
  learn(at: number): void {
    this.#offset = at - performance.now();
  }
}
