import type { Answer, Operation } from './operation.js';
import { LateCallError } from './script-call.js';
import type { LateAnswers, ScriptClient } from './script-client.js';

/** Operations in one call of the script. While the script runs, the server runs nothing else. */
const MAX_OPERATIONS = 200;

interface Job {
  readonly operation: Operation;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Sends operations to Redis in batches: all operations of one turn of the event loop go out in one call of the script,
 * in a Cluster in one call for each slot.
 */
export class OperationBatcher {
  readonly #script: ScriptClient;
  readonly #onLate: LateAnswers;
  #jobs: Job[] = [];

  /** `onLate` receives answers that came after their operations were rejected. */
  constructor(script: ScriptClient, onLate: LateAnswers) {
    this.#script = script;
    this.#onLate = onLate;
  }

  /** Runs one operation. Rejects with a `StoreError` if Redis does not answer within the timeout. */
  run(operation: Operation): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ operation, resolve, reject });
      if (this.#jobs.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const batch of batchesOf(this.#script, jobs)) void this.#send(batch, true);
  }

  async #send(jobs: readonly Job[], mayRepeat: boolean): Promise<void> {
    try {
      const operations = jobs.map(({ operation }) => operation);
      const { timeout } = this.#script;
      const call = this.#script.prepare(operations, {
        rememberFor: timeout * 2,
        ownMarker: false,
        expiresAfter: timeout,
      });
      const answers = await this.#script.send(call, this.#onLate);
      jobs.forEach((job, i) => {
        job.resolve(answers[i] as Answer);
      });
    } catch (error) {
      // The server's clock may have moved against ours. Its reply has just corrected our estimate.
      if (mayRepeat && error instanceof LateCallError) return this.#send(jobs, false);
      for (const { reject } of jobs) reject(error);
    }
  }
}

/** Divides operations into calls: at most 200 in a call, and all of one slot. */
export function batchesOf<T extends { readonly operation: Operation }>(
  script: ScriptClient,
  items: readonly T[],
): readonly (readonly T[])[] {
  const batches: T[][] = [];
  const openBatches = new Map<number, T[]>();
  for (const item of items) {
    const slot = script.slotOf(item.operation);
    let batch = openBatches.get(slot);
    if (batch === undefined || batch.length === MAX_OPERATIONS) {
      batch = [];
      batches.push(batch);
      openBatches.set(slot, batch);
    }
    batch.push(item);
  }
  return batches;
}
