/** A worker in a process of its own. It counts what really runs, apart from the table of jobs that keeps its rules. */

import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorkerServer } from '../../../examples/workers/worker-server.js';

/** What the worker says of one job. */
export interface WorkerReport {
  readonly kind: 'start' | 'end';
  readonly slot: string;
  readonly token: string;
  /** Jobs that run now, in all slots and in this one. */
  readonly running: number;
  readonly inSlot: number;
}

const running = new Map<string, number>();

function report(kind: WorkerReport['kind'], slot: string, token: string): void {
  const inSlot = (running.get(slot) ?? 0) + (kind === 'start' ? 1 : -1);
  running.set(slot, inSlot);
  const all = [...running.values()].reduce((sum, count) => sum + count, 0);
  process.send?.({ kind, slot, token, running: all, inSlot } satisfies WorkerReport);
}

const server = createWorkerServer(
  {
    name: 'worker',
    description: 'a worker that sleeps',
    jobs: {
      '/job': {
        maxBytes: 1024,
        read({ headers }, body) {
          const [slot, token] = [String(headers['x-slot']), String(headers['x-fencing-token'])];
          return async (signal) => {
            report('start', slot, token);
            try {
              await sleep(Number(body.toString()), undefined, { signal }).catch(() => undefined);
              return signal.aborted ? { stoppedAfter: 'while it slept' } : { body: Buffer.from('done'), note: 'done' };
            } finally {
              report('end', slot, token);
            }
          };
        },
      },
    },
  },
  {
    slots: Number(process.env.CHAOS_SLOTS),
    // It takes a moment to stop a GPU.
    stopSeconds: Number(process.env.CHAOS_STOP_SECONDS),
    log: () => undefined,
  },
);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
