/** A process that sends requests to limits in a SQLite file as fast as they are answered, and notes what was admitted. */
import { openSync, writeSync } from 'node:fs';
import { isThenable } from '../../../src/core/thenable.js';
import { slidingWindow } from '../../../src/limit/policy.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import type { Order } from '../admit-order.js';

export interface Outcome {
  readonly admitted: number;
  readonly refused: number;
  /** Requests that the store could not decide about. */
  readonly failed: number;
  /** Decisions that waited for the lock. */
  readonly waited: number;
  /** The longest that the event loop stood still, in milliseconds. */
  readonly stall: number;
}

const store = sqliteStore({
  path: process.env.WORKER_PATH ?? '',
  timeout: '10s',
});
// Written at once, so that it is there if the process is killed.
const notes = openSync(process.env.WORKER_NOTES ?? '', 'a');

async function carryOut({ limit, window, keys, parallel, duration }: Order): Promise<Outcome> {
  const policies = [slidingWindow({ limit, window: `${window}ms` })];
  const outcome = { admitted: 0, refused: 0, failed: 0, waited: 0, stall: 0 };
  let requests = 0;
  const ask = async (): Promise<void> => {
    const key = keys[requests++ % keys.length] ?? '';
    try {
      const start = performance.now();
      const deciding = store.admit(policies, [key], [1]);
      outcome.stall = Math.max(outcome.stall, performance.now() - start);
      if (isThenable(deciding)) outcome.waited++;
      const decision = await deciding;
      outcome[decision.kind]++;
      if (decision.kind === 'admitted') writeSync(notes, `${key} ${decision.at}\n`);
    } catch {
      outcome.failed++;
    }
  };
  const until = Date.now() + duration;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      do {
        await ask();
        // Messages and signals are heard of in between.
        if (requests % 20 === 0) await new Promise(setImmediate);
      } while (Date.now() < until);
    }),
  );
  return outcome;
}

process.on('message', (order: Order) => {
  void carryOut(order).then((outcome) => process.send?.(outcome));
});
process.send?.('ready');
