import type { QueuePlace } from '../../core/queue-place.js';
import type { QueueReply } from './queue-reply.js';
import type { QueueSnapshot } from './queue-snapshot.js';
import type { RedisTicket } from './queue-ticket.js';
import type { ServerClock } from './server-clock.js';

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

  placeOf({ order }: RedisTicket): QueuePlace | undefined {
    this.#places ??= this.#snapshot?.places();
    return this.#places?.get(order);
  }

  /** How long a ticket waits that has just come. Tickets of the orders `without` are gone. */
  waitOf(order: number, without: ReadonlySet<number>): number | undefined {
    return this.#snapshot?.waitOf(order, without);
  }

  /** How long a ticket would wait that came now, of a client at this place of the snapshot, or with this service. */
  waitOfNewcomer(client: number, weight: number, service: number): number | undefined {
    return this.#snapshot?.waitOfNewcomer(client, weight, service);
  }

  /** How long another ticket of the same client would wait that came now, when this one has gone. */
  waitAfter({ order, weight }: RedisTicket): number | undefined {
    const place = this.#snapshot?.clientOf(order) ?? -1;
    return this.#snapshot?.later(this.#clock.steady() - this.#at, order).waitOfNewcomer(place, weight, 0);
  }
}
