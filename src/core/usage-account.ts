import { hash, randomUUID } from 'node:crypto';
import { checkBooking } from './check-booking.js';
import type { JobBooking, Ledger } from './ledger.js';
import type { Principal } from './principal.js';
import { isThenable } from './thenable.js';

/** Whose usage is accounted. */
interface Accounted {
  readonly principal: Principal | undefined;
  fault(error: unknown): void;
}

/** The row of all callers without a principal. */
export const ANONYMOUS = 'anonymous';

const MAX_CLIENT_LENGTH = 128;
const NONE: readonly JobBooking[] = Object.freeze([]);

/** The row of a client. A name that is very long, or no valid text, is replaced by its digest. */
export function clientOf({ principal }: Pick<Accounted, 'principal'>): string {
  if (principal === undefined) return ANONYMOUS;
  const { id } = principal;
  return id.length <= MAX_CLIENT_LENGTH && id.isWellFormed()
    ? id
    : `sha256-${hash('sha256', Buffer.from(id, 'utf16le'), 'base64url')}`;
}

/** Ledgers in which workers book. */
const ofWorkers = new WeakSet<Ledger>();

/**
 * From now on, only jobs of workers are booked in this ledger: a handler that has not reached its worker has used no GPU,
 * however long it held GPU time.
 */
export function bookOnlyJobs(ledger: Ledger): void {
  ofWorkers.add(ledger);
}

/** Where the GPU time of one exchange is booked. */
export class UsageAccount {
  readonly ledger: Ledger;
  /**
   * Where the ledger keeps the bookings of this exchange: the place in which a store of `limit` can book in the same step as
   * it settles. Undefined if no store can.
   */
  place: string | undefined = undefined;
  readonly #exchange: Accounted;
  #pending: readonly JobBooking[] = NONE;
  /** What was settled of each GPU policy of work that is no job of a worker, in milliseconds. */
  #held: Map<string, number> | undefined = undefined;
  #bookedHeld = 0;

  constructor(ledger: Ledger, exchange: Accounted) {
    this.ledger = ledger;
    this.#exchange = exchange;
  }

  /** The client: the id of the principal now, or `anonymous`. */
  get client(): string {
    return clientOf(this.#exchange);
  }

  /** Whether jobs at workers book what they use, so that the holds of exchanges do not. */
  get hasJobs(): boolean {
    return ofWorkers.has(this.ledger);
  }

  jobStarted(): void {
    this.#kept(() => this.ledger.add([{ client: this.client, jobsStarted: 1 }]));
  }

  /** To be booked with the next settlement, or by `flush`. */
  book(booking: JobBooking): void {
    this.#kept(() => {
      checkBooking(booking);
      this.#pending = [...this.#pending, booking];
    });
  }

  /** A hold of GPU time was settled. Several policies may count the same work, which is booked once. */
  bookHeld(policy: string, milliseconds: number): void {
    this.#held ??= new Map();
    const used = (this.#held.get(policy) ?? 0) + milliseconds;
    this.#held.set(policy, used);
    const gpuTime = used - this.#bookedHeld;
    if (gpuTime <= 0) return;
    this.#bookedHeld = used;
    this.book({ job: randomUUID(), client: this.client, gpuTime, isFinal: true, place: this.place });
  }

  /** What waits to be booked, for a store that books it in this place together with a settlement. */
  take(place: string | undefined): readonly JobBooking[] {
    if (place === undefined || this.#pending.length === 0) return NONE;
    const taken = this.#pending.filter((booking) => booking.place === place);
    if (taken.length > 0) this.#pending = this.#pending.filter((booking) => booking.place !== place);
    return taken;
  }

  /** A store could not book these after all. */
  putBack(bookings: readonly JobBooking[]): void {
    this.#pending = [...this.#pending, ...bookings];
    this.flush();
  }

  /** Books what no store has taken. */
  flush(): void {
    const rest = this.#pending;
    if (rest.length === 0) return;
    this.#pending = NONE;
    this.#kept(() => this.ledger.book(rest));
  }

  /** What cannot be booked is a fault of the service, and not of the exchange. */
  #kept(act: () => void | Promise<void>): void {
    const fault = (error: unknown) => this.#exchange.fault(error);
    try {
      const done = act();
      if (isThenable(done)) Promise.resolve(done).catch(fault);
    } catch (error) {
      fault(error);
    }
  }
}
