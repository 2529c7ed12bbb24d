import type { LimitStore } from './store.js';

/** A lease is renewed after this part of it. */
const RENEW_AFTER = 1 / 3;
/** A renewal that failed is tried again after this part of the lease. */
const RETRY_AFTER = 1 / 12;
/** What is due within this part of its waiting time is renewed together. */
const TOGETHER = 1 / 10;

/** What is held under a lease. */
export interface Leased {
  /** Milliseconds. The shortest, if there are several. */
  readonly lease: number;
  /** Renews the lease. Returns whether everything was still held. Rejects if the store does not answer. */
  renew(): boolean | Promise<boolean>;
  /** Called once if something was no longer held. Nothing is renewed after that. */
  lose(): void;
  /** Called with an error of `renew` that is not an outage. */
  fault(error: unknown): void;
}

/** Leases that wait equally long. A renewal that took a while comes back with an earlier time than those added meanwhile. */
interface Queue {
  readonly wait: number;
  /** When each is due, by `performance.now()`. */
  readonly dueAt: Map<Leased, number>;
}

/**
 * Renews leases at a third of their time. One timer, which does not keep the process alive, runs while something is held.
 * Leases that are due at about the same time are renewed in one turn of the event loop, so that a store can do so in one
 * call.
 */
export class LeaseKeeper {
  readonly #queues = new Map<number, Queue>();
  /** The queue of each lease that waits. */
  readonly #waiting = new Map<Leased, Queue>();
  /** Leases whose renewal is under way. */
  readonly #renewing = new Set<Leased>();
  #timer: NodeJS.Timeout | undefined;
  #timerDueAt = Number.POSITIVE_INFINITY;

  /** Leases that are kept. */
  get size(): number {
    return this.#waiting.size + this.#renewing.size;
  }

  add(leased: Leased): void {
    this.#wait(leased, RENEW_AFTER, performance.now());
  }

  remove(leased: Leased): void {
    this.#renewing.delete(leased);
    const queue = this.#waiting.get(leased);
    if (queue === undefined) return;
    this.#waiting.delete(leased);
    queue.dueAt.delete(leased);
    if (queue.dueAt.size > 0) return;
    this.#queues.delete(queue.wait);
    if (this.#waiting.size === 0) this.#stopTimer();
  }

  #wait(leased: Leased, part: number, since: number): void {
    const wait = leased.lease * part;
    let queue = this.#queues.get(wait);
    if (queue === undefined) {
      queue = { wait, dueAt: new Map() };
      this.#queues.set(wait, queue);
    }
    queue.dueAt.set(leased, since + wait);
    this.#waiting.set(leased, queue);
    this.#startTimer(since + wait);
  }

  #startTimer(dueAt: number): void {
    if (dueAt >= this.#timerDueAt) return;
    this.#stopTimer();
    this.#timerDueAt = dueAt;
    this.#timer = setTimeout(() => this.#renewDue(), Math.max(1, dueAt - performance.now()));
    this.#timer.unref?.();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerDueAt = Number.POSITIVE_INFINITY;
  }

  #renewDue(): void {
    this.#stopTimer();
    const now = performance.now();
    const due: Leased[] = [];
    for (const { wait, dueAt } of this.#queues.values()) {
      for (const [leased, at] of dueAt) {
        if (at <= now + wait * TOGETHER) due.push(leased);
      }
    }
    for (const leased of due) {
      this.remove(leased);
      this.#renewing.add(leased);
    }
    for (const leased of due) this.#renew(leased, now);
    let next = Number.POSITIVE_INFINITY;
    for (const { dueAt } of this.#queues.values()) for (const at of dueAt.values()) next = Math.min(next, at);
    if (next < Number.POSITIVE_INFINITY) this.#startTimer(next);
  }

  async #renew(leased: Leased, startedAt: number): Promise<void> {
    let isHeld = true;
    let part = RENEW_AFTER;
    try {
      isHeld = await leased.renew();
    } catch (error) {
      // The hold may still be there, and only the store knows.
      part = RETRY_AFTER;
      const isOutage = error instanceof Error && 'code' in error && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
      if (!isOutage) leased.fault(error);
    }
    if (!this.#renewing.delete(leased)) return;
    if (isHeld) this.#wait(leased, part, part === RENEW_AFTER ? startedAt : performance.now());
    else leased.lose();
  }
}

const keepers = new WeakMap<LimitStore, LeaseKeeper>();

/** The one keeper of a store's leases. */
export function leaseKeeperOf(store: LimitStore): LeaseKeeper {
  let keeper = keepers.get(store);
  if (keeper === undefined) {
    keeper = new LeaseKeeper();
    keepers.set(store, keeper);
  }
  return keeper;
}
