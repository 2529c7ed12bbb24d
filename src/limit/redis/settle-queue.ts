import { StoreError } from '../store.js';
import type { Operation } from './operation.js';
import type { Call, Pipe } from './pipe.js';

/** How long a correction is worth sending, in milliseconds; the server knows it again for a little longer. */
const HORIZON_MS = 60_000;
const MARKER_MS = HORIZON_MS + 10_000;
const RETRY_MS = 500;
/** Corrections held while Redis is away. */
const MAX_WAITING = 10_000;

interface Waiting {
  readonly call: Call;
  readonly until: number;
  readonly done: () => void;
}

/**
 * Corrections of charges. Each goes out in a call of its own whose name the server remembers, and is sent again under
 * that name until it is answered: it takes effect exactly once, also where an answer was lost.
 */
export class SettleQueue {
  readonly #pipe: Pipe;
  readonly #onLost: (error: unknown) => void;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(pipe: Pipe, onLost: (error: unknown) => void) {
    this.#pipe = pipe;
    this.#onLost = onLost;
  }

  /** Resolves when the correction has taken effect, or is lost for good. */
  send(operation: Operation): Promise<void> {
    return new Promise((done) => {
      const call = this.#pipe.prepare([operation], MARKER_MS, false);
      this.#try({ call, until: performance.now() + HORIZON_MS, done });
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
    clearTimeout(this.#timer);
    for (const { done } of this.#waiting) done();
    this.#waiting = [];
  }

  #try(correction: Waiting): void {
    this.#pipe.send(correction.call).then(
      () => correction.done(),
      (error: unknown) => {
        const mendable = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
        if (!mendable || performance.now() >= correction.until || this.#waiting.length >= MAX_WAITING) {
          this.#onLost(error);
          correction.done();
          return;
        }
        this.#waiting.push(correction);
        this.#timer ??= setTimeout(() => this.retry(), RETRY_MS).unref();
      },
    );
  }
}
