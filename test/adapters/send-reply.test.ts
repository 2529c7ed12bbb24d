import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard as expressGuard, sendReply as sendExpress } from '../../src/adapters/express.js';
import { guard as fastifyGuard, sendReply as sendFastify } from '../../src/adapters/fastify.js';
import { guard as honoGuard, sendReply as sendHono } from '../../src/adapters/hono.js';
import { type Guard, jsonReply, type Outcome, problem, type Reply, refuse } from '../../src/index.js';
import { listening } from '../worker/scene.js';

/** Serves a handler that sends `reply`, behind guards if there are any. */
type Serve = (guards: readonly Guard[], reply: () => Reply) => Promise<string>;

const FRAMEWORKS: readonly (readonly [name: string, serve: Serve])[] = [
  [
    'Express',
    (guards, reply) => {
      const app = express();
      for (const guard of guards) app.use(expressGuard(guard));
      app.get('/', async (req, res) => sendExpress(req, res, reply()));
      return listening(createServer(app));
    },
  ],
  [
    'Fastify',
    async (guards, reply) => {
      const app = fastify();
      app.addHook('onSend', async (_request, framework) => void framework.header('X-Late', 'yes'));
      const hooks = guards.map((guard) => fastifyGuard(guard));
      app.get('/', { onRequest: hooks }, async (request, framework) =>
        sendFastify(request, framework.header('X-Own', 'yes'), reply()),
      );
      await app.ready();
      onTestFinished(() => app.close());
      return listening(app.server);
    },
  ],
  [
    'Hono',
    (guards, reply) => {
      const app = new Hono();
      app.onError((error, c) => c.text(error.message, 500));
      for (const guard of guards) app.use(honoGuard(guard));
      app.get('/', (c) => sendHono(c, reply()));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
];

describe.each(FRAMEWORKS)('sendReply of %s', (name, serve) => {
  function watched(outcomes: Outcome[]): Guard {
    return (exchange) => {
      exchange.set('X-Guarded', 'yes');
      exchange.onEnd((outcome) => outcomes.push(outcome));
      return undefined;
    };
  }

  it.each<readonly [what: string, reply: Reply, body: string, outcome: Outcome]>([
    ['JSON', jsonReply(202, { id: 7 }, [['Location', '/jobs/7']]), '{"id":7}', { kind: 'completed', status: 202 }],
    [
      'a problem',
      refuse(problem('jobs-full'), [['Retry-After', '5']]),
      JSON.stringify(problem('jobs-full')),
      { kind: 'refused', status: 503, code: 'jobs-full' },
    ],
    [
      'a stream',
      {
        status: 200,
        headers: [['Content-Type', 'text/plain']],
        problem: undefined,
        stream: () => Readable.from(['abc']),
      },
      'abc',
      { kind: 'completed', status: 200 },
    ],
  ])('sends %s, and ends the exchange so', async (_what, reply, body, outcome) => {
    const outcomes: Outcome[] = [];
    const url = await serve([watched(outcomes)], () => reply);
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([reply.status, body]);
    for (const [field, value] of reply.headers) expect(response.headers.get(field)).toBe(value);
    expect(response.headers.get('x-guarded')).toBe('yes');
    if (name === 'Fastify') expect(response.headers.get('x-own')).toBe('yes');
    await expect.poll(() => outcomes).toEqual([outcome]);
  });

  it('without a guard on the route says so', async () => {
    const url = await serve([], () => jsonReply(200, {}));
    const response = await fetch(url);
    // Express has no need of it.
    if (name === 'Express') expect(response.status).toBe(200);
    else expect([response.status, await response.text()]).toEqual([500, expect.stringContaining('needs guard(...)')]);
  });
});
