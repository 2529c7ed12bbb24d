import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { onTestFinished } from 'vitest';
import { guard as expressGuard, sendReply as sendExpress } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden, sendReply as sendFastify } from '../../src/adapters/fastify.js';
import { guard as honoGuard, sendReply as sendHono } from '../../src/adapters/hono.js';
import {
  apiKeys,
  authenticate,
  type Exchange,
  type Guard,
  generateApiKey,
  type Reply,
  reportFaults,
  rotateApiKey,
} from '../../src/index.js';
import type { JobQueue, RunningJob } from '../../src/jobs/index.js';
import { listening } from '../worker/scene.js';

const alice = generateApiKey({ clientId: 'alice' });
const rotated = rotateApiKey(alice.record, { overlap: '1h' });
const bob = generateApiKey({ clientId: 'bob' });
const admin = generateApiKey({ clientId: 'root', scopes: ['admin'] });

/** Keys of two clients and an administrator. The first client has two. */
export const KEYS = { alice: alice.key, rotated: rotated.key, bob: bob.key, admin: admin.key };
export type Caller = keyof typeof KEYS;

export const keyOf = (caller: Caller) => ({ authorization: `Bearer ${KEYS[caller]}` });

/** Whoever sends a key must have a valid one. */
export function optionalKeys(): Guard {
  return authenticate(apiKeys({ keys: [rotated.record, bob.record, admin.record] }), { optional: true });
}

/** Serves a queue. `POST /jobs` answers with `submit`. Returns the URL. */
export type ServeJobs = (
  queue: JobQueue,
  submit: (exchange: Exchange) => Promise<Reply>,
  faults?: unknown[],
) => Promise<string>;

/** The guards in front of everything, and those of each route. */
function routesOf(queue: JobQueue, faults: unknown[]) {
  return {
    all: [reportFaults((error) => faults.push(error)), optionalKeys()],
    get: [
      ['/jobs/:id', queue.status()],
      ['/jobs/:id/events', queue.events()],
      ['/jobs/:id/result', queue.result()],
      ['/jobs/:id/files/:name', queue.result({ file: 'name' })],
      ['/jobs/:id/own', queue.requireOwner()],
    ] as readonly (readonly [path: string, guard: Guard])[],
    cancel: queue.cancel(),
  };
}

export const FRAMEWORKS: readonly (readonly [name: string, serve: ServeJobs])[] = [
  [
    'Express',
    (queue, submit, faults = []) => {
      const { all, get, cancel } = routesOf(queue, faults);
      const app = express();
      app.set('env', 'test').disable('x-powered-by');
      app.use(expressGuard(...all));
      app.post('/jobs', async (req, res) => sendExpress(req, res, await submit(req.exchange)));
      for (const [path, guard] of get) app.get(path, expressGuard(guard), (_req, res) => void res.json('own'));
      app.delete('/jobs/:id', expressGuard(cancel));
      return listening(createServer(app));
    },
  ],
  [
    'Fastify',
    async (queue, submit, faults = []) => {
      const { all, get, cancel } = routesOf(queue, faults);
      const app = fastify();
      await app.register(gatewarden, { guards: all });
      app.post('/jobs', async (request, reply) => sendFastify(request, reply, await submit(request.exchange)));
      for (const [path, guard] of get) app.get(path, { onRequest: fastifyGuard(guard) }, async () => '"own"');
      app.delete('/jobs/:id', { onRequest: fastifyGuard(cancel) }, async () => 'unreached');
      await app.ready();
      onTestFinished(() => app.close());
      return listening(app.server);
    },
  ],
  [
    'Hono',
    (queue, submit, faults = []) => {
      const { all, get, cancel } = routesOf(queue, faults);
      const app = new Hono();
      app.use(honoGuard(...all));
      app.post('/jobs', async (c) => sendHono(c, await submit(c.var.exchange)));
      for (const [path, guard] of get) app.get(path, honoGuard(guard), (c) => c.json('own'));
      app.delete('/jobs/:id', honoGuard(cancel), (c) => c.json('unreached'));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
];

/** A job that ends when the test says so. */
export function controlled() {
  let job: RunningJob | undefined;
  let finish: (result: unknown) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const result = new Promise<unknown>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  // A job that never runs does not look at it.
  result.catch(() => undefined);
  let started: () => void = () => undefined;
  const running = new Promise<void>((resolve) => {
    started = resolve;
  });
  return {
    /** Fulfilled when the job runs. */
    running,
    get job(): RunningJob {
      if (job === undefined) throw new Error('the job does not run yet');
      return job;
    },
    finish: (value?: unknown) => finish(value),
    fail: (error: unknown) => fail(error),
    run: (given: RunningJob) => {
      job = given;
      started();
      return result;
    },
  };
}
