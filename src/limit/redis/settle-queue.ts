import { StoreError, unavailable } from '../store.js';
import { type Batch, type Correction, callOf, newBatches } from './correction-batch.js';
import type { Delivery } from './delivery.js';
import { type Answer, type Operation, operationFailure } from './operation.js';
import { LateCallError } from './script-call.js';
import type { ScriptClient } from './script-client.js';

/** How long a correction is held and sent again, in milliseconds: a minute, and time to notice that Redis is back. */
const GIVE_UP_AFTER_MS = 75_000;
const CHECK_INTERVAL_MS = 500;
/** Corrections held while Redis is away. */
const MAX_HELD = 10_000;
/** Calls on their way at once. More corrections than these hold are collected, and make larger calls. */
const MAX_PARALLEL = 2;
/** The same in a Cluster, for what was held during an outage: a call has the corrections of one slot only. */
const MAX_PARALLEL_IN_CLUSTER = 64;

/**
 * Corrects charges exactly once, even if a reply is lost. Corrections that come together go out in one call (in a
 * Cluster in one for each slot) with a marker of its own. A call that the client could not deliver is sent again. During
 * an outage nothing is sent: corrections are held, up to 10,000, and sent in batches when Redis is back.
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

  /** Sends nothing until `retry`. */
  pause(): void {
    this.#isPaused = true;
    this.#postpone();
  }

  /** Sends what is held, now that Redis answers again. */
  retry(): void {
    this.#isPaused = false;
    this.#takeDropped();
    this.#pump();
  }

  /** Sends what waits for its turn. During an outage, gives up what is held, and what the client has if it drops that. */
  stop(): void {
    const batches = [...this.#batches, ...newBatches(this.#script, this.#unsent)];
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#unsent = [];
    this.#batches = [];
    if (!this.#isPaused) for (const batch of batches) void this.#deliver(batch);
    else if (batches.length > 0) {
      this.#lose(unavailable('the store was closed before Redis was back'), correctionsOf(batches));
    }
  }

  #flush(): void {
    const collected = this.#collected;
    this.#collected = [];
    // In a Cluster one silent server must not delay the corrections of the others.
    if (this.#isStopped || (this.#script.isCluster && !this.#isPaused)) {
      for (const batch of newBatches(this.#script, collected)) void this.#deliver(batch);
      return;
    }
    this.#unsent.push(...collected);
    this.#held += collected.length;
    if (this.#isPaused) {
      for (const { done } of collected) done();
      this.#bound();
    } else this.#pump();
  }

  /** What is held waits for Redis to come back, and its callers do not. */
  #postpone(): void {
    for (const { done } of this.#unsent) done();
    for (const { corrections } of this.#batches) for (const { done } of corrections) done();
    this.#bound();
  }

  #bound(): void {
    const excess = Math.min(this.#held - MAX_HELD, this.#unsent.length);
    if (excess > 0) {
      this.#held -= excess;
      this.#lose(tooMany(), this.#unsent.splice(-excess));
    }
    this.#check();
  }

  /** Sends what is held, a few calls at a time. */
  #pump(): void {
    if (this.#isPaused || this.#isStopped) return;
    const most = this.#script.isCluster ? MAX_PARALLEL_IN_CLUSTER : MAX_PARALLEL;
    while (this.#parallel < most && this.#held > 0) {
      if (this.#batches.length === 0) {
        this.#batches = [...newBatches(this.#script, this.#unsent)];
        this.#unsent = [];
      }
      const next = this.#batches.findIndex(({ slot }) => !this.#script.isAway(slot));
      const [batch] = next < 0 ? [] : this.#batches.splice(next, 1);
      if (batch === undefined) return;
      this.#held -= batch.corrections.length;
      this.#parallel++;
      void this.#deliver(batch).then((isAway) => {
        this.#parallel--;
        if (isAway) this.#check();
        else this.#pump();
      });
    }
  }

  /** Sends a batch, and returns whether Redis is away: then the rest waits for the next check. */
  async #deliver(batch: Batch): Promise<boolean> {
    const isFirst = batch.call === undefined;
    let delivery: Delivery | undefined;
    try {
      batch.call ??= callOf(batch, this.#script, this.#giveUpAfter);
      delivery = this.#script.deliver(batch.call);
      batch.order = delivery.order;
      this.#answered(batch, await delivery.inTime);
      return false;
    } catch (error) {
      // The server's clock has moved against our estimate. This call has changed nothing, and the next one is right.
      if (isFirst && error instanceof LateCallError) batch.call = undefined;
      const isAway = error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
      if (this.#keep(batch, error, isAway) && delivery !== undefined) this.#awaitClient(batch, delivery);
      return isAway;
    } finally {
      for (const { done } of batch.corrections) done();
    }
  }

  /** While the client has the call, it is not sent again: an outage would fill the client's memory with copies. */
  #awaitClient(batch: Batch, { eventually }: Delivery): void {
    this.#unanswered.add(batch);
    eventually.then(
      (answers) => {
        if (!this.#unanswered.delete(batch)) return;
        this.#held -= batch.corrections.length;
        this.#answered(batch, answers);
      },
      (error: unknown) => {
        if (!this.#unanswered.delete(batch)) return;
        if (this.#isStopped) this.#lose(error, batch.corrections);
        else this.#batches.push(batch);
      },
    );
  }

  #answered({ corrections }: Batch, answers: readonly Answer[]): void {
    corrections.forEach((correction, i) => {
      const answer = answers[i] as Answer;
      if (answer.status === 'admitted' || answer.status === 'refused') correction.onAnswer?.(answer);
      else this.#lose(operationFailure(correction.operation.keys, answer.status), [correction]);
    });
  }

  #lose(error: unknown, corrections: readonly Correction[]): void {
    for (const { operation } of corrections) operation.givenUp?.();
    this.#onLost(error, corrections.length);
  }

  /** Whether a batch that failed is held. */
  #keep({ corrections, giveUpAt }: Batch, error: unknown, isAway: boolean): boolean {
    const count = corrections.length;
    const isFull = this.#held - this.#unsent.length + count > MAX_HELD;
    if (!isAway || isFull || performance.now() >= giveUpAt) {
      this.#lose(isFull ? tooMany(error) : error, corrections);
      return false;
    }
    this.#held += count;
    this.#postpone();
    return true;
  }

  /** Looks after what is held, from time to time. */
  #check(): void {
    if (this.#held === 0 || this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#giveUp();
      this.#takeDropped();
      this.#pump();
      this.#check();
    }, CHECK_INTERVAL_MS).unref();
  }

  #giveUp(): void {
    const now = performance.now();
    const isHeld = ({ giveUpAt }: { readonly giveUpAt: number }) => now < giveUpAt;
    const batches = [...this.#batches, ...this.#unanswered].filter((batch) => !isHeld(batch));
    const lost = [...this.#unsent.filter((correction) => !isHeld(correction)), ...correctionsOf(batches)];
    this.#unsent = this.#unsent.filter(isHeld);
    this.#batches = this.#batches.filter(isHeld);
    for (const batch of this.#unanswered) if (!isHeld(batch)) this.#unanswered.delete(batch);
    this.#held = this.#unsent.length;
    for (const { corrections } of [...this.#batches, ...this.#unanswered]) this.#held += corrections.length;
    if (lost.length > 0) this.#lose(unavailable('Redis was away for too long to correct charges'), lost);
  }

  /** A batch that the client has dropped is sent again. */
  #takeDropped(): void {
    for (const batch of this.#unanswered) {
      if (batch.order >= this.#script.answeredUpTo) continue;
      this.#unanswered.delete(batch);
      this.#batches.push(batch);
    }
  }
}

function correctionsOf(batches: readonly Batch[]): readonly Correction[] {
  return batches.flatMap(({ corrections }) => corrections);
}

function tooMany(cause?: unknown): StoreError {
  return unavailable(`more than ${MAX_HELD} corrections wait for Redis`, cause);
}
