import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { createWorkerServer, type WorkerOptions } from '../../examples/workers/worker-server.js';

/** Closes a server, and its connections, after the test. */
export async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A worker whose jobs take as many milliseconds as their body says, and what it has seen. */
export async function sleepingWorker(options: WorkerOptions = {}) {
  const seen = {
    /** Method and path of every request. */
    requests: [] as string[],
    /** Headers of jobs. */
    jobs: [] as IncomingMessage['headers'][],
    /** A line for each job that was answered. */
    log: [] as string[],
    running: 0,
    most: 0,
    /** Jobs that ran at the same time as another one in their slot. */
    doubled: 0,
  };
  const slots = new Set<unknown>();
  const server = createWorkerServer(
    {
      name: 'worker',
      description: 'a worker that sleeps',
      jobs: {
        '/job': {
          maxBytes: 1024,
          read({ headers }, body) {
            const text = body.toString();
            if (text === 'bad') return { status: 400, error: 'the body is bad' };
            return async (signal) => {
              seen.running++;
              seen.most = Math.max(seen.most, seen.running);
              if (slots.has(headers['x-slot'])) seen.doubled++;
              slots.add(headers['x-slot']);
              try {
                await sleep(Number(text) || 0, undefined, { signal }).catch(() => undefined);
                if (signal.aborted) return { stoppedAfter: 'while it slept' };
                if (text === 'fail') return { failed: 'the GPU is on fire' };
                return { body: Buffer.from(`slept ${text}`), note: 'done' };
              } finally {
                seen.running--;
                slots.delete(headers['x-slot']);
              }
            };
          },
        },
      },
    },
    { log: (line) => seen.log.push(line), ...options },
  );
  server.prependListener('request', (request: IncomingMessage) => {
    seen.requests.push(`${request.method} ${request.url?.replace(/\d{5,}/, 'token')}`);
    if (request.method === 'POST') seen.jobs.push(request.headers);
  });
  const url = await listening(server);
  /** How often a request was made. */
  const count = (what: string) => seen.requests.filter((request) => request.startsWith(what)).length;
  return { seen, server, url, count };
}

/** Nothing listens there: the port is below those that the system gives away, and fetch does not block it. */
export const CLOSED_URL = 'http://127.0.0.1:2';
