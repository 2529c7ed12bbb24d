import { StoreError, unavailable } from '../store.js';
import type { Answer, Operation } from './operation.js';
import type { Call, Pipe } from './pipe.js';

/** How long a correction is worth sending, in milliseconds. */
const HORIZON_MS = 60_000;
/** How much longer than that the server knows it again. */
const MARKER_SLACK_MS = 10_000;
const RETRY_MS = 500;
/** Corrections held while Redis is away. */
const MAX_WAITING = 10_000;

export interface SettleQueueOptions {
  readonly pipe: Pipe;
  /** Whether Redis is known to be away: then nothing is sent until `retry()`. */
  readonly isAway: () => boolean;
  readonly onLost: (error: unknown) => void;
  /** Milliseconds; default a minute. */
  readonly horizon?: number;
}

interface Correction {
  readonly operation: Operation;
  /** It has been answered, or is lost for good. */
  readonly done: (answer: Answer | undefined) => void;
  /** It has been sent, or has to wait. */
  readonly tried: () => void;
}

interface Waiting {
  readonly call: Call;
  readonly until: number;
  readonly corrections: readonly Correction[];
}

/**
 * Corrections of charges. Those of one turn of the event loop go out in one call (in a Cluster one for each slot) whose
 * name the server remembers, and it is sent again under that name until it is answered: each takes effect exactly once,
 * also where an answer was lost.
 */
export class SettleQueue {
  readonly #pipe: Pipe;
  readonly #isAway: () => boolean;
  readonly #onLost: (error: unknown) => void;
  readonly #horizon: number;
  #collected: Correction[] = [];
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor({ pipe, isAway, onLost, horizon = HORIZON_MS }: SettleQueueOptions) {
    this.#pipe = pipe;
    this.#isAway = isAway;
    this.#onLost = onLost;
    this.#horizon = horizon;
  }

  /**
   * Resolves when the correction has taken effect, at the deadline at the latest: it is then sent again later. `done` is
   * told what came of it in the end; undefined where it is lost.
   */
  send(operation: Operation, done: Correction['done'] = () => undefined): Promise<void> {
    return new Promise((tried) => {
      this.#collected.push({ operation, done, tried });
      if (this.#collected.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Sends again what has not been answered. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) this.#try(one);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const { corrections } of this.#waiting) for (const { done } of corrections) done(undefined);
    this.#waiting = [];
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    const horizon = this.#horizon;
    const until = performance.now() + horizon;
    for (const corrections of this.#pipe.grouped(collected)) {
      const operations = corrections.map(({ operation }) => operation);
      const call = this.#pipe.prepare(operations, {
        remembered: horizon + MARKER_SLACK_MS,
        named: true,
        within: horizon,
      });
      this.#try({ call, until, corrections });
    }
  }

  #try(one: Waiting): void {
    // The client keeps what it cannot send: each attempt would be one more call for the day Redis is back.
    if (this.#isAway()) {
      this.#failed(one, unavailable('Redis does not answer'));
      return;
    }
    this.#pipe.send(one.call).then(
      (answers) => this.#answered(one, answers),
      (error: unknown) => this.#failed(one, error),
    );
  }

  #answered({ corrections }: Waiting, answers: readonly Answer[]): void {
    corrections.forEach(({ operation, done, tried }, i) => {
      const answer = answers[i];
      if (answer?.status === 'admitted') done(answer);
      else {
        const keys = operation.keys.join(', ');
        this.#onLost(new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot correct ${keys}: ${answer?.status}`));
        done(undefined);
      }
      tried();
    });
  }

  #failed(one: Waiting, error: unknown): void {
    for (const { tried } of one.corrections) tried();
    const mendable = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
    const inTime = performance.now() < one.until && this.#waiting.length < MAX_WAITING;
    if (mendable && inTime && !this.#stopped) {
      this.#waiting.push(one);
      this.#timer ??= setTimeout(() => this.retry(), RETRY_MS).unref();
      return;
    }
    this.#onLost(error);
    for (const { done } of one.corrections) done(undefined);
  }
}
