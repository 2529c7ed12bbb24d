import type { QueuePlace } from '../../core/queue-place.js';
import type { FairTicket } from './queue-client.js';
import type { JoinRequest, Ticket, TurnResult } from './waiting-queue.js';

/** The queue of a ticket. Calls that come too late have no effect. */
export interface TicketOwner {
  setAside(ticket: FairTicket): void;
  started(ticket: FairTicket): void;
  leave(ticket: FairTicket): void;
  ended(ticket: FairTicket): void;
}

/** A promise that is settled from outside. */
class Later<T> {
  resolve: (value: T) => void = () => undefined;
  reject: (error: unknown) => void = () => undefined;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A ticket of a `MemoryQueue`. */
export class MemoryTicket implements Ticket {
  readonly request: JoinRequest;
  /** The last place that it was told. Undefined if it never waited. */
  place: QueuePlace | undefined = undefined;
  listens = false;
  readonly #queue: TicketOwner;
  readonly #ticket: FairTicket;
  #result = new Later<TurnResult>();

  constructor(queue: TicketOwner, ticket: FairTicket, request: JoinRequest) {
    this.#queue = queue;
    this.#ticket = ticket;
    this.request = request;
  }

  turn(): Promise<TurnResult> {
    return this.#result.promise;
  }

  setAside(): void {
    if (this.#ticket.state !== 'turn') return;
    this.#result = new Later();
    this.#queue.setAside(this.#ticket);
  }

  started(): void {
    this.#queue.started(this.#ticket);
  }

  leave(): void {
    this.#queue.leave(this.#ticket);
  }

  ended(): void {
    this.#queue.ended(this.#ticket);
  }

  finish(result: TurnResult): void {
    this.#result.resolve(result);
  }

  fail(error: unknown): void {
    // The caller may not have asked for its turn yet.
    this.#result.promise.catch(() => undefined);
    this.#result.reject(error);
  }

  moveTo(place: QueuePlace): void {
    const { position, expectedWait } = this.place ?? {};
    if (position === place.position && (expectedWait === undefined) === (place.expectedWait === undefined)) return;
    this.place = place;
    this.request.onPlace?.(place);
  }
}
