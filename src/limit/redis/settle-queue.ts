import { StoreError } from '../store.js';
import { type Answer, type Operation, operationFailure } from './operation.js';
import { batchesOf } from './operation-batcher.js';
import type { ScriptCall } from './script-call.js';
import type { ScriptClient } from './script-client.js';

/** How long a correction is sent again, in milliseconds. */
const GIVE_UP_AFTER_MS = 60_000;
/** The server remembers the reply a little longer. */
const REMEMBER_MS = GIVE_UP_AFTER_MS + 10_000;
const RETRY_INTERVAL_MS = 500;
/** Corrections held while Redis is away. */
const MAX_WAITING = 10_000;

interface Correction {
  readonly operation: Operation;
  readonly onAnswer: ((answer: Answer) => void) | undefined;
  /** Resolves the promise of `send`. */
  readonly done: () => void;
}

interface Batch {
  readonly call: ScriptCall;
  readonly giveUpAt: number;
  readonly corrections: readonly Correction[];
}

/**
 * Corrects charges exactly once, even if a reply is lost. The corrections of one turn of the event loop go out in one
 * call (in a Cluster in one for each slot) with a marker of its own. The same call is sent again until it is answered.
 */
export class SettleQueue {
  readonly #script: ScriptClient;
  readonly #onLost: (error: unknown) => void;
  readonly #giveUpAfter: number;
  #collected: Correction[] = [];
  #waiting: Batch[] = [];
  /** How many corrections the waiting batches hold. */
  #waitingCorrections = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** `onLost` is called when a correction is given up. `giveUpAfter` in milliseconds. */
  constructor(script: ScriptClient, onLost: (error: unknown) => void, giveUpAfter = GIVE_UP_AFTER_MS) {
    this.#script = script;
    this.#onLost = onLost;
    this.#giveUpAfter = giveUpAfter;
  }

  /**
   * Resolves when the correction has taken effect, or is postponed because Redis does not answer. `onAnswer` is called
   * when the answer comes, even if that is later.
   */
  send(operation: Operation, onAnswer?: (answer: Answer) => void): Promise<void> {
    return new Promise((done) => {
      this.#collected.push({ operation, onAnswer, done });
      if (this.#collected.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Sends all corrections again that have not been answered. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batches = this.#waiting;
    this.#waiting = [];
    this.#waitingCorrections = 0;
    for (const batch of batches) this.#send(batch);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#waitingCorrections = 0;
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    const giveUpAt = performance.now() + this.#giveUpAfter;
    for (const corrections of batchesOf(this.#script, collected)) {
      const operations = corrections.map(({ operation }) => operation);
      const call = this.#script.prepare(operations, { rememberFor: REMEMBER_MS, ownMarker: true, expires: false });
      this.#send({ call, giveUpAt, corrections });
    }
  }

  #send(batch: Batch): void {
    this.#script
      .send(batch.call)
      .then(
        (answers) => this.#answered(batch, answers),
        (error: unknown) => this.#failed(batch, error),
      )
      .finally(() => {
        for (const { done } of batch.corrections) done();
      });
  }

  #answered({ corrections }: Batch, answers: readonly Answer[]): void {
    corrections.forEach(({ operation, onAnswer }, i) => {
      const answer = answers[i] as Answer;
      if (answer.status === 'admitted' || answer.status === 'refused') onAnswer?.(answer);
      else this.#onLost(operationFailure(operation.keys, answer.status));
    });
  }

  #failed(batch: Batch, error: unknown): void {
    const count = batch.corrections.length;
    const isOutage = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
    const isFull = this.#waitingCorrections + count > MAX_WAITING;
    if (!isOutage || this.#stopped || isFull || performance.now() >= batch.giveUpAt) {
      this.#onLost(error);
      return;
    }
    this.#waiting.push(batch);
    this.#waitingCorrections += count;
    this.#timer ??= setTimeout(() => this.retry(), RETRY_INTERVAL_MS).unref();
  }
}
