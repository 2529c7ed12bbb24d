import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '@hono/node-server';
import express, { type NextFunction, type Request, type Response } from 'express';
import fc from 'fast-check';
import fastify from 'fastify';
import { Hono } from 'hono';
import * as client from 'prom-client';
import { expect, it, onTestFinished } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import { gatewarden } from '../../../src/adapters/fastify.js';
import { guard as honoGuard } from '../../../src/adapters/hono.js';
import { concurrency, type Guard, limit, problem, refuse, sequence } from '../../../src/index.js';
import { metrics } from '../../../src/observe/metrics/index.js';
import { testExchange } from '../../exchange-fixture.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 50);

function measuring() {
  const register = new client.Registry();
  const measured = metrics({ client, register });
  const total = async (name: string) => {
    const { values } = (await register.getSingleMetric(`gatewarden_${name}`)?.get()) ?? { values: [] };
    return values.reduce((sum, { value }) => sum + value, 0);
  };
  return { measured, total };
}

async function originOf(server: Server): Promise<string> {
  if (!server.listening) await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Sends a request and leaves after a while, unless the answer has come. */
function leave(url: string, after: number): Promise<void> {
  return new Promise((resolve) => {
    const sent = request(url, (response) => response.resume());
    sent.on('error', () => undefined).on('close', resolve);
    sent.end();
    setTimeout(() => sent.destroy(), after);
  });
}

const refuses: Guard = () => refuse(problem('scope-insufficient'));
const late: Guard = () => sleep(20, undefined);

const SERVERS: Readonly<Record<string, (measured: Guard) => Server | Promise<Server>>> = {
  Express(measured) {
    const app = express();
    app.use(guard(measured));
    app.get('/ok', (_request, response) => void response.json({}));
    app.get('/never', () => undefined);
    app.get('/refused', guard(refuses), () => undefined);
    app.get('/late', guard(late), (_request, response) => void response.json({}));
    app.get('/throws', () => {
      throw new Error('a fault');
    });
    app.get('/cut', (_request, response) => void response.socket?.destroy());
    app.use((_error: unknown, _request: Request, response: Response, _next: NextFunction) => {
      response.status(500).end();
    });
    return createServer(app).listen(0, '127.0.0.1');
  },
  async Fastify(measured) {
    const app = fastify();
    await app.register(gatewarden, { guards: [measured] });
    app.get('/ok', () => ({}));
    app.get('/never', () => new Promise(() => undefined));
    app.get('/refused', { onRequest: (_request, reply) => void reply.code(403).send() }, () => undefined);
    app.get('/late', () => sleep(20, {}));
    app.get('/throws', () => Promise.reject(new Error('a fault')));
    app.get('/cut', (_request, reply) => void reply.hijack().raw.socket?.destroy());
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server;
  },
  Hono(measured) {
    const app = new Hono();
    app.onError((_error, c) => c.body(null, 500));
    app.use(honoGuard(measured));
    app.get('/ok', (c) => c.json({}));
    app.get('/never', () => new Promise<never>(() => undefined));
    app.get('/refused', honoGuard(refuses), (c) => c.json({}));
    app.get('/late', honoGuard(late), (c) => c.json({}));
    app.get('/throws', () => Promise.reject(new Error('a fault')));
    app.get('/cut', (c) => {
      (c.env as { incoming: { socket: { destroy(): void } } }).incoming.socket.destroy();
      return new Promise<never>(() => undefined);
    });
    return serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
  },
};

it.each(Object.keys(SERVERS))('nothing is left in flight in %s, however requests end', async (name) => {
  const { measured, total } = measuring();
  const origin = await originOf((await SERVERS[name]?.(measured)) as Server);
  const paths = ['/ok', '/refused', '/late', '/throws', '/cut', '/nowhere', '/ok?x=1'];
  for (let round = 0; round < 3; round++) {
    await Promise.all([
      ...paths.map(async (path) => {
        const answer = await fetch(origin + path).catch(() => undefined);
        await answer?.arrayBuffer().catch(() => undefined);
      }),
      ...['/never', '/late', '/ok', '/throws'].map((path, i) => leave(origin + path, i * 10)),
    ]);
  }
  await expect.poll(() => total('requests_in_flight')).toBe(0);
  expect(await total('requests_total')).toBeGreaterThanOrEqual(3 * paths.length);
});

it('nothing is left in flight, waiting or held after any interleaving of requests, ends and faults', async () => {
  const act = fc.record({
    does: fc.constantFrom('end', 'abort', 'refuse', 'throw', 'settle', 'release', 'wait' as const),
    gap: fc.integer({ min: 0, max: 2 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 12 }), async (acts) => {
      const { measured, total } = measuring();
      const slots = limit({
        by: 'global',
        policies: concurrency({ limit: 2, name: 'slots' }),
        queue: { by: () => 'client', maxWait: '50ms', maxWaiting: 3 },
      });
      const running: Promise<unknown>[] = [];
      for (const { does, gap } of acts) {
        const { exchange } = testExchange();
        const next: Guard = () => {
          if (does === 'throw') throw new Error('a fault');
          return does === 'refuse' ? refuse(problem('scope-insufficient')) : undefined;
        };
        const work = async () => {
          const reply = await sequence(measured, slots, next)(exchange);
          if (does === 'settle') await exchange.admission?.settle({ slots: 0 });
          if (does === 'release') await exchange.admission?.release();
          if (does === 'wait') await sleep(1);
          if (does === 'abort') exchange.abort();
          else exchange.end({ kind: 'completed', status: reply?.status ?? 200 });
        };
        running.push(work());
        if (does === 'abort' && gap === 0) exchange.abort();
        if (gap > 0) await sleep(gap);
      }
      await Promise.all(running);
      const left = await Promise.all(['requests_in_flight', 'requests_waiting', 'holds'].map(total));
      expect(left).toEqual([0, 0, 0]);
      expect(await total('requests_total')).toBe(acts.length);
    }),
    { numRuns: RUNS },
  );
});
