/** The times of one call to a store, in epoch milliseconds. */
export interface StoreClock {
  /** Runs windows. */
  readonly steady: number;
  /** The time of day: finds days, and is what clients and operators see. */
  readonly wall: number;
  /** Reads both. */
  read(): void;
}

/** Only compared: if `Date.now` is another function, fake timers have replaced it, and they are the clock. */
const SYSTEM_DATE_NOW = Date.now;
/** How long the time of day runs with the steady clock before it is looked up again. */
const LOOK_UP = 1000;
/** A smaller change between the two system clocks is noise of reading them. The time of day does not step back by it. */
const NOISE = 20;
/** The last millisecond that a `Date` can hold. */
const LATEST = 8.64e15;

/**
 * The system's clocks. Windows run by the monotonic one, which no correction of the system's time moves, so a jump neither
 * forgets a unit early nor keeps one longer.
 */
export class SystemClock implements StoreClock {
  steady = 0;
  wall = 0;
  /** When the steady clock was at zero. */
  #origin = Number.NaN;
  #offset = 0;
  #lookedUp = Number.NEGATIVE_INFINITY;

  read(): void {
    if (Date.now !== SYSTEM_DATE_NOW) {
      this.steady = Date.now();
      this.wall = this.steady;
      return;
    }
    const { performance } = globalThis;
    let steady = Math.floor(this.#origin + performance.now());
    // Also before the first look.
    if (!(Math.abs(steady - this.#lookedUp) < LOOK_UP)) {
      this.#origin = performance.timeOrigin;
      steady = Math.floor(this.#origin + performance.now());
      const offset = Date.now() - steady;
      // A process that was stopped between the two readings looks again at the next call.
      const took = this.#origin + performance.now() - steady;
      if (took < NOISE) {
        if (Math.abs(offset - this.#offset) >= NOISE) this.#offset = offset;
        this.#lookedUp = steady;
      }
    }
    this.steady = steady;
    this.wall = steady + this.#offset;
  }
}

/** A clock that the service passes in. It may jump in both directions. */
export class GivenClock implements StoreClock {
  steady = 0;
  wall = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  read(): void {
    const now = this.#now();
    // Written so that NaN throws. It would otherwise empty every window.
    if (!(now >= 0 && now <= LATEST)) {
      throw new RangeError(`gatewarden: memoryStore "now" must return epoch milliseconds, got ${now}`);
    }
    this.steady = now;
    this.wall = now;
  }
}
