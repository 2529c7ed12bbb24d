/** A ticket of a `FairQueue`. */
export interface FairTicket {
  /** Rises with each ticket of the queue. */
  readonly order: number;
  readonly client: QueueClient;
  /** When it gives up, if it still waits then. */
  readonly deadline: number;
  readonly estimate: number | undefined;
  state: 'waiting' | 'turn' | 'running' | 'gone';
  /** When its job has started. */
  startedAt: number;
}

/** How long a client is passed over that could not use its turn, unless one of its own jobs ends before: at first, and at most. */
const SET_ASIDE = 250;
const MAX_ASIDE = 4000;

/** A client of a fair queue, and what it was served. */
export class QueueClient {
  weight: number;
  /** Its tickets that wait, first in first out. */
  readonly waiting: FairTicket[] = [];
  /** Its tickets whose turn has come, and those that run. */
  readonly taken = new Set<FairTicket>();
  /** Until then it is passed over: its turn came, but it could not start. */
  asideUntil = Number.NEGATIVE_INFINITY;
  /** How many turns it could not use, since one of its jobs has started or ended. */
  #inVain = 0;
  #running = 0;
  /** Its service at `#since`. */
  #service: number;
  #since: number;

  constructor(
    readonly id: string,
    weight: number,
    service: number,
    now: number,
  ) {
    this.weight = weight;
    this.#service = service;
    this.#since = now;
  }

  /** Whether a ticket of it waits or has a slot. */
  get isActive(): boolean {
    return this.waiting.length > 0 || this.taken.size > 0;
  }

  get running(): number {
    return this.#running;
  }

  /** Worker time that it was served so far, by elapsed time and per weight. */
  service(now: number): number {
    return this.#service + (this.#running * (now - this.#since)) / this.weight;
  }

  /** It begins to wait. It was served what it wanted until now, which is no credit. */
  raise(service: number, now: number): void {
    this.#fold(now);
    this.#service = Math.max(this.#service, service);
  }

  /** No ticket waits: all begin alike. */
  restart(now: number): void {
    this.#service = 0;
    this.#since = now;
  }

  /** From now on, so much of its weight counts. */
  reweigh(weight: number, now: number): void {
    if (weight === this.weight) return;
    this.#fold(now);
    this.weight = weight;
  }

  /** It could not use its turn. The more often in a row, the longer it is passed over, so that others have their turns. */
  setAside(now: number): void {
    this.asideUntil = now + Math.min(SET_ASIDE * 2 ** this.#inVain++, MAX_ASIDE);
  }

  /** One more of its jobs runs from now on, or one less. */
  run(change: 1 | -1, now: number): void {
    // What held its next ticket back may be the job that ends.
    if (change < 0) this.asideUntil = Number.NEGATIVE_INFINITY;
    this.#inVain = 0;
    this.#fold(now);
    this.#running += change;
  }

  /** Puts a ticket back to its place among those that wait. */
  putBack(ticket: FairTicket): void {
    const later = this.waiting.findIndex(({ order }) => order > ticket.order);
    this.waiting.splice(later === -1 ? this.waiting.length : later, 0, ticket);
  }

  #fold(now: number): void {
    this.#service = this.service(now);
    this.#since = now;
  }
}
