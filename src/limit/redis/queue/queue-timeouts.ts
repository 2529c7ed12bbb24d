import type { ServerClock } from '../server-clock.js';
import type { RedisTicket } from './queue-ticket.js';

const MAX_TIMER_MS = 2 ** 31 - 1;

/** Ends the waiting of tickets at its time. One timer, which does not keep the process alive, watches the first of them. */
export class TicketTimeouts {
  readonly #clock: ServerClock;
  readonly #onTimeout: (ticket: RedisTicket) => void;
  readonly #tickets = new Set<RedisTicket>();
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(clock: ServerClock, onTimeout: (ticket: RedisTicket) => void) {
    this.#clock = clock;
    this.#onTimeout = onTimeout;
  }

  add(ticket: RedisTicket): void {
    this.#tickets.add(ticket);
    if (ticket.waitsUntil < this.#dueAt) this.#arm(ticket.waitsUntil);
  }

  remove(ticket: RedisTicket): void {
    this.#tickets.delete(ticket);
    if (this.#tickets.size === 0) this.stop();
  }

  /** Ends what is due. */
  check(): void {
    const now = this.#clock.steady();
    let first = Number.POSITIVE_INFINITY;
    const due: RedisTicket[] = [];
    for (const ticket of this.#tickets) {
      if (ticket.waitsUntil <= now) due.push(ticket);
      else first = Math.min(first, ticket.waitsUntil);
    }
    due.sort((a, b) => a.waitsUntil - b.waitsUntil || a.order - b.order);
    for (const ticket of due) this.remove(ticket);
    this.stop();
    if (this.#tickets.size > 0) this.#arm(first);
    for (const ticket of due) this.#onTimeout(ticket);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  #arm(dueAt: number): void {
    this.stop();
    this.#dueAt = dueAt;
    const left = Math.max(1, Math.ceil(dueAt - this.#clock.steady()));
    this.#timer = setTimeout(() => this.check(), Math.min(left, MAX_TIMER_MS));
    this.#timer.unref();
  }
}
