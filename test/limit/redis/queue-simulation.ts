import type { Redis } from 'ioredis';
import { concurrency } from '../../../src/limit/policy.js';
import type { Ticket, WaitingQueue } from '../../../src/limit/queue/waiting-queue.js';
import { queueKey } from '../../../src/limit/redis/queue/queue-key.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import type { RedisTarget } from '../../redis/server.js';

/** One job, and the client that wants it done. Times are milliseconds. */
export interface Job {
  readonly client: string;
  readonly weight: number;
  readonly length: number;
  readonly maxWait?: number | undefined;
  /** What the service thinks that it takes. */
  readonly estimate?: number | undefined;
  /** Its client leaves after so long, if it still waits then. */
  readonly patience?: number | undefined;
}

/** How a job ended. `failed`: its process could not reach Redis. `crashed`: its process was gone. */
export type End = 'done' | 'full' | 'timeout' | 'pushed-out' | 'left' | 'failed' | 'crashed';

export interface Visit {
  readonly job: Job;
  readonly ends: End[];
  ticket: Ticket | undefined;
  state: 'waiting' | 'turn' | 'running' | 'ended';
}

/** Passes messages to the stores as a second connection would, but when it is told to. */
export class Subscriber {
  readonly #channels: string[] = [];
  readonly #listeners = new Set<(channel: string, message: string) => void>();

  async subscribe(channel: string): Promise<void> {
    this.#channels.push(channel);
  }

  async unsubscribe(): Promise<void> {}

  on(_event: 'message', listener: (channel: string, message: string) => void): void {
    this.#listeners.add(listener);
  }

  off(_event: 'message', listener: (channel: string, message: string) => void): void {
    this.#listeners.delete(listener);
  }

  /** Makes the stores ask for news of a queue. */
  wake(key: string): void {
    for (const listener of this.#listeners) for (const channel of this.#channels) listener(channel, key);
  }
}

interface Process {
  readonly client: Redis;
  readonly store: RedisStore;
  readonly queue: WaitingQueue;
  readonly visits: Visit[];
  isGone: boolean;
}

let runs = 0;

/** Processes that share a worker with some slots, over a queue in Redis, in simulated time. */
export class RedisSimulation {
  readonly clock = new ManualClock(1_750_000_000_000);
  readonly visits: Visit[] = [];
  /** Worker time that each client was served. */
  readonly served = new Map<string, number>();
  readonly prefix = `simulation-${process.pid}-${runs++}:`;
  readonly key: string;
  /** Runs after each event, when all free slots have been given away. */
  observe: () => void = () => undefined;
  readonly #target: RedisTarget;
  readonly #subscriber = new Subscriber();
  readonly #settings;
  readonly #processes: Process[] = [];
  readonly #events: { readonly at: number; readonly happens: () => void }[] = [];
  readonly #turned: [visit: Visit, ofProcess: Process][] = [];
  readonly #running = new Set<Visit>();
  /** The most that ran at once. */
  mostRunning = 0;

  constructor(target: RedisTarget, clients: readonly Redis[], slots: number, maxWaiting = 1000) {
    this.#target = target;
    this.#settings = { policy: concurrency({ limit: slots, lease: '1s' }), maxWaiting };
    this.key = queueKey(this.prefix, `${this.prefix}key`, this.#settings.policy.id);
    for (const client of clients) this.#start(client);
  }

  get now(): number {
    return this.clock.now();
  }

  /** Clients that wait now. */
  get waiting(): Set<string> {
    return new Set(this.visits.filter(({ state }) => state === 'waiting').map(({ job }) => job.client));
  }

  /** Does something at a time from the beginning, in milliseconds. */
  at(time: number, happens: () => void): void {
    const at = Math.max(1_750_000_000_000 + time, this.now);
    const later = this.#events.findIndex((event) => event.at > at);
    this.#events.splice(later < 0 ? this.#events.length : later, 0, { at, happens });
  }

  /** A job arrives now. */
  arrive(job: Job, nth: number): void {
    const visit: Visit = { job, ends: [], ticket: undefined, state: 'waiting' };
    const ofProcess = this.#processes[nth % this.#processes.length] as Process;
    this.visits.push(visit);
    ofProcess.visits.push(visit);
    const { client, weight, maxWait = 1e12, estimate, patience } = job;
    const joining = ofProcess.queue.join({ key: 'key', client, weight, maxWait, estimate, onPlace: undefined });
    Promise.resolve(joining).then(
      (joined) => {
        if (joined.kind === 'full') return this.#end(visit, 'full');
        visit.ticket = joined.ticket;
        if (joined.kind === 'turn') this.#turned.push([visit, ofProcess]);
        else this.#wait(visit, ofProcess);
      },
      () => this.#end(visit, 'failed'),
    );
    if (patience === undefined) return;
    this.#after(patience, () => {
      if (visit.state !== 'waiting' || visit.ends.length > 0 || ofProcess.isGone) return;
      visit.ticket?.leave();
      this.#end(visit, 'left');
    });
  }

  /** A process is gone, with all that it has. Another takes its place. */
  crash(nth: number): void {
    const place = nth % this.#processes.length;
    const [gone] = this.#processes.splice(place, 1) as [Process];
    gone.isGone = true;
    gone.client.disconnect();
    for (const visit of gone.visits) {
      this.#running.delete(visit);
      if (visit.ends.length === 0) this.#end(visit, 'crashed');
    }
    // It would have closed nothing, but its timers must not outlive the test.
    gone.store.close();
    this.#start(this.#target.client());
  }

  /** Runs all events, and looks into the queue at least every `step` milliseconds. */
  async run(step = Number.POSITIVE_INFINITY): Promise<void> {
    for (let event = this.#events[0]; event !== undefined; event = this.#events[0]) {
      const at = Math.min(event.at, this.now + step);
      for (const { job } of this.#running) {
        this.served.set(job.client, (this.served.get(job.client) ?? 0) + at - this.now);
      }
      this.clock.set(at);
      for (let due = this.#events[0]; due !== undefined && due.at <= at; due = this.#events[0]) {
        this.#events.shift();
        due.happens();
      }
      await this.#settle();
      this.observe();
    }
  }

  async stop(): Promise<void> {
    for (const { store } of this.#processes) store.close();
    await this.#flush();
  }

  #start(client: Redis): void {
    const store = redisStore({
      client,
      subscriber: this.#subscriber,
      now: this.clock.now,
      prefix: this.prefix,
      timeout: '10s',
      queueInterval: '100ms',
    });
    this.#processes.push({ client, store, queue: store.queue(this.#settings), visits: [], isGone: false });
  }

  #after(ms: number, happens: () => void): void {
    this.at(this.now - 1_750_000_000_000 + ms, happens);
  }

  #wait(visit: Visit, ofProcess: Process): void {
    visit.ticket?.turn().then(
      ({ kind }) => {
        if (kind !== 'turn') this.#end(visit, kind);
        else if (visit.ends.length === 0) this.#turned.push([visit, ofProcess]);
      },
      () => this.#end(visit, 'failed'),
    );
  }

  #end(visit: Visit, end: End): void {
    // What a process would have seen that is gone.
    if (visit.ends.includes('crashed')) return;
    visit.state = 'ended';
    visit.ends.push(end);
  }

  async #settle(): Promise<void> {
    do {
      for (const [visit, ofProcess] of this.#turned.splice(0)) {
        if (ofProcess.isGone) continue;
        visit.state = 'running';
        visit.ticket?.started();
        this.#running.add(visit);
        this.#after(visit.job.length, () => {
          this.#running.delete(visit);
          if (ofProcess.isGone) return;
          visit.ticket?.ended();
          this.#end(visit, 'done');
        });
      }
      this.mostRunning = Math.max(this.mostRunning, this.#running.size);
      await this.#flush();
      this.#subscriber.wake(this.key);
      await this.#flush();
    } while (this.#turned.length > 0);
  }

  /** Everything that was sent has been answered. */
  async #flush(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await new Promise(setImmediate);
      await Promise.all(this.#processes.map(({ client }) => client.ping()));
      await new Promise(setImmediate);
    }
  }
}
