import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import type { Redis } from 'ioredis';
import { guard, sendReply } from '../../../src/adapters/express.js';
import type { Guard } from '../../../src/core/guard.js';
import { type JobQueue, jobs } from '../../../src/jobs/index.js';
import { redisJobStore } from '../../../src/redis.js';

export interface RestartOptions {
  readonly client: Redis;
  readonly prefix: string;
  /** Whether tasks wait for a slot that never gets free. */
  readonly isBusy: boolean;
}

/** A service with jobs in Redis: `/done`, `/running` and `/waiting` are functions, and `/task` is a task. */
export async function startRestartable({ client, prefix, isBusy }: RestartOptions) {
  const busy: Guard = () => (isBusy ? new Promise(() => {}) : undefined);
  const queue: JobQueue = jobs({
    store: redisJobStore({ client, prefix, pollInterval: '50ms', timeout: '10s' }),
    lease: '1s',
    tasks: { mesh: { guards: [busy], run: (_job, input: { faces: number }) => ({ made: input.faces }) } },
  });
  const app = express();
  const caller: Guard = (exchange) => {
    const [id = 'nobody'] = exchange.request.fieldLines('x-client');
    exchange.principal = { id, scheme: 'test', scopes: [], credentialId: id };
    return undefined;
  };
  const submissions = {
    '/done': { run: () => ({ faces: 9 }) },
    '/running': { run: () => new Promise(() => {}) },
    '/waiting': { guards: [busy], run: () => 1 },
    '/task': { task: 'mesh', input: { faces: 7 } },
  };
  for (const [path, submission] of Object.entries(submissions)) {
    app.post(path, guard(caller), async (req, res) => {
      sendReply(req, res, await queue.respond(req.exchange, submission));
    });
  }
  app.get('/jobs/:id', guard(caller, queue.status()));
  app.get('/jobs/:id/result', guard(caller, queue.result()));
  const server: Server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, queue };
}
