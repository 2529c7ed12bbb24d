import { FairQueue } from './fair-queue.js';
import { MemoryTicket, type TicketOwner } from './memory-ticket.js';
import type { FairTicket } from './queue-client.js';
import type { Joined, JoinRequest, QueueSettings } from './waiting-queue.js';

/** A free slot that something else held is found so soon, in milliseconds. */
const LOOK_AGAIN = 100;
/** A timer waits no longer: a clock that the service has passed in may run faster than the timer. */
const LONGEST_SLEEP = 250;

/** What a queue needs of the store. */
export interface QueueHost {
  /** A steady clock, in milliseconds. */
  now(): number;
  /** How many slots are free. Requests that do not queue may hold the others. */
  free(settings: QueueSettings, key: string): number;
}

/** The queue of one counter of slots, in memory. One timer runs while something waits, and does not keep the process alive. */
export class MemoryQueue implements TicketOwner {
  readonly #host: QueueHost;
  readonly #key: string;
  readonly #onIdle: () => void;
  readonly #fair: FairQueue;
  readonly #tickets = new Map<FairTicket, MemoryTicket>();
  #settings: QueueSettings;
  /** The last time that the clock said. */
  #now = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDueAt = Number.POSITIVE_INFINITY;
  /** Tickets that receive their place. */
  #listeners = 0;
  #willTell = false;

  constructor(host: QueueHost, settings: QueueSettings, key: string, onIdle: () => void) {
    this.#host = host;
    this.#settings = settings;
    this.#key = key;
    this.#onIdle = onIdle;
    this.#fair = new FairQueue(settings.policy.limit, settings.maxWaiting);
  }

  /** Tickets that wait, have their turn or run. */
  get size(): number {
    return this.#fair.waiting + this.#fair.taken;
  }

  join(settings: QueueSettings, request: JoinRequest): Joined {
    this.#settings = settings;
    this.#fair.resize(settings.policy.limit, settings.maxWaiting);
    const now = this.#host.now();
    this.#now = now;
    const arrived = this.#fair.join(request, now);
    if (arrived.ticket === undefined) {
      this.#idle();
      return { kind: 'full', expectedWait: arrived.expectedWait ?? request.maxWait };
    }
    const { ticket: fair, position, expectedWait, pushedOut } = arrived;
    const ticket = new MemoryTicket(this, fair, request);
    this.#tickets.set(fair, ticket);
    if (pushedOut !== undefined) this.#refuse(pushedOut, 'pushed-out', now);
    try {
      this.#grant(now);
    } catch (error) {
      this.leave(fair);
      throw error;
    }
    if (fair.state === 'turn') return { kind: 'turn', ticket };
    ticket.place = { position, expectedWait };
    this.#listen(ticket);
    this.#tellPlaces();
    return { kind: 'waiting', ticket, place: ticket.place };
  }

  setAside(ticket: FairTicket): void {
    this.#listen(this.#tickets.get(ticket));
    this.#change((now) => this.#fair.setAside(ticket, now));
  }

  started(ticket: FairTicket): void {
    this.#change((now) => this.#fair.start(ticket, now));
  }

  leave(ticket: FairTicket): void {
    if (ticket.state === 'running') return;
    this.#change((now) => this.#fair.leave(ticket, now));
    this.#forget(ticket);
  }

  ended(ticket: FairTicket): void {
    if (ticket.state !== 'running') return;
    this.#change((now) => this.#fair.end(ticket, now));
    this.#forget(ticket);
  }

  /** From now on, a ticket receives its place if it has a listener. */
  #listen(ticket: MemoryTicket | undefined): void {
    if (ticket === undefined || ticket.listens || ticket.request.onPlace === undefined) return;
    ticket.listens = true;
    this.#listeners++;
  }

  #change(act: (now: number) => void): void {
    try {
      this.#now = this.#host.now();
    } catch {
      // The next admission reports it. What has ended has ended all the same.
    }
    act(this.#now);
    try {
      this.#grant(this.#now);
      this.#tellPlaces();
    } catch {
      // Nor can it be known now which slots are free.
      this.#wake(this.#now, this.#now);
    }
  }

  /** Gives free slots to those that are next, and keeps the timer running while a ticket waits. */
  #grant(now: number): void {
    let lookAt = Number.POSITIVE_INFINITY;
    while (this.#fair.waiting > 0 && this.#fair.hasSlot) {
      // Requests that do not queue may hold slots as well.
      if (this.#host.free(this.#settings, this.#key) <= this.#fair.turns) {
        lookAt = now + LOOK_AGAIN;
        break;
      }
      const next = this.#fair.next(now);
      if (next === undefined) break;
      this.#tickets.get(next)?.finish({ kind: 'turn' });
    }
    if (this.#fair.waiting > 0) this.#wake(Math.min(lookAt, this.#fair.nextDeadline(now), now + LONGEST_SLEEP), now);
  }

  #wake(at: number, now: number): void {
    if (at >= this.#timerDueAt) return;
    clearTimeout(this.#timer);
    this.#timerDueAt = at;
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(1, Math.ceil(at - now)));
    this.#timer.unref?.();
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerDueAt = Number.POSITIVE_INFINITY;
    try {
      const now = this.#host.now();
      this.#now = now;
      for (const ticket of this.#fair.expired(now)) {
        this.#fair.leave(ticket, now);
        this.#refuse(ticket, 'timeout', now);
      }
      this.#grant(now);
      this.#tellPlaces();
    } catch (error) {
      // The clock of the service has failed. All waiting requests fail, since none would be served.
      for (const ticket of this.#tickets.values()) ticket.fail(error);
    }
  }

  /** A ticket that the fair queue has let go. */
  #refuse(ticket: FairTicket, kind: 'timeout' | 'pushed-out', now: number): void {
    const refused = this.#tickets.get(ticket);
    this.#forget(ticket);
    if (refused === undefined) return;
    const expectedWait = this.#fair.expectedWait(refused.request, now) ?? refused.request.maxWait;
    refused.finish({ kind, expectedWait });
  }

  #forget(ticket: FairTicket): void {
    const forgotten = this.#tickets.get(ticket);
    if (forgotten === undefined) return;
    this.#tickets.delete(ticket);
    if (forgotten.listens) this.#listeners--;
    this.#idle();
  }

  #idle(): void {
    if (this.#fair.waiting === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#timerDueAt = Number.POSITIVE_INFINITY;
    }
    if (this.size === 0) this.#onIdle();
  }

  /** Calls all listeners, once for all changes of one turn of the event loop. */
  #tellPlaces(): void {
    if (this.#listeners === 0 || this.#willTell) return;
    this.#willTell = true;
    setTimeout(() => {
      this.#willTell = false;
      if (this.#listeners === 0 || this.#fair.waiting === 0) return;
      for (const { ticket, position, expectedWait } of this.#fair.places(this.#now)) {
        this.#tickets.get(ticket)?.moveTo({ position, expectedWait });
      }
    }, 0);
  }
}
