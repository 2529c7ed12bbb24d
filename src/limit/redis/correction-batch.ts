import type { Answer, Operation } from './operation.js';
import type { ScriptCall } from './script-call.js';

/** A correction that has not been answered. */
export interface Correction {
  readonly operation: Operation;
  readonly onAnswer: ((answer: Answer) => void) | undefined;
  /** Tells the caller that the correction has taken effect, or is postponed. */
  readonly done: () => void;
  /** By `performance.now()`. */
  readonly giveUpAt: number;
}

/** Corrections that go out in one call. */
export interface Batch {
  readonly corrections: readonly Correction[];
  /** Undefined until it is sent for the first time. To send a batch again is to send the same call. */
  call: ScriptCall | undefined;
  /** By `performance.now()`. */
  giveUpAt: number;
  /** The place of its latest delivery among all deliveries. */
  order: number;
}

/** A batch that has not been sent. */
export function newBatch(corrections: readonly Correction[]): Batch {
  return { corrections, call: undefined, giveUpAt: corrections[0]?.giveUpAt ?? 0, order: 0 };
}
