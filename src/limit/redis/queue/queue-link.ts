import { StoreError } from '../../store.js';
import { type QueueStep, steps } from './queue-call.js';

/** Steps in one call, at most. While the script runs, the server runs nothing else. */
const MAX_STEPS = 50;

/** The tickets whose steps a link sends. */
export interface LinkedTickets {
  /** The numbers of all tickets that are not gone. */
  numbers(): readonly number[];
  /** After how many milliseconds Redis must hear of the tickets again. Undefined if there are none. */
  readonly pollAfter: number | undefined;
  /** The time at which Redis decides, or -1 for its own. */
  now(): number;
  /** Sends steps, and reads the answer. */
  call(sent: readonly QueueStep[], now: number): Promise<void>;
  /** These steps were not answered. */
  failed(sent: readonly QueueStep[], error: StoreError): void;
}

/**
 * Sends the steps of one queue's tickets: those of one turn of the event loop together, and those that come while a call is
 * under way in the next one. So a flood of requests makes calls larger, and not more than Redis answers. While there are
 * tickets, it lists them to Redis at each interval, which renews them. Its timer does not keep the process alive.
 */
export class QueueLink {
  readonly #tickets: LinkedTickets;
  readonly #flush = () => {
    this.#isScheduled = false;
    if (this.#underWay === 0) this.#send();
  };
  /** Calls that are not answered. */
  #underWay = 0;
  #steps: QueueStep[] = [];
  /** When the steps were taken. */
  #now = -1;
  #isScheduled = false;
  #isListing = false;
  #mustList = false;
  /** Whether Redis may have missed a step. The list of tickets is then sent again. */
  #isUnsure = false;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(tickets: LinkedTickets) {
    this.#tickets = tickets;
  }

  push(step: QueueStep): void {
    if (this.#isStopped) return;
    const now = this.#tickets.now();
    // A clock that was passed in may have moved since the last step.
    if (this.#steps.length > 0 && now !== this.#now) this.#send(false);
    this.#now = now;
    this.#steps.push(step);
    this.#schedule();
  }

  /** Asks Redis for news now, or once it has answered the last such question: that may have come too early. */
  poll(): void {
    if (this.#isStopped) return;
    this.#mustList = true;
    if (!this.#isListing) this.#schedule();
  }

  /** Sets the timer for the next poll. The last one began `since` milliseconds ago. */
  plan(since = 0): void {
    const after = this.#tickets.pollAfter;
    if (this.#isStopped || after === undefined) {
      this.#unplan();
      return;
    }
    const wait = Math.max(1, after - since);
    const dueAt = performance.now() + wait;
    if (dueAt >= this.#dueAt) return;
    this.#unplan();
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => {
      this.#unplan();
      if (!this.#isListing) this.poll();
    }, wait);
    this.#timer.unref();
  }

  /** Sends which tickets are left, and nothing after that. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#unplan();
    const sent = this.#steps.filter(([step]) => step !== 'join').slice(0, MAX_STEPS);
    this.#tickets.call([...sent, steps.list(this.#tickets.numbers())], this.#tickets.now()).catch(() => undefined);
  }

  /** Whether a step may not have reached Redis, so that a list must. */
  get isUnsure(): boolean {
    return this.#isUnsure;
  }

  #unplan(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  #send(mayList = true): void {
    if (this.#isStopped) return;
    const sent = this.#steps.splice(0, MAX_STEPS);
    const now = sent.length > 0 ? this.#now : this.#tickets.now();
    if (this.#steps.length > 0) this.#schedule();
    // After all steps, since it names the tickets as they are now.
    else if (mayList && this.#mustList && !this.#isListing && this.#tickets.pollAfter !== undefined) {
      this.#mustList = false;
      void this.#list(sent, now);
      return;
    }
    if (sent.length > 0) void this.#call(sent, now);
  }

  async #list(sent: readonly QueueStep[], now: number): Promise<void> {
    this.#isListing = true;
    const wasUnsure = this.#isUnsure;
    this.#isUnsure = false;
    const startedAt = performance.now();
    const answered = await this.#call([...sent, steps.list(this.#tickets.numbers())], now);
    this.#isListing = false;
    if (!answered && wasUnsure) this.#isUnsure = true;
    if (this.#mustList) this.#schedule();
    this.plan(performance.now() - startedAt);
  }

  async #call(sent: readonly QueueStep[], now: number): Promise<boolean> {
    this.#underWay++;
    try {
      await this.#tickets.call(sent, now);
      return true;
    } catch (error) {
      this.#isUnsure = true;
      this.#tickets.failed(sent, asStoreError(error));
      return false;
    } finally {
      this.#underWay--;
      if (this.#steps.length > 0 || (this.#mustList && !this.#isListing)) this.#schedule();
      this.plan();
    }
  }
}

/** Anything else is a fault. */
function asStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  return new StoreError('GATEWARDEN_STORE_DATA', 'redisStore cannot use a queue', error);
}
