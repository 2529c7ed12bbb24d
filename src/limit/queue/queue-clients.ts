import type { Arrival } from './arrival.js';
import { type FairTicket, QueueClient } from './queue-client.js';

/** Services of inactive clients that are remembered at most. The least of them is forgotten first. */
const MAX_REMEMBERED = 1000;

/** The clients of a queue, in the order in which they came, and the virtual time at which newcomers start. */
export class QueueClients implements Iterable<QueueClient> {
  readonly #byId = new Map<string, QueueClient>();
  #virtualTime = 0;
  /** When virtual time was brought up to date. */
  #now = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#byId.size;
  }

  get now(): number {
    return this.#now;
  }

  [Symbol.iterator](): IterableIterator<QueueClient> {
    return this.#byId.values();
  }

  get(id: string): QueueClient | undefined {
    return this.#byId.get(id);
  }

  /** Brings virtual time up to date, and forgets what it has passed. Returns the time, which never steps back. */
  advance(time: number): number {
    const now = Math.max(time, this.#now);
    this.#virtualTime = this.virtualTime(now);
    this.#now = now;
    for (const client of this.#byId.values()) {
      if (!client.isActive && client.service(now) <= this.#virtualTime) this.#byId.delete(client.id);
    }
    return now;
  }

  /** What virtual time will be at `now`, if nothing changes before. */
  virtualTime(now: number): number {
    let running = 0;
    let weight = 0;
    let least = Number.POSITIVE_INFINITY;
    let most = Number.NEGATIVE_INFINITY;
    for (const client of this.#byId.values()) {
      if (!client.isActive) continue;
      running += client.running;
      weight += client.weight;
      if (client.waiting.length === 0) continue;
      const service = client.service(now);
      least = Math.min(least, service);
      most = Math.max(most, service);
    }
    // No ticket waits.
    if (most < least) return this.#virtualTime;
    return Math.min(most, Math.max(least, this.#virtualTime + (running * (now - this.#now)) / weight));
  }

  /** Finds or makes the client of a new ticket. After `advance`. */
  activate({ client: id, weight }: Arrival): QueueClient {
    let client = this.#byId.get(id);
    if (client === undefined) {
      client = new QueueClient(id, weight, this.#virtualTime, this.#now);
      this.#byId.set(id, client);
    } else {
      if (client.waiting.length === 0) client.raise(this.#virtualTime, this.#now);
      client.reweigh(weight, this.#now);
    }
    return client;
  }

  /** No ticket waits any longer: the client that is served had no rival, and all that come begin alike. */
  restart(now: number): void {
    this.#virtualTime = 0;
    for (const client of this.#byId.values()) {
      if (client.isActive) client.restart(now);
      else this.#byId.delete(client.id);
    }
  }

  /** A client has lost a ticket. */
  rest(client: QueueClient): void {
    if (client.isActive) return;
    let active = 0;
    let least = client;
    for (const other of this.#byId.values()) {
      if (other.isActive) active++;
      else if (other.service(this.#now) < least.service(this.#now)) least = other;
    }
    if (this.#byId.size - active > MAX_REMEMBERED) this.#byId.delete(least.id);
  }

  /** The client that loses its last ticket to a newcomer: that with most tickets. Undefined if it is the newcomer's own. */
  loserTo({ client: id }: Arrival): QueueClient | undefined {
    let most = (this.#byId.get(id)?.waiting.length ?? 0) + 1;
    let loser: QueueClient | undefined;
    for (const client of this.#byId.values()) {
      const { length } = client.waiting;
      const isLater = loser !== undefined && length === most && lastOrder(client) > lastOrder(loser);
      if (client.id === id || (length <= most && !isLater)) continue;
      most = length;
      loser = client;
    }
    return loser;
  }

  /** The client whose head is next, among those that `asideUntil` does not pass over. */
  next(now: number): QueueClient | undefined {
    let next: QueueClient | undefined;
    for (const client of this.#byId.values()) {
      if (client.waiting.length === 0 || client.asideUntil > now) continue;
      if (next === undefined || isBefore(client, next, now)) next = client;
    }
    return next;
  }

  /** All tickets that wait. */
  *waiting(): Generator<FairTicket> {
    for (const { waiting } of this.#byId.values()) yield* waiting;
  }
}

function lastOrder({ waiting }: QueueClient): number {
  return waiting.at(-1)?.order ?? 0;
}

/** Whether the head of `a` is served before that of `b`. */
function isBefore(a: QueueClient, b: QueueClient, now: number): boolean {
  const difference = a.service(now) - b.service(now);
  if (difference !== 0) return difference < 0;
  if (a.taken.size !== b.taken.size) return a.taken.size < b.taken.size;
  return (a.waiting[0]?.order ?? 0) < (b.waiting[0]?.order ?? 0);
}
