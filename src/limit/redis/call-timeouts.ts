/** A timer this late shows that the process was busy, in milliseconds: answers may wait unread. */
const BUSY = 20;

/** A call that waits for its answer. */
export interface Wait {
  /** By `performance.now()`. */
  readonly until: number;
  readonly onTimeout: () => void;
}

/**
 * Ends calls that are not answered in time. It does what `withTimeout` does, with one timer for all calls, as all of them
 * may take equally long. It keeps the process alive only while a call waits.
 */
export class CallTimeouts {
  readonly #timeout: number;
  /** Those that began first come first. */
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer is due, by `performance.now()`. */
  #due = 0;
  /** How much more time a call may be given, in milliseconds: a process that is never idle must find out, too. */
  #more: number;

  /** How long a call may take, in milliseconds. */
  constructor(timeout: number) {
    this.#timeout = timeout;
    this.#more = timeout;
  }

  /** Calls `onTimeout` once, unless `end` is called before. */
  begin(onTimeout: () => void): Wait {
    const wait = { until: performance.now() + this.#timeout, onTimeout };
    this.#waits.add(wait);
    if (this.#timer === undefined) this.#arm(this.#timeout);
    else if (this.#waits.size === 1) this.#timer.ref();
    return wait;
  }

  /** Returns whether the call was still waiting. */
  end(wait: Wait): boolean {
    const isInTime = this.#waits.delete(wait);
    if (this.#waits.size === 0) this.#timer?.unref();
    return isInTime;
  }

  #arm(ms: number): void {
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #check(): void {
    const now = performance.now();
    const [first] = this.#waits;
    if (first === undefined || now < first.until) {
      this.#watchFirst();
      return;
    }
    // No answer could be read while the event loop was blocked.
    const blocked = now - this.#due;
    if (blocked > BUSY && this.#more > 0) {
      const extension = Math.min(blocked, this.#timeout) / 4;
      this.#more -= extension;
      this.#arm(extension);
      return;
    }
    // Sockets are read before immediates run, and what they hold may end the wait in the turn after that.
    setImmediate(() => setImmediate(() => this.#expire(now)));
  }

  #expire(now: number): void {
    for (const wait of this.#waits) {
      if (now < wait.until) break;
      this.#waits.delete(wait);
      wait.onTimeout();
    }
    this.#watchFirst();
  }

  #watchFirst(): void {
    this.#more = this.#timeout;
    this.#timer = undefined;
    const [first] = this.#waits;
    if (first !== undefined) this.#arm(Math.max(0, first.until - performance.now()));
  }
}
