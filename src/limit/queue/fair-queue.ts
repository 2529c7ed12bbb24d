import { type ClientSnapshot, replay } from './expected-wait.js';
import { JobLengths } from './job-lengths.js';
import { QueueClient } from './queue-client.js';

/*
 * Who is served next. All times are milliseconds of one clock, which the caller reads and passes in. It never steps back:
 * an earlier time counts as the last one.
 *
 * - The SERVICE of a client is the worker time that it was served, by elapsed time and per weight: it grows by
 *   `running / weight` in each millisecond. No estimate is part of it.
 * - NEXT is, whenever a slot is free, the client with the least service. Equal ones: that with fewest slots taken (running
 *   or turn), then that with the earliest head. Within a client, first in first out.
 * - A client is ACTIVE while one of its tickets waits, has its turn or runs.
 * - The VIRTUAL TIME of the queue is what a client would have been served that had always been active: it grows by
 *   `running jobs / weight of the active clients`, and is then kept between the least and the most service of the active
 *   ones. It is brought up to date before each change (`join`, `start`, `end`, `leave`, `setAside`), and only there: who
 *   only looks must not change it, since keeping it between the two at other moments gives other values.
 * - A client that becomes active starts at the virtual time, or at its own service if that is more. So idling earns
 *   nothing, and a newcomer is neither before all others nor behind them.
 * - The service of a client that is not active is forgotten once virtual time has passed it, or if nobody is active.
 * - FULL: with `maxWaiting` tickets, the client with most of them (the new one included) loses its last. If that is the
 *   client of the new ticket, also among equals, the new ticket is refused. So a client that has no ticket waiting is
 *   refused only if no client has more than one.
 * - The EXPECTED WAIT is replayed (`expected-wait.ts`) from what jobs took so far (`job-lengths.ts`). A new ticket that would
 *   wait for longer than it may is refused at once. Before the first job has ended nothing is known, and it may wait.
 */

/** Services of inactive clients that are remembered. The least of them is forgotten first. */
const MAX_REMEMBERED = 1000;
/** How long a client is passed over whose turn came in vain, unless one of its own jobs ends before. */
export const SET_ASIDE = 250;

/** A ticket of a `FairQueue`. */
export interface FairTicket {
  /** Rises with each ticket. */
  readonly order: number;
  readonly client: QueueClient;
  /** When it gives up, if it still waits then. */
  readonly deadline: number;
  readonly estimate: number | undefined;
  state: 'waiting' | 'turn' | 'running' | 'gone';
  /** When its job has started. */
  startedAt: number;
}

/** What a new ticket brings. */
export interface Arrival {
  readonly client: string;
  readonly weight: number;
  readonly maxWait: number;
  readonly estimate: number | undefined;
}

/** What became of a new ticket. */
export type Arrived =
  | {
      readonly ticket: FairTicket;
      /** Undefined if nothing is known. 0 if a slot is free and nobody waits. */
      readonly expectedWait: number | undefined;
      /** Made room for it, and is gone. */
      readonly pushedOut: FairTicket | undefined;
    }
  | { readonly ticket: undefined; readonly expectedWait: number | undefined };

/** The place of a ticket that waits: 1 for the one that is next. */
export interface FairPlace {
  readonly ticket: FairTicket;
  readonly position: number;
  readonly expectedWait: number | undefined;
}

/** The queue of one counter of slots, without clock, timers or promises. After each change, ask `next` until it has none. */
export class FairQueue {
  readonly #clients = new Map<string, QueueClient>();
  readonly #lengths = new JobLengths();
  #slots: number;
  #maxWaiting: number;
  #virtualTime = 0;
  /** When virtual time was brought up to date. */
  #now = Number.NEGATIVE_INFINITY;
  #lastOrder = 0;
  #waiting = 0;
  #taken = 0;

  constructor(slots: number, maxWaiting: number) {
    this.#slots = slots;
    this.#maxWaiting = maxWaiting;
  }

  /** Tickets that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Tickets whose turn has come or that run. */
  get taken(): number {
    return this.#taken;
  }

  /** Clients whose service is known. */
  get clients(): number {
    return this.#clients.size;
  }

  /** What the policy says now: its limit may change. */
  resize(slots: number, maxWaiting: number): void {
    this.#slots = slots;
    this.#maxWaiting = maxWaiting;
  }

  join(arrival: Arrival, time: number): Arrived {
    const now = this.#advance(time);
    let expectedWait: number | undefined = 0;
    let loser: QueueClient | undefined;
    if (this.#waiting > 0 || this.#taken >= this.#slots) {
      expectedWait = this.expectedWait(arrival, now);
      if (expectedWait !== undefined && expectedWait > arrival.maxWait) return { ticket: undefined, expectedWait };
      if (this.#waiting >= this.#maxWaiting) {
        loser = this.#loserTo(arrival);
        if (loser === undefined) return { ticket: undefined, expectedWait };
      }
    }
    const client = this.#activate(arrival, now);
    const ticket: FairTicket = {
      order: ++this.#lastOrder,
      client,
      deadline: now + arrival.maxWait,
      estimate: arrival.estimate,
      state: 'waiting',
      startedAt: 0,
    };
    client.waiting.push(ticket);
    this.#waiting++;
    const pushedOut = loser?.waiting.at(-1);
    if (pushedOut !== undefined) this.#remove(pushedOut);
    return { ticket, expectedWait, pushedOut };
  }

  /** Gives the next ticket its turn, if a slot is free. Its holder then calls `start`, `setAside` or `leave`. */
  next(time: number): FairTicket | undefined {
    if (this.#waiting === 0 || this.#taken >= this.#slots) return undefined;
    const now = Math.max(time, this.#now);
    let next: QueueClient | undefined;
    for (const client of this.#clients.values()) {
      if (client.waiting.length === 0 || client.asideUntil > now) continue;
      if (next === undefined || isBefore(client, next, now)) next = client;
    }
    const ticket = next?.waiting.shift();
    if (ticket === undefined) return undefined;
    ticket.state = 'turn';
    ticket.client.taken.add(ticket);
    this.#waiting--;
    this.#taken++;
    return ticket;
  }

  /** The request of a ticket whose turn has come holds a slot. */
  start(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'turn') return;
    const now = this.#advance(time);
    ticket.state = 'running';
    ticket.startedAt = now;
    ticket.client.run(1, now);
  }

  /** A job has ended, and its slot is free. */
  end(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'running') return;
    const now = this.#advance(time);
    ticket.client.run(-1, now);
    this.#lengths.learn(ticket.client.id, ticket.estimate, now - ticket.startedAt);
    // What held its next ticket back may be this job.
    ticket.client.asideUntil = Number.NEGATIVE_INFINITY;
    this.#remove(ticket);
  }

  /** A ticket goes away without a slot. */
  leave(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'waiting' && ticket.state !== 'turn') return;
    this.#advance(time);
    this.#remove(ticket);
  }

  /** A ticket whose turn has come could not start. It waits again in its place, and its client is passed over for a while. */
  setAside(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'turn') return;
    const now = this.#advance(time);
    ticket.client.taken.delete(ticket);
    this.#taken--;
    ticket.state = 'waiting';
    ticket.client.putBack(ticket);
    this.#waiting++;
    ticket.client.asideUntil = now + SET_ASIDE;
  }

  /** Tickets that have waited for as long as they may, in the order of their deadlines. They still have to `leave`. */
  expired(time: number): FairTicket[] {
    const now = Math.max(time, this.#now);
    const expired: FairTicket[] = [];
    for (const { waiting } of this.#clients.values()) {
      for (const ticket of waiting) if (ticket.deadline <= now) expired.push(ticket);
    }
    return expired.sort((a, b) => a.deadline - b.deadline || a.order - b.order);
  }

  /** When the first ticket gives up or is no longer passed over. Infinity if none waits. */
  nextDeadline(time: number): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { waiting, asideUntil } of this.#clients.values()) {
      if (waiting.length > 0 && asideUntil > time) first = Math.min(first, asideUntil);
      for (const { deadline } of waiting) first = Math.min(first, deadline);
    }
    return first;
  }

  /** All tickets that wait, in the order in which they will start. */
  places(time: number): FairPlace[] {
    const now = Math.max(time, this.#now);
    const tickets = new Map<number, FairTicket>();
    for (const { waiting } of this.#clients.values()) for (const ticket of waiting) tickets.set(ticket.order, ticket);
    const places: FairPlace[] = [];
    replay(this.#slots, this.#snapshot(now), (order, at) => {
      const expectedWait = this.#lengths.areKnown ? at : undefined;
      places.push({ ticket: tickets.get(order) as FairTicket, position: places.length + 1, expectedWait });
      return false;
    });
    return places;
  }

  /** How long a request would wait that came now. Undefined before the first job has ended. */
  expectedWait(arrival: Arrival, time: number): number | undefined {
    if (!this.#lengths.areKnown) return undefined;
    const now = Math.max(time, this.#now);
    let expected: number | undefined;
    replay(this.#slots, this.#snapshot(now, arrival), (order, at) => {
      if (order !== NEWCOMER) return false;
      expected = at;
      return true;
    });
    return expected;
  }

  #snapshot(now: number, arrival?: Arrival): ClientSnapshot[] {
    const snapshot: ClientSnapshot[] = [];
    for (const client of this.#clients.values()) {
      if (client.id !== arrival?.client) snapshot.push(this.#lengths.snapshot(client, now));
    }
    if (arrival === undefined) return snapshot;
    const known = this.#clients.get(arrival.client);
    const virtualTime = this.#virtualTimeAt(now);
    const client = known ?? new QueueClient(arrival.client, arrival.weight, virtualTime, now);
    const { service, waiting, ...same } = this.#lengths.snapshot(client, now);
    snapshot.push({
      ...same,
      service: client.isActive ? service : Math.max(service, virtualTime),
      weight: arrival.weight,
      waiting: [...waiting, { order: NEWCOMER, length: 0 }],
    });
    return snapshot;
  }

  /** The client that loses its last ticket to a newcomer: that with most tickets. Undefined if it is the newcomer's own. */
  #loserTo({ client: id }: Arrival): QueueClient | undefined {
    let most = (this.#clients.get(id)?.waiting.length ?? 0) + 1;
    let loser: QueueClient | undefined;
    for (const client of this.#clients.values()) {
      const { length } = client.waiting;
      const isLater = loser !== undefined && length === most && lastOrder(client) > lastOrder(loser);
      if (client.id === id || (length <= most && !isLater)) continue;
      most = length;
      loser = client;
    }
    return loser;
  }

  /** Finds or makes the client of a new ticket. */
  #activate({ client: id, weight }: Arrival, now: number): QueueClient {
    let client = this.#clients.get(id);
    if (client === undefined) {
      client = new QueueClient(id, weight, this.#virtualTime, now);
      this.#clients.set(id, client);
    } else {
      if (!client.isActive) client.raise(this.#virtualTime, now);
      client.reweigh(weight, now);
    }
    return client;
  }

  /** Brings virtual time up to date, and forgets what it has passed. */
  #advance(time: number): number {
    const now = Math.max(time, this.#now);
    this.#virtualTime = this.#virtualTimeAt(now);
    this.#now = now;
    for (const [id, client] of this.#clients) {
      if (!client.isActive && client.service(now) <= this.#virtualTime) this.#clients.delete(id);
    }
    return now;
  }

  #virtualTimeAt(now: number): number {
    let running = 0;
    let weight = 0;
    let least = Number.POSITIVE_INFINITY;
    let most = Number.NEGATIVE_INFINITY;
    for (const client of this.#clients.values()) {
      if (!client.isActive) continue;
      running += client.running;
      weight += client.weight;
      const service = client.service(now);
      least = Math.min(least, service);
      most = Math.max(most, service);
    }
    if (weight === 0) return this.#virtualTime;
    return Math.min(most, Math.max(least, this.#virtualTime + (running * (now - this.#now)) / weight));
  }

  /** Takes a ticket out, and forgets its client if that is no longer needed. */
  #remove(ticket: FairTicket): void {
    const { client } = ticket;
    if (ticket.state === 'waiting') {
      client.waiting.splice(client.waiting.indexOf(ticket), 1);
      this.#waiting--;
    } else {
      client.taken.delete(ticket);
      this.#taken--;
    }
    ticket.state = 'gone';
    if (client.isActive) return;
    if (this.#waiting + this.#taken === 0) {
      this.#clients.clear();
      this.#virtualTime = 0;
    } else if (this.#clients.size > MAX_REMEMBERED + this.#waiting + this.#taken) {
      this.#forgetLeast();
    }
  }

  #forgetLeast(): void {
    let least: QueueClient | undefined;
    for (const client of this.#clients.values()) {
      if (client.isActive) continue;
      if (least === undefined || client.service(this.#now) < least.service(this.#now)) least = client;
    }
    if (least !== undefined) this.#clients.delete(least.id);
  }
}

/** The order of a ticket that is not there yet: after all others. */
const NEWCOMER = Number.MAX_SAFE_INTEGER;

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
