import type { QueuePlace } from '../../../core/queue-place.js';
import type { JoinRequest, Ticket, TurnResult } from '../../queue/waiting-queue.js';
import type { StoreError } from '../../store.js';
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
  readonly maxWait: number;
  /** When it stops waiting, by the steady clock. */
  readonly waitsUntil: number;
  readonly onPlace: JoinRequest['onPlace'];
  state: TicketState = 'joining';
  order = -1;
  /** The number of its latest turn. Redis counts the turns of each ticket. */
  grant = 0;
  #place: QueuePlace | undefined;
  readonly #port: TicketPort;
  #result: TurnResult | StoreError | undefined;
  #waiter: { resolve(result: TurnResult): void; reject(error: StoreError): void } | undefined;

  constructor(
    readonly number: number,
    { client, weight, estimate, maxWait, onPlace }: JoinRequest,
    /** By the steady clock. */
    now: number,
    port: TicketPort,
  ) {
    this.maxWait = maxWait;
    this.waitsUntil = now + maxWait;
    this.client = clientName(client);
    this.weight = weight;
    this.estimate = estimate === undefined ? undefined : Math.max(1, estimate);
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

  /** What its caller knows of its place. */
  knows(place: QueuePlace): void {
    this.#place = place;
  }

  /** Passes on its place if its position has changed. */
  tell(place: QueuePlace | undefined): void {
    const { onPlace } = this;
    const last = this.#place;
    if (onPlace === undefined || place === undefined) return;
    const isKnown = place.expectedWait !== undefined;
    if (last?.position === place.position && (last.expectedWait !== undefined) === isKnown) return;
    this.#place = place;
    onPlace(place);
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
