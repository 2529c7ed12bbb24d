/** A worker in a process of its own. Besides the table of its jobs, it counts what has really run. */
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorkerServer } from '../../../../examples/workers/worker-server.js';

let started = 0;
let measured = 0;

const server = createWorkerServer(
  {
    name: 'worker',
    description: 'a worker that sleeps',
    jobs: {
      '/job': {
        maxBytes: 65_536,
        read(_request, body) {
          const [ms = '0', how = ''] = body.toString().trim().split(' ');
          if (how === 'bad') return { status: 400, error: 'the body is bad' };
          return async (signal) => {
            started++;
            const startedAt = performance.now();
            await sleep(Number(ms), undefined, { signal }).catch(() => undefined);
            measured += performance.now() - startedAt;
            if (signal.aborted) return { stoppedAfter: 'while it slept' };
            return how === 'fail' ? { failed: 'the GPU is on fire' } : { body: Buffer.from('done'), note: 'done' };
          };
        },
      },
    },
  },
  // It takes a moment to stop a GPU.
  { slots: 2, stopSeconds: 0.05, log: () => undefined },
);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('message', () => process.send?.({ started, measured }));
