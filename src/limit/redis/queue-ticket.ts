import type { StoreError } from '../store.js';
import type { JoinRequest, Ticket, TurnResult } from '../queue/waiting-queue.js';
import type { TicketData } from './queue-call.js';
import { clientName } from './queue-key.js';

/** What a ticket does in its queue. */
export interface TicketPort {
  setAside(ticket: RedisTicket): void;
  started(ticket: RedisTicket): void;
  /** It left, or its slot is given back. */
  gone(ticket: RedisTicket, hadStarted: boolean): void;
}

/**
 * - `joining`: Redis has not answered yet.
 * - `turn`: it may ask for a slot.
 */
export type TicketState = 'joining' | 'waiting' | 'turn' | 'running' | 'gone';

/** A ticket of this process. */
export class RedisTicket implements Ticket, TicketData {
  readonly client: string;
  readonly weight: number;
  readonly estimate: number | undefined;
  readonly onPlace: JoinRequest['onPlace'];
  state: TicketState = 'joining';
  order = -1;
  /** The number of its latest turn. Redis counts the turns of each ticket. */
  grant = 0;
  /** What `onPlace` has been told, as text. */
  toldPlace = '';
  readonly #port: TicketPort;
  #result: TurnResult | StoreError | undefined;
  #waiter: { resolve(result: TurnResult): void; reject(error: StoreError): void } | undefined;

  constructor(
    readonly number: number,
    { client, weight, estimate, onPlace }: JoinRequest,
    /** When it stops waiting, by the queue's clock. */
    readonly waitsUntil: number,
    port: TicketPort,
  ) {
    this.client = clientName(client);
    this.weight = weight;
    this.estimate = estimate;
    this.onPlace = onPlace;
    this.#port = port;
  }

  turn(): Promise<TurnResult> {
    const result = this.#result;
    this.#result = undefined;
    if (result instanceof Error) return Promise.reject(result);
    if (result !== undefined) return Promise.resolve(result);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /** Its waiting has ended. */
  finish(result: TurnResult | StoreError): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.#result = result;
    else if (result instanceof Error) waiter.reject(result);
    else waiter.resolve(result);
  }

  setAside(): void {
    if (this.state !== 'turn') return;
    this.state = 'waiting';
    this.#result = undefined;
    this.#port.setAside(this);
  }

  started(): void {
    if (this.state !== 'turn' && this.state !== 'waiting') return;
    this.state = 'running';
    this.#port.started(this);
  }

  leave(): void {
    if (this.state !== 'turn' && this.state !== 'waiting') return;
    this.state = 'gone';
    this.#port.gone(this, false);
  }

  ended(): void {
    if (this.state !== 'running') return;
    this.state = 'gone';
    this.#port.gone(this, true);
  }
}
