import { type Answer, type Operation, operationFailure } from './operation.js';
import { LateCallError, type ScriptCall } from './script-call.js';
import type { LateAnswers, ScriptClient } from './script-client.js';

/** Operations in one call of the script, at most. While the script runs, the server runs nothing else. */
const MAX_OPERATIONS = 200;
/** Up to this many operations go out in one call. While the server runs one call, this process prepares the next. */
const FEW_OPERATIONS = 25;
/** If more operations than these calls hold wait for their answers, calls are larger: each costs the server time of its own. */
const CALLS_AT_ONCE = 8;
/** Calls for the operations of one turn, if these hold them: the server remembers the replies to the latest calls only. */
const MANY_CALLS = 64;

interface Job {
  readonly operation: Operation;
  /** Whether it runs again, as the server's day was not the one that this process had assumed. */
  isRepeated: boolean;
  readonly finish: Finish<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What the promise of an operation resolves to: what this makes of the answer or, if there is none, of the error. It may
 * throw instead. It saves each operation a promise, and the objects that wait for it.
 */
export type Finish<T> = (answer: Answer | undefined, error: unknown) => T;

/**
 * Sends operations to Redis in batches: the operations of one turn of the event loop go out in a few calls of the script,
 * in a Cluster in calls for each slot.
 */
export class OperationBatcher {
  readonly #script: ScriptClient;
  readonly #onLate: LateAnswers;
  readonly #flush = () => this.#sendSome();
  #jobs: Job[] = [];
  /** Operations that were sent and not answered. */
  #unanswered = 0;

  /** `onLate` receives answers that came after their operations were rejected. */
  constructor(script: ScriptClient, onLate: LateAnswers) {
    this.#script = script;
    this.#onLate = onLate;
  }

  /**
   * Runs one operation, and resolves if it was admitted or refused. Rejects with a `StoreError` if Redis does not answer
   * within the timeout, or the counters cannot be used. `finish` may make something else of both.
   */
  run(operation: Operation): Promise<Answer>;
  run<T>(operation: Operation, finish: Finish<T>): Promise<T>;
  run(operation: Operation, finish: Finish<unknown> = asItIs): Promise<unknown> {
    return new Promise((resolve, reject) => this.#add({ operation, isRepeated: false, finish, resolve, reject }));
  }

  #add(job: Job): void {
    if (this.#jobs.push(job) === 1) setImmediate(this.#flush);
  }

  /**
   * Sends a part of the jobs, and the rest in the next turn of the event loop. A server that finds two calls at once answers
   * them together: it would be idle while this process reads the answers, and this process while the server runs.
   */
  #sendSome(): void {
    const jobs = this.#jobs;
    const most = Math.max(FEW_OPERATIONS, Math.ceil((jobs.length + this.#unanswered) / CALLS_AT_ONCE));
    const parts = this.#script.isCluster ? 1 : Math.min(MANY_CALLS, Math.ceil(jobs.length / most));
    const size = Math.ceil(jobs.length / parts);
    const some = parts === 1 ? jobs : jobs.splice(0, size);
    if (parts === 1) this.#jobs = [];
    else setImmediate(this.#flush);
    for (const batch of batchesOf(this.#script, some)) void this.#send(batch, true);
  }

  async #send(jobs: readonly Job[], mayRepeat: boolean): Promise<void> {
    this.#unanswered += jobs.length;
    let answers: readonly Answer[];
    try {
      answers = await this.#script.send(this.#callOf(jobs, mayRepeat), this.#onLate);
    } catch (error) {
      // The server's clock may have moved against ours. Its reply has just corrected our estimate.
      if (mayRepeat && error instanceof LateCallError) return this.#send(jobs, false);
      for (const job of jobs) finish(job, undefined, error);
      return;
    } finally {
      this.#unanswered -= jobs.length;
    }
    for (let i = 0; i < jobs.length; i++) this.#end(jobs[i] as Job, answers[i] as Answer);
  }

  #callOf(jobs: readonly Job[], mayRepeat: boolean): ScriptCall {
    const operations = jobs.map(({ operation }) => operation);
    const { timeout } = this.#script;
    return this.#script.prepare(operations, {
      rememberFor: timeout * 2,
      ownMarker: false,
      // In a Cluster, the estimate may come from a server with another clock. A late charge is then given back.
      expiresAfter: mayRepeat || !this.#script.isCluster ? timeout : undefined,
    });
  }

  #end(job: Job, answer: Answer): void {
    const { status } = answer;
    if (status === 'admitted' || status === 'refused') finish(job, answer, undefined);
    else if (status === 'other-day' && !job.isRepeated) {
      job.isRepeated = true;
      this.#add(job);
    } else finish(job, undefined, operationFailure(job.operation.keys, status));
  }
}

function finish(job: Job, answer: Answer | undefined, error: unknown): void {
  try {
    job.resolve(job.finish(answer, error) as never);
  } catch (reason) {
    job.reject(reason);
  }
}

const asItIs: Finish<Answer> = (answer, error) => {
  if (answer === undefined) throw error;
  return answer;
};

/** Divides operations into calls: all operations of a call are of one slot, and those of a slot make calls of equal size. */
export function batchesOf<T extends { readonly operation: Operation }>(
  script: ScriptClient,
  items: readonly T[],
  most = MAX_OPERATIONS,
): readonly (readonly T[])[] {
  if (!script.isCluster) return equalParts(items, most);
  const bySlot = new Map<number, T[]>();
  for (const item of items) {
    const slot = script.slotOf(item.operation);
    const ofSlot = bySlot.get(slot);
    if (ofSlot === undefined) bySlot.set(slot, [item]);
    else ofSlot.push(item);
  }
  return [...bySlot.values()].flatMap((ofSlot) => equalParts(ofSlot, most));
}

/** As few parts as possible of at most `most` items. */
function equalParts<T>(items: readonly T[], most: number): readonly (readonly T[])[] {
  if (items.length === 0) return [];
  if (items.length <= most) return [items];
  const size = Math.ceil(items.length / Math.ceil(items.length / most));
  const parts: (readonly T[])[] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}
