import type { Arrival, Arrived, FairPlace } from './arrival.js';
import { JobLengths } from './job-lengths.js';
import type { FairTicket, QueueClient } from './queue-client.js';
import { QueueClients } from './queue-clients.js';
import { newcomerPlace, places } from './queue-places.js';

/*
 * Which client is served next. All times are milliseconds of one clock, which the caller reads and passes in. It never steps back:
 * an earlier time counts as the last one.
 *
 * - The SERVICE of a client is the worker time that it was served, by elapsed time and per weight: it grows by
 *   `running / weight` in each millisecond. No estimate is part of it.
 * - NEXT is, whenever a slot is free, the client with the least service. Equal ones: that with fewest slots taken (running
 *   or turn), then that with the earliest head. Within a client, first in first out.
 * - A client is ACTIVE while one of its tickets waits, has its turn or runs.
 * - The VIRTUAL TIME of the queue is where a client begins that begins to wait: it grows by `running jobs / weight of the
 *   active clients` in each millisecond, and is then kept between the least and the most service of those that WAIT. It is
 *   brought up to date before each change (`join`, `start`, `end`, `leave`, `setAside`), and only there: to look must not
 *   change it, since keeping it between the two at other moments gives other values.
 * - A client that begins to wait (it had no ticket waiting, whether or not one runs) starts at the virtual time, or at its
 *   own service if that is more. So idling earns nothing, and a newcomer is neither before all others nor behind them.
 * - The service of a client that is not active is forgotten once virtual time has passed it.
 * - When no ticket waits any longer (after a turn or a departure), all services and virtual time begin at zero: the client
 *   that is served then has no rival.
 * - Why two clients that both wait are served alike: the least service of those that wait never falls while one waits.
 *   A client starts a job only if no other that waits has less. So none is ever ahead of the least by more than what its
 *   own running jobs add: at most N longest jobs per weight. Two differ by that in either direction: 2 N in all.
 * - FULL: with `maxWaiting` tickets, the client with most of them (the new one included) loses its last. If that is the
 *   client of the new ticket, also among equals, the new ticket is refused. So a client that has no ticket waiting is
 *   refused only if no client has more than one.
 * - The EXPECTED WAIT is replayed (`expected-wait.ts`) from what jobs took so far (`job-lengths.ts`). A new ticket that would
 *   wait for longer than it may is refused at once. Before the first job has ended nothing is known, and it may wait.
 */

/** The queue of one counter of slots, without clock, timers or promises. After each change, ask `next` until it has none. */
export class FairQueue {
  readonly #clients = new QueueClients();
  readonly #lengths = new JobLengths();
  #slots: number;
  #maxWaiting: number;
  #lastOrder = 0;
  #waiting = 0;
  #taken = 0;
  #running = 0;

  constructor(slots: number, maxWaiting: number) {
    this.#slots = slots;
    this.#maxWaiting = maxWaiting;
  }

  /** Tickets that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Tickets whose turn has come, or that run. */
  get taken(): number {
    return this.#taken;
  }

  /** Tickets whose turn has come. */
  get turns(): number {
    return this.#taken - this.#running;
  }

  /** Clients whose service is known. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Whether a slot is free for one more turn. */
  get hasSlot(): boolean {
    return this.#taken < this.#slots;
  }

  /** What the policy says now: its limit may change. */
  resize(slots: number, maxWaiting: number): void {
    this.#slots = slots;
    this.#maxWaiting = maxWaiting;
  }

  join(arrival: Arrival, time: number): Arrived {
    const now = this.#clients.advance(time);
    let position = 1;
    let expectedWait: number | undefined = 0;
    let loser: QueueClient | undefined;
    // While it is passed over, a client waits even if a slot is free.
    const isPassedOver = (this.#clients.get(arrival.client)?.asideUntil ?? now) > now;
    if (this.#waiting > 0 || !this.hasSlot || isPassedOver) {
      ({ position, expectedWait } = newcomerPlace(this.#slots, this.#clients, this.#lengths, arrival, now));
      if (expectedWait !== undefined && expectedWait > arrival.maxWait) return { ticket: undefined, expectedWait };
      if (this.#waiting >= this.#maxWaiting) {
        loser = this.#clients.loserTo(arrival);
        if (loser === undefined) return { ticket: undefined, expectedWait };
      }
    }
    const client = this.#clients.activate(arrival);
    const ticket: FairTicket = {
      order: ++this.#lastOrder,
      client,
      deadline: now + arrival.maxWait,
      estimate: arrival.estimate === undefined ? undefined : Math.max(1, arrival.estimate),
      state: 'waiting',
      startedAt: 0,
    };
    client.waiting.push(ticket);
    this.#waiting++;
    const pushedOut = loser?.waiting.at(-1);
    if (pushedOut !== undefined) this.#remove(pushedOut);
    return { ticket, position, expectedWait, pushedOut };
  }

  /** Gives the next ticket its turn, if a slot is free. Its holder then calls `start`, `setAside` or `leave`. */
  next(time: number): FairTicket | undefined {
    if (this.#waiting === 0 || !this.hasSlot) return undefined;
    const now = Math.max(time, this.#clients.now);
    const ticket = this.#clients.next(now)?.waiting.shift();
    if (ticket === undefined) return undefined;
    ticket.state = 'turn';
    ticket.client.taken.add(ticket);
    this.#taken++;
    this.#waitsLess(now);
    return ticket;
  }

  /** The request of a ticket whose turn has come holds a slot. */
  start(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'turn') return;
    const now = this.#clients.advance(time);
    ticket.state = 'running';
    ticket.startedAt = now;
    ticket.client.run(1, now);
    this.#running++;
  }

  /** A job has ended, and its slot is free. */
  end(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'running') return;
    const now = this.#clients.advance(time);
    ticket.client.run(-1, now);
    this.#running--;
    this.#lengths.learn(ticket.client.id, ticket.estimate, now - ticket.startedAt);
    this.#remove(ticket);
  }

  /** A ticket goes away without a slot. */
  leave(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'waiting' && ticket.state !== 'turn') return;
    this.#clients.advance(time);
    this.#remove(ticket);
  }

  /** A ticket whose turn has come could not start. It waits again in its place, and its client is passed over for a while. */
  setAside(ticket: FairTicket, time: number): void {
    if (ticket.state !== 'turn') return;
    const now = this.#clients.advance(time);
    ticket.client.taken.delete(ticket);
    this.#taken--;
    ticket.state = 'waiting';
    ticket.client.putBack(ticket);
    this.#waiting++;
    ticket.client.setAside(now);
  }

  /** Tickets that have waited for as long as they may, in the order of their deadlines. They still have to `leave`. */
  expired(time: number): FairTicket[] {
    const now = Math.max(time, this.#clients.now);
    const expired = [...this.#clients.waiting()].filter(({ deadline }) => deadline <= now);
    return expired.sort((a, b) => a.deadline - b.deadline || a.order - b.order);
  }

  /** When the first ticket gives up or is no longer passed over. Infinity if none waits. */
  nextDeadline(time: number): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { waiting, asideUntil } of this.#clients) {
      if (waiting.length > 0 && asideUntil > time) first = Math.min(first, asideUntil);
      for (const { deadline } of waiting) first = Math.min(first, deadline);
    }
    return first;
  }

  /** All tickets that wait, in the order in which they will start. */
  places(time: number): FairPlace[] {
    return places(this.#slots, this.#clients, this.#lengths, Math.max(time, this.#clients.now));
  }

  /** How long a request would wait that came now. Undefined before the first job has ended. */
  expectedWait(arrival: Arrival, time: number): number | undefined {
    const now = Math.max(time, this.#clients.now);
    return newcomerPlace(this.#slots, this.#clients, this.#lengths, arrival, now).expectedWait;
  }

  /** Takes a ticket out, and forgets its client if that is no longer needed. */
  #remove(ticket: FairTicket): void {
    const { client } = ticket;
    if (ticket.state === 'waiting') {
      client.waiting.splice(client.waiting.indexOf(ticket), 1);
      this.#waitsLess(this.#clients.now);
    } else {
      client.taken.delete(ticket);
      this.#taken--;
      if (this.#waiting === 0) this.#clients.restart(this.#clients.now);
    }
    ticket.state = 'gone';
    this.#clients.rest(client);
  }

  #waitsLess(now: number): void {
    this.#waiting--;
    if (this.#waiting === 0) this.#clients.restart(now);
  }
}
