import type { Answer, Operation } from './operation.js';
import { batchesOf } from './operation-batcher.js';
import type { ScriptCall } from './script-call.js';
import type { ScriptClient } from './script-client.js';

/** How much longer the server remembers that it has run a call than the call may run, in milliseconds. */
const REMEMBER_LONGER = 15_000;

/** A correction that has not been answered. */
export interface Correction {
  readonly operation: Operation;
  readonly onAnswer: ((answer: Answer) => void) | undefined;
  /** Call it when the correction has taken effect, or is postponed. */
  readonly done: () => void;
  /** By `performance.now()`. */
  readonly giveUpAt: number;
}

/** Corrections that go out in one call. */
export interface Batch {
  readonly corrections: readonly Correction[];
  readonly slot: number;
  /** Undefined until it is sent for the first time. To send a batch again is to send the same call. */
  call: ScriptCall | undefined;
  /** By `performance.now()`. */
  giveUpAt: number;
  /** The place of its latest delivery among all deliveries. */
  order: number;
}

/** Batches that have not been sent. In a Cluster, each has corrections of one slot. */
export function newBatches(script: ScriptClient, corrections: readonly Correction[]): readonly Batch[] {
  return batchesOf(script, corrections).map((ofCall) => {
    const [first] = ofCall;
    const slot = first === undefined ? 0 : script.slotOf(first.operation);
    return { corrections: ofCall, slot, call: undefined, giveUpAt: first?.giveUpAt ?? 0, order: 0 };
  });
}

/** The call of a batch that has none yet. `giveUpAfter` in milliseconds. */
export function callOf(batch: Batch, script: ScriptClient, giveUpAfter: number): ScriptCall {
  // The server runs it for a little longer than that, as its time is not known exactly.
  batch.giveUpAt = performance.now() + giveUpAfter + script.clock.uncertainty;
  return script.prepare(
    batch.corrections.map(({ operation }) => operation),
    // Nor may the client deliver it later: by then the server has forgotten whether it has run the call.
    { rememberFor: giveUpAfter + REMEMBER_LONGER, ownMarker: true, expiresAfter: giveUpAfter },
  );
}
