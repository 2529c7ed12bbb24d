import { StoreError } from '../store.js';
import { type Answer, misuse, type Operation } from './operation.js';
import type { Call, ScriptBatch } from './script-batch.js';

/** How long a correction is worth sending, in milliseconds; the server knows it again for a little longer. */
const HORIZON_MS = 60_000;
const MARKER_MS = HORIZON_MS + 10_000;
const RETRY_MS = 500;
/** Corrections held while Redis is away. */
const MAX_WAITING = 10_000;

interface Correction {
  readonly operation: Operation;
  readonly onAnswer: ((answer: Answer) => void) | undefined;
  readonly done: () => void;
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
  readonly #pipe: ScriptBatch;
  readonly #onLost: (error: unknown) => void;
  readonly #horizon: number;
  #collected: Correction[] = [];
  #waiting: Waiting[] = [];
  /** Corrections in the calls that wait. */
  #held = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(pipe: ScriptBatch, onLost: (error: unknown) => void, horizon = HORIZON_MS) {
    this.#pipe = pipe;
    this.#onLost = onLost;
    this.#horizon = horizon;
  }

  /**
   * Resolves when the correction has taken effect, or has been put off because Redis does not answer. `onAnswer` gets the
   * answer whenever it comes.
   */
  send(operation: Operation, onAnswer?: (answer: Answer) => void): Promise<void> {
    return new Promise((done) => {
      this.#collected.push({ operation, onAnswer, done });
      if (this.#collected.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Sends again what has not been answered. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#held = 0;
    for (const correction of waiting) this.#try(correction);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#held = 0;
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    const until = performance.now() + this.#horizon;
    for (const corrections of this.#pipe.grouped(collected)) {
      const operations = corrections.map(({ operation }) => operation);
      const call = this.#pipe.prepare(operations, { remembered: MARKER_MS, named: true, timely: false });
      this.#try({ call, until, corrections });
    }
  }

  #try(waiting: Waiting): void {
    const { call, until, corrections } = waiting;
    this.#pipe
      .send(call)
      .then(
        (answers) => {
          corrections.forEach(({ operation, onAnswer }, i) => {
            const answer = answers[i] as Answer;
            if (answer.status === 'admitted' || answer.status === 'refused') onAnswer?.(answer);
            else this.#onLost(misuse(operation.keys, answer.status));
          });
        },
        (error: unknown) => {
          const mendable = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
          const full = this.#held + corrections.length > MAX_WAITING;
          if (!mendable || this.#stopped || full || performance.now() >= until) {
            this.#onLost(error);
            return;
          }
          this.#waiting.push(waiting);
          this.#held += corrections.length;
          this.#timer ??= setTimeout(() => this.retry(), RETRY_MS).unref();
        },
      )
      .finally(() => {
        for (const { done } of corrections) done();
      });
  }
}
