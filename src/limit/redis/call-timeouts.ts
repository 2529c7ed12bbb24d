/** A timer this late shows that the process was busy, in milliseconds: answers may wait unread. */
const BUSY = 20;

/** A call that waits for its answer, in the list of those that wait. */
export interface Wait {
  /** By `performance.now()`. */
  readonly until: number;
  /** Undefined once it waits no more. */
  onTimeout: (() => void) | undefined;
  earlier: Wait | undefined;
  later: Wait | undefined;
}

/**
 * Ends calls that are not answered in time. It does what `withTimeout` does, with one timer for all calls, as all of
 * them may take equally long. It keeps the process alive only while a call waits.
 *
 * The calls are a list of their own. A `Set` makes a new table from time to time, and the old table refers to the new
 * one and with it to the calls that wait: the garbage collector would keep the objects of calls that have long ended.
 */
export class CallTimeouts {
  readonly #timeout: number;
  /** Those that began first come first. */
  #first: Wait | undefined;
  #last: Wait | undefined;
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
    const earlier = this.#last;
    const wait: Wait = { until: performance.now() + this.#timeout, onTimeout, earlier, later: undefined };
    if (earlier === undefined) this.#first = wait;
    else earlier.later = wait;
    this.#last = wait;
    if (this.#timer === undefined) this.#arm(this.#timeout);
    else if (this.#first === wait) this.#timer.ref();
    return wait;
  }

  /** Returns whether the call was still waiting. */
  end(wait: Wait): boolean {
    if (wait.onTimeout === undefined) return false;
    this.#remove(wait);
    if (this.#first === undefined) this.#timer?.unref();
    return true;
  }

  #arm(ms: number): void {
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #check(): void {
    const now = performance.now();
    const first = this.#first;
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
    for (let wait = this.#first; wait !== undefined && now >= wait.until; wait = this.#first) {
      const { onTimeout } = wait;
      this.#remove(wait);
      onTimeout?.();
    }
    this.#watchFirst();
  }

  #watchFirst(): void {
    this.#more = this.#timeout;
    this.#timer = undefined;
    const first = this.#first;
    if (first !== undefined) this.#arm(Math.max(0, first.until - performance.now()));
  }

  /** The wait must not refer to others any more, or they could not be collected before it. */
  #remove(wait: Wait): void {
    const { earlier, later } = wait;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    wait.earlier = undefined;
    wait.later = undefined;
    wait.onTimeout = undefined;
  }
}
