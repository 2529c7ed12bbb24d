import type { QueuePlace } from '../../../core/queue-place.js';
import { type ClientSnapshot, replay } from '../../queue/expected-wait.js';

/** The order of a ticket that is not there yet: after all others. */
const NEWCOMER = Number.MAX_SAFE_INTEGER;

/** A queue at one moment, as Redis had it. */
export class QueueSnapshot {
  readonly #slots: number;
  readonly #clients: readonly ClientSnapshot[];
  readonly #areLengthsKnown: boolean;
  readonly #virtualTime: number;

  constructor(slots: number, clients: readonly ClientSnapshot[], areLengthsKnown: boolean, virtualTime: number) {
    this.#slots = slots;
    this.#virtualTime = virtualTime;
    this.#clients = clients;
    this.#areLengthsKnown = areLengthsKnown;
  }

  /** How many tickets wait. */
  get waiting(): number {
    return this.#clients.reduce((sum, { waiting }) => sum + waiting.length, 0);
  }

  /** Where the tickets wait, by their orders. */
  places(): ReadonlyMap<number, QueuePlace> {
    const places = new Map<number, QueuePlace>();
    replay(this.#slots, this.#clients, (order, at) => {
      places.set(order, { position: places.size + 1, expectedWait: this.#areLengthsKnown ? at : undefined });
      return false;
    });
    return places;
  }

  /** The place of a ticket that has just come, if those that came after it and those `without` are gone. */
  placeOfLast(order: number, without: ReadonlySet<number>): QueuePlace {
    const others: ClientSnapshot[] = [];
    let own: ClientSnapshot | undefined;
    for (const client of this.#clients) {
      const waiting = client.waiting.filter((ticket) => ticket.order <= order && !without.has(ticket.order));
      const earlier = { ...client, waiting };
      if (waiting.at(-1)?.order === order) own = earlier;
      else others.push(earlier);
    }
    return this.#placeOf(order, own === undefined ? others : [own, ...others]);
  }

  /** The same queue `ms` milliseconds later, without this ticket, if nothing else has changed. */
  later(ms: number, without: number): QueueSnapshot {
    const clients = this.#clients.map((client) => ({
      ...client,
      service: client.service + (client.running.length * ms) / client.weight,
      running: client.running.map((left) => Math.max(0, left - ms)),
      waiting: client.waiting.filter(({ order }) => order !== without),
    }));
    return new QueueSnapshot(this.#slots, clients, this.#areLengthsKnown, this.#virtualTime);
  }

  /** The place of the client that has this ticket; -1 if there is none. */
  clientOf(order: number): number {
    return this.#clients.findIndex(({ waiting }) => waiting.some((ticket) => ticket.order === order));
  }

  /** The place of a ticket that would come now, of the client at this place or of one that has only this service. */
  placeOfNewcomer(client: number, weight: number, service: number): QueuePlace {
    const known = this.#clients[client] ?? { running: [], waiting: [], service };
    const { running, waiting } = known;
    const newcomer = {
      service: waiting.length > 0 ? known.service : Math.max(known.service, this.#virtualTime),
      weight,
      running,
      waiting: [...waiting, { order: NEWCOMER, length: 0 }],
    };
    return this.#placeOf(NEWCOMER, [newcomer, ...this.#clients.filter((_, i) => i !== client)]);
  }

  #placeOf(order: number, clients: readonly ClientSnapshot[]): QueuePlace {
    let position = 1;
    let expectedWait: number | undefined;
    replay(this.#slots, clients, (started, at) => {
      if (started !== order) {
        position++;
        return false;
      }
      if (this.#areLengthsKnown) expectedWait = at;
      return true;
    });
    return { position, expectedWait };
  }
}
