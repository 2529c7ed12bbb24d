import { StoreError } from '../store.js';
import type { Operation } from './operation.js';
import type { Call, Pipe } from './pipe.js';

/** How long a correction is worth sending, in milliseconds; the server knows it again for a little longer. */
const HORIZON_MS = 60_000;
const MARKER_MS = HORIZON_MS + 10_000;
const RETRY_MS = 500;
/** Corrections held while Redis is away. */
const MAX_WAITING = 10_000;

interface Correction {
  readonly operation: Operation;
  readonly done: () => void;
}

interface Waiting {
  readonly call: Call;
  readonly until: number;
  readonly done: () => void;
}

/**
 * Corrections of charges. Those of one turn of the event loop go out in one call (in a Cluster one for each slot) whose
 * name the server remembers, and it is sent again under that name until it is answered: each takes effect exactly once,
 * also where an answer was lost.
 */
export class SettleQueue {
  readonly #pipe: Pipe;
  readonly #onLost: (error: unknown) => void;
  #collected: Correction[] = [];
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(pipe: Pipe, onLost: (error: unknown) => void) {
    this.#pipe = pipe;
    this.#onLost = onLost;
  }

  /** Resolves when the correction has taken effect, or has been put off because Redis does not answer. */
  send(operation: Operation): Promise<void> {
    return new Promise((done) => {
      this.#collected.push({ operation, done });
      if (this.#collected.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Sends again what has not been answered. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const correction of waiting) this.#try(correction);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const { done } of this.#waiting) done();
    this.#waiting = [];
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    const until = performance.now() + HORIZON_MS;
    for (const group of this.#pipe.grouped(collected)) {
      const operations = group.map(({ operation }) => operation);
      const call = this.#pipe.prepare(operations, { remembered: MARKER_MS, named: true, timely: false });
      const done = () => {
        for (const correction of group) correction.done();
      };
      this.#try({ call, until, done });
    }
  }

  #try(correction: Waiting): void {
    this.#pipe.send(correction.call).then(
      () => correction.done(),
      (error: unknown) => {
        const mendable = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
        if (
          !mendable ||
          this.#stopped ||
          performance.now() >= correction.until ||
          this.#waiting.length >= MAX_WAITING
        ) {
          this.#onLost(error);
          correction.done();
          return;
        }
        correction.done();
        this.#waiting.push(correction);
        this.#timer ??= setTimeout(() => this.retry(), RETRY_MS).unref();
      },
    );
  }
}
