import { FairQueue } from '../../../src/limit/queue/fair-queue.js';
import type { FairTicket } from '../../../src/limit/queue/queue-client.js';

/** One job, and the client that wants it done. Times are milliseconds. */
export interface Job {
  readonly client: string;
  readonly length: number;
  readonly weight?: number;
  readonly maxWait?: number;
  /** What the service thinks that it takes. */
  readonly estimate?: number;
  /** Its client leaves after so long, if it still waits then. */
  readonly patience?: number;
  /** Its first turn comes in vain: something else holds the slot. */
  readonly isHeldBack?: boolean;
}

/** How a job ended. Exactly one of these happens. */
export type End = 'done' | 'full' | 'timeout' | 'pushed-out' | 'left';

/** One arrival, as it went. */
export interface Visit {
  readonly job: Job;
  readonly arrivedAt: number;
  /** What the queue said when it came. */
  expectedWait: number | undefined;
  startedAt: number | undefined;
  ends: End[];
}

interface Event {
  readonly at: number;
  readonly number: number;
  readonly happens: () => void;
}

/** A worker with some slots, and a fair queue before it, in simulated time. */
export class Simulation {
  now = 0;
  readonly queue: FairQueue;
  readonly visits: Visit[] = [];
  /** Worker time that each client was served. */
  readonly served = new Map<string, number>();
  /** Runs after each event, when all free slots have been given away. */
  observe: () => void = () => undefined;
  readonly #events: Event[] = [];
  readonly #running = new Map<FairTicket, Visit>();
  readonly #visitOf = new Map<FairTicket, { readonly visit: Visit; readonly onEnd: (end: End) => void }>();
  readonly #heldBack = new Set<Visit>();
  #number = 0;

  constructor(slots: number, maxWaiting = 1000) {
    this.queue = new FairQueue(slots, maxWaiting);
  }

  /** Clients that wait now. */
  get waiting(): Set<string> {
    const clients = new Set<string>();
    for (const { client, state } of this.#visitOf.keys()) if (state === 'waiting') clients.add(client.id);
    return clients;
  }

  /** Does something at a time. */
  at(time: number, happens: () => void): void {
    const event = { at: Math.max(time, this.now), number: this.#number++, happens };
    const events = this.#events;
    let i = events.length;
    events.push(event);
    // A binary heap.
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isSooner(event, events[parent] as Event)) break;
      events[i] = events[parent] as Event;
      i = parent;
    }
    events[i] = event;
  }

  /** A job arrives now. */
  arrive(job: Job, onEnd: (end: End) => void = () => undefined): Visit {
    const { client, weight = 1, maxWait = 1e12, estimate, patience } = job;
    const visit: Visit = { job, arrivedAt: this.now, expectedWait: undefined, startedAt: undefined, ends: [] };
    this.visits.push(visit);
    const arrived = this.queue.join({ client, weight, maxWait, estimate }, this.now);
    visit.expectedWait = arrived.expectedWait;
    if (arrived.ticket === undefined) {
      visit.ends.push('full');
      onEnd('full');
      return visit;
    }
    const { ticket, pushedOut } = arrived;
    this.#visitOf.set(ticket, { visit, onEnd });
    if (pushedOut !== undefined) this.#end(pushedOut, 'pushed-out');
    if (maxWait < 1e12) this.at(this.now + maxWait, () => this.#expire());
    if (patience !== undefined) {
      this.at(this.now + patience, () => {
        if (ticket.state !== 'waiting') return;
        this.queue.leave(ticket, this.now);
        this.#end(ticket, 'left');
      });
    }
    return visit;
  }

  run(until = Number.POSITIVE_INFINITY): void {
    for (;;) {
      const event = this.#events[0];
      if (event === undefined || event.at > until) break;
      this.#pop();
      for (const { job } of this.#running.values()) {
        this.served.set(job.client, (this.served.get(job.client) ?? 0) + event.at - this.now);
      }
      this.now = event.at;
      event.happens();
      this.#grant();
      this.observe();
    }
  }

  #grant(): void {
    for (let ticket = this.queue.next(this.now); ticket !== undefined; ticket = this.queue.next(this.now)) {
      const started = ticket;
      const { visit } = this.#visitOf.get(started) as { visit: Visit };
      if (visit.job.isHeldBack === true && !this.#heldBack.has(visit)) {
        this.#heldBack.add(visit);
        this.queue.setAside(started, this.now);
        this.at(started.client.asideUntil, () => undefined);
        continue;
      }
      visit.startedAt = this.now;
      this.queue.start(started, this.now);
      this.#running.set(started, visit);
      this.at(this.now + visit.job.length, () => {
        this.#running.delete(started);
        this.queue.end(started, this.now);
        this.#end(started, 'done');
      });
    }
  }

  #expire(): void {
    for (const ticket of this.queue.expired(this.now)) {
      this.queue.leave(ticket, this.now);
      this.#end(ticket, 'timeout');
    }
  }

  #end(ticket: FairTicket, end: End): void {
    const { visit, onEnd } = this.#visitOf.get(ticket) as { visit: Visit; onEnd: (end: End) => void };
    this.#visitOf.delete(ticket);
    visit.ends.push(end);
    onEnd(end);
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop() as Event;
    if (events.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= events.length) break;
      const right = events[child + 1];
      if (right !== undefined && isSooner(right, events[child] as Event)) child++;
      if (!isSooner(events[child] as Event, last)) break;
      events[i] = events[child] as Event;
      i = child;
    }
    events[i] = last;
  }
}

function isSooner(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}

/** The same numbers from 0 to 1 for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function exponential(random: () => number, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** Lognormal with this mean. */
export function lognormal(random: () => number, mean: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return mean * Math.exp(sigma * normal - (sigma * sigma) / 2);
}

/** The value that a part of the values does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] as number;
}
