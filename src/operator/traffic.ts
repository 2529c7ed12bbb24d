import type { Exchange } from '../core/exchange.js';
import { type ExchangeObserver, isObservedBy, type JobEnd, observe } from '../core/exchange-observer.js';
import type { Outcome } from '../core/outcome.js';
import { printable } from '../core/printable.js';
import { History } from './history.js';
import { RecentClients } from './recent-clients.js';

/** A job that a worker has or had for an exchange. */
export interface WorkerRun {
  /** The id of the request. */
  readonly id: string | undefined;
  readonly client: string;
  readonly path: string;
  readonly startedAt: number;
  endedAt: number | undefined;
  state: 'running' | JobEnd;
}

/** An exchange that waits for a slot. */
export interface Waiting {
  readonly client: string;
  readonly since: number;
  readonly position: number | undefined;
  /** Milliseconds. */
  readonly expectedWait: number | undefined;
}

/** The name of all callers without a principal. */
export const ANONYMOUS = 'anonymous';
const MAX_RUNS = 50;
const MAX_PATH = 200;

/** What passes through this process, for the operator page. Its size does not grow with the number of requests. */
export class Traffic {
  readonly history: History;
  readonly clients = new RecentClients();
  inFlight = 0;
  readonly #now: () => number;
  readonly #clientOf: (exchange: Exchange) => string | undefined;
  readonly #held = new Map<string, number>();
  readonly #waiting = new Map<Exchange, number>();
  readonly #running = new Map<Exchange, WorkerRun[]>();
  /** The newest first. */
  #runs: readonly WorkerRun[] = [];
  readonly #observer: ExchangeObserver<Exchange> = {
    waiting: (exchange, change) => this.#waits(exchange, change),
    held: (_, policy, change) => this.#held.set(policy, (this.#held.get(policy) ?? 0) + change),
    gpuTime: (exchange, milliseconds) => {
      this.history.current.gpuTime += milliseconds;
      this.clients.of(this.#client(exchange)).gpuTime += milliseconds;
    },
    jobStarted: (exchange) => this.#started(exchange),
    jobEnded: (exchange, end) => this.#ended(exchange, end),
  };

  constructor(now: () => number, clientOf: (exchange: Exchange) => string | undefined) {
    this.#now = now;
    this.#clientOf = clientOf;
    this.history = new History(now);
  }

  /** Follows an exchange from now on. */
  watch(exchange: Exchange): void {
    // A second guard, such as that of a route, would count the exchange twice.
    if (isObservedBy(exchange, this.#observer)) return;
    observe(exchange, this.#observer);
    // With a listener, the place of a request that waits is kept up to date.
    exchange.queueListener ??= NOTHING;
    this.inFlight++;
    exchange.onEnd((outcome) => this.#outcome(exchange, outcome));
  }

  /** Slots that this process holds, by policy. */
  get held(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#held].filter(([, count]) => count > 0));
  }

  /** The requests that wait, the next one first. */
  get waiting(): readonly Waiting[] {
    return [...this.#waiting]
      .map(([exchange, since]) => ({
        client: this.#client(exchange),
        since,
        position: exchange.queuePlace?.position,
        expectedWait: exchange.queuePlace?.expectedWait,
      }))
      .sort((a, b) => (a.position ?? Number.MAX_SAFE_INTEGER) - (b.position ?? Number.MAX_SAFE_INTEGER));
  }

  /** What workers do for this process: what runs, and the newest that have ended. */
  get runs(): readonly WorkerRun[] {
    const running = [...this.#running.values()].flat();
    return [...running.reverse(), ...this.#runs.filter(({ state }) => state !== 'running')].slice(0, MAX_RUNS);
  }

  #outcome(exchange: Exchange, outcome: Outcome): void {
    this.inFlight--;
    const bucket = this.history.current;
    const figures = this.clients.of(this.#client(exchange));
    bucket.requests++;
    figures.requests++;
    if (outcome.kind === 'refused' && outcome.status >= 400) {
      figures.refused++;
      this.history.refused(outcome.code ?? 'other');
    } else if (outcome.kind === 'completed' && outcome.status >= 500) {
      figures.errors++;
      bucket.errors++;
    }
  }

  #waits(exchange: Exchange, change: 1 | -1): void {
    if (change === -1) this.#waiting.delete(exchange);
    else this.#waiting.set(exchange, this.#now());
    const bucket = this.history.current;
    bucket.waiting = Math.max(bucket.waiting, this.#waiting.size);
  }

  #started(exchange: Exchange): void {
    const { requestId, request } = exchange;
    const [path = ''] = request.url.split('?', 1);
    const run: WorkerRun = {
      id: requestId,
      client: this.#client(exchange),
      path: printable(path.slice(0, MAX_PATH)),
      startedAt: this.#now(),
      endedAt: undefined,
      state: 'running',
    };
    const others = this.#running.get(exchange);
    if (others === undefined) this.#running.set(exchange, [run]);
    else others.push(run);
  }

  #ended(exchange: Exchange, end: JobEnd): void {
    const running = this.#running.get(exchange);
    const run = running?.shift();
    if (running?.length === 0) this.#running.delete(exchange);
    if (run === undefined) return;
    run.state = end;
    run.endedAt = this.#now();
    this.#runs = [run, ...this.#runs].slice(0, MAX_RUNS);
  }

  /** Of an exchange that has no client yet, or never gets one. */
  #client(exchange: Exchange): string {
    try {
      return this.#clientOf(exchange) || ANONYMOUS;
    } catch {
      return ANONYMOUS;
    }
  }
}

const NOTHING = (): void => undefined;
