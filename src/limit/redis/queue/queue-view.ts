import type { QueuePlace } from '../../../core/queue-place.js';
import type { ServerClock } from '../server-clock.js';
import type { QueueReply } from './queue-reply.js';
import type { QueueSnapshot } from './queue-snapshot.js';
import type { RedisTicket } from './queue-ticket.js';

/** What this process knows of a queue: the latest snapshot that Redis has sent. */
export class QueueView {
  readonly #clock: ServerClock;
  #snapshot: QueueSnapshot | undefined;
  #places: ReadonlyMap<number, QueuePlace> | undefined;
  #at = 0;
  /** Of the snapshot. -1: there is none. */
  version = -1;

  constructor(clock: ServerClock) {
    this.#clock = clock;
  }

  /** Takes over a reply's snapshot. Returns whether it has one. */
  update({ snapshot, version }: QueueReply): boolean {
    if (snapshot === undefined) return false;
    this.#snapshot = snapshot;
    this.#places = undefined;
    this.#at = this.#clock.steady();
    this.version = version;
    return true;
  }

  /** How many tickets wait. */
  get waiting(): number {
    return this.#snapshot?.waiting ?? 0;
  }

  placeOf({ order }: RedisTicket): QueuePlace | undefined {
    this.#places ??= this.#snapshot?.places();
    return this.#places?.get(order);
  }

  /** The place of a ticket that has just come. Tickets of the orders `without` are gone. */
  placeOfLast(order: number, without: ReadonlySet<number>): QueuePlace | undefined {
    return this.#snapshot?.placeOfLast(order, without);
  }

  /** The place of a ticket that would come now, of a client at this place of the snapshot, or with this service. */
  placeOfNewcomer(client: number, weight: number, service: number): QueuePlace | undefined {
    return this.#snapshot?.placeOfNewcomer(client, weight, service);
  }

  /** How long another ticket of the same client would wait that came now, when this one has gone. */
  waitAfter({ order, weight }: RedisTicket): number | undefined {
    const client = this.#snapshot?.clientOf(order) ?? -1;
    const now = this.#snapshot?.later(this.#clock.steady() - this.#at, order);
    return now?.placeOfNewcomer(client, weight, 0).expectedWait;
  }
}
