import { StoreError, unavailable } from '../store.js';
import { type Answer, type Operation, operationFailure } from './operation.js';
import { batchesOf } from './operation-batcher.js';
import { LateCallError, type ScriptCall } from './script-call.js';
import type { Delivery, ScriptClient } from './script-client.js';

/** How long a correction is held and sent again, in milliseconds: a minute, and time to notice that Redis is back. */
const GIVE_UP_AFTER_MS = 75_000;
/** How much longer the server remembers that it has run a call than the call may run. */
const REMEMBER_LONGER_MS = 15_000;
const CHECK_INTERVAL_MS = 500;
/** Corrections held while Redis is away. */
const MAX_HELD = 10_000;
/** Calls on their way at once when Redis is back: more would make decisions wait. */
const MAX_PARALLEL = 8;

interface Correction {
  readonly operation: Operation;
  readonly onAnswer: ((answer: Answer) => void) | undefined;
  /** Resolves the promise of `send`. */
  readonly done: () => void;
  readonly giveUpAt: number;
}

interface Batch {
  readonly corrections: readonly Correction[];
  /** Undefined until it is sent for the first time. To send a batch again is to send the same call. */
  call: ScriptCall | undefined;
  giveUpAt: number;
  /** The place of its latest delivery among all, while the client may still send it. */
  order: number;
}

/**
 * Corrects charges exactly once, even if a reply is lost. The corrections of one turn of the event loop go out in one
 * call (in a Cluster in one for each slot) with a marker of its own. A call that the client could not deliver is sent
 * again. During an outage nothing is sent: corrections are held, up to 10,000, and sent in batches when Redis is back.
 */
export class SettleQueue {
  readonly #script: ScriptClient;
  readonly #onLost: (error: unknown, count: number) => void;
  readonly #giveUpAfter: number;
  #collected: Correction[] = [];
  /** Not sent yet. */
  #unsent: Correction[] = [];
  /** To be sent, or sent again. */
  #batches: Batch[] = [];
  /** Sent, and neither answered nor given back by the client. */
  readonly #unanswered = new Set<Batch>();
  /** How many corrections these three hold. */
  #held = 0;
  #parallel = 0;
  #isPaused = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;

  /** `onLost` is called when corrections are given up, with their number. `giveUpAfter` in milliseconds. */
  constructor(
    script: ScriptClient,
    onLost: (error: unknown, count: number) => void,
    giveUpAfter: number = GIVE_UP_AFTER_MS,
  ) {
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
      this.#collected.push({ operation, onAnswer, done, giveUpAt: performance.now() + this.#giveUpAfter });
      if (this.#collected.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** The same, but not at once with all others: for many operations that wait for a return of Redis. */
  sendLater(operation: Operation, onAnswer: (answer: Answer) => void): void {
    this.#unsent.push({ operation, onAnswer, done: () => undefined, giveUpAt: performance.now() + this.#giveUpAfter });
    this.#held++;
    this.#check();
  }

  /** Sends nothing until `retry`. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Sends what is held, now that Redis answers again. */
  retry(): void {
    this.#isPaused = false;
    this.#forgetDropped();
    this.#pump();
  }

  /** Gives up what is held. */
  stop(): void {
    this.#isStopped = true;
    this.#isPaused = false;
    clearTimeout(this.#timer);
    if (this.#held > 0) this.#onLost(unavailable('the store was closed before Redis was back'), this.#held);
    this.#unsent = [];
    this.#batches = [];
    this.#unanswered.clear();
    this.#held = 0;
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    if (this.#isPaused) this.#hold(collected);
    else for (const corrections of batchesOf(this.#script, collected)) void this.#deliver(newBatch(corrections));
  }

  #hold(corrections: readonly Correction[]): void {
    for (const { done } of corrections) done();
    const kept = corrections.slice(0, Math.max(0, MAX_HELD - this.#held));
    this.#unsent.push(...kept);
    this.#held += kept.length;
    if (kept.length < corrections.length) this.#onLost(tooMany(), corrections.length - kept.length);
    this.#check();
  }

  /** Sends held batches, a few at a time. */
  #pump(): void {
    if (this.#isPaused || this.#isStopped) return;
    if (this.#batches.length === 0) {
      this.#batches.push(...batchesOf(this.#script, this.#unsent).map(newBatch));
      this.#unsent = [];
    }
    while (this.#parallel < MAX_PARALLEL) {
      const batch = this.#batches.shift();
      if (batch === undefined) return;
      this.#held -= batch.corrections.length;
      this.#parallel++;
      void this.#deliver(batch).then((isAnswered) => {
        this.#parallel--;
        // After a failure, the rest waits for the next check.
        if (isAnswered) this.#pump();
      });
    }
  }

  /** Sends a batch, and returns whether it was answered in time. */
  async #deliver(batch: Batch): Promise<boolean> {
    const isFirst = batch.call === undefined;
    if (batch.call === undefined) {
      const operations = batch.corrections.map(({ operation }) => operation);
      const rememberFor = this.#giveUpAfter + REMEMBER_LONGER_MS;
      // Nor may the client deliver it later: by then the server has forgotten whether it has run the call.
      const options = { rememberFor, ownMarker: true, expiresAfter: this.#giveUpAfter };
      batch.call = this.#script.prepare(operations, options);
      batch.giveUpAt = performance.now() + this.#giveUpAfter;
    }
    const delivery = this.#script.deliver(batch.call);
    batch.order = delivery.order;
    let isSettled = false;
    delivery.eventually.then(
      () => (isSettled = true),
      () => (isSettled = true),
    );
    try {
      this.#answered(batch, await delivery.inTime);
      return true;
    } catch (error) {
      // The server's clock has moved against our estimate. This call has changed nothing, and the next one is right.
      if (isFirst && error instanceof LateCallError) batch.call = undefined;
      if (!this.#keep(batch, error)) return false;
      if (isSettled) this.#batches.push(batch);
      else this.#awaitClient(batch, delivery);
      return false;
    } finally {
      for (const { done } of batch.corrections) done();
    }
  }

  /** The client still has the call. It is not sent again, or an outage would fill the client's memory with copies. */
  #awaitClient(batch: Batch, { eventually }: Delivery): void {
    this.#unanswered.add(batch);
    const isStillHeld = () => this.#unanswered.delete(batch);
    eventually.then(
      (answers) => {
        if (!isStillHeld()) return;
        this.#held -= batch.corrections.length;
        this.#answered(batch, answers);
      },
      (error: unknown) => {
        if (!isStillHeld()) return;
        this.#held -= batch.corrections.length;
        if (this.#keep(batch, error)) this.#batches.push(batch);
      },
    );
  }

  #answered({ corrections }: Batch, answers: readonly Answer[]): void {
    corrections.forEach(({ operation, onAnswer }, i) => {
      const answer = answers[i] as Answer;
      if (answer.status === 'admitted' || answer.status === 'refused') onAnswer?.(answer);
      else this.#onLost(operationFailure(operation.keys, answer.status), 1);
    });
  }

  /** Whether a batch that failed is held. */
  #keep(batch: Batch, error: unknown): boolean {
    if (this.#isStopped) return false;
    const count = batch.corrections.length;
    const isOutage = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
    if (!isOutage || this.#held + count > MAX_HELD || performance.now() >= batch.giveUpAt) {
      this.#onLost(isOutage && this.#held + count > MAX_HELD ? tooMany(error) : error, count);
      return false;
    }
    this.#held += count;
    this.#check();
    return true;
  }

  /** Looks after what is held, from time to time. */
  #check(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#giveUp();
      this.#forgetDropped();
      this.#pump();
      if (this.#held > 0) this.#check();
    }, CHECK_INTERVAL_MS).unref();
  }

  #giveUp(): void {
    const now = performance.now();
    const isHeld = ({ giveUpAt }: { readonly giveUpAt: number }) => now < giveUpAt;
    const before = this.#held;
    this.#unsent = this.#unsent.filter(isHeld);
    this.#batches = this.#batches.filter(isHeld);
    for (const batch of this.#unanswered) if (!isHeld(batch)) this.#unanswered.delete(batch);
    this.#held = this.#unsent.length;
    for (const { corrections } of [...this.#batches, ...this.#unanswered]) this.#held += corrections.length;
    const count = before - this.#held;
    if (count > 0) this.#onLost(unavailable('Redis did not answer in time to correct charges'), count);
  }

  /** What the client has dropped is sent again. */
  #forgetDropped(): void {
    for (const batch of this.#unanswered) {
      if (batch.order >= this.#script.answeredUpTo) continue;
      this.#unanswered.delete(batch);
      this.#batches.push(batch);
    }
  }
}

function newBatch(corrections: readonly Correction[]): Batch {
  return { corrections, call: undefined, giveUpAt: corrections[0]?.giveUpAt ?? 0, order: 0 };
}

function tooMany(cause?: unknown): StoreError {
  return unavailable(`more than ${MAX_HELD} corrections wait for Redis`, cause);
}
