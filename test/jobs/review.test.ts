import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard as expressGuard, sendReply as sendExpress } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden, sendReply as sendFastify } from '../../src/adapters/fastify.js';
import { guard as honoGuard, sendReply as sendHono } from '../../src/adapters/hono.js';
import { type Exchange, type Guard, jsonReply, type Reply } from '../../src/index.js';
import { idempotent, type JobStore, jobs, memoryJobStore } from '../../src/jobs/index.js';
import { testExchange } from '../exchange-fixture.js';
import { listening } from '../worker/scene.js';

type Answer = (exchange: Exchange) => Promise<Reply>;

/** Serves POST with the reply that a handler sends, or a guard returns. */
const SENDERS: readonly (readonly [
  name: string,
  serve: (guards: readonly Guard[], answer: Answer) => Promise<string>,
])[] = [
  [
    'a handler of Express',
    (guards, answer) => {
      const app = express();
      app.post('/', expressGuard(...guards), async (req, res) => sendExpress(req, res, await answer(req.exchange)));
      return listening(createServer(app));
    },
  ],
  [
    'a guard behind Express',
    (guards, answer) => {
      const app = express();
      app.post('/', expressGuard(...guards, answer));
      return listening(createServer(app));
    },
  ],
  [
    'a handler of Fastify',
    async (guards, answer) => {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.post('/', { onRequest: fastifyGuard(...guards) }, async (req, reply) =>
        sendFastify(req, reply, await answer(req.exchange)),
      );
      onTestFinished(() => app.close());
      return app.listen({ host: '127.0.0.1', port: 0 });
    },
  ],
  [
    'a handler of Hono',
    (guards, answer) => {
      const app = new Hono();
      app.post('/', honoGuard(...guards), async (c) => sendHono(c, await answer(c.var.exchange)));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
  [
    'a guard behind Hono',
    (guards, answer) => {
      const app = new Hono();
      app.post('/', honoGuard(...guards, answer), (c) => c.text('unreached'));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
];

const deferred = <T = void>() => {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
};

describe.each(SENDERS)('a reply that %s sends', (_name, serve) => {
  it('is remembered also if the client left while a job was submitted, so a repeat starts no second job', async () => {
    let started = 0;
    const [begun, goOn, left] = [deferred(), deferred(), deferred()];
    const url = await serve([idempotent()], async (exchange) => {
      started++;
      exchange.onEnd(() => left.resolve());
      begun.resolve();
      await goOn.promise;
      return jsonReply(202, { id: started }, [['Location', `/jobs/${started}`]]);
    });
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers }).on('error', () => undefined);
    first.end('{}');
    await begun.promise;
    first.destroy();
    await left.promise;
    goOn.resolve();
    const repeat = await fetch(url, { method: 'POST', headers, body: '{}', signal: AbortSignal.timeout(3000) });
    expect({
      started,
      status: repeat.status,
      location: repeat.headers.get('location'),
      replayed: repeat.headers.get('idempotency-replayed'),
      body: await repeat.json(),
    }).toEqual({ started: 1, status: 202, location: '/jobs/1', replayed: 'true', body: { id: 1 } });
  });
});

describe('a client that leaves', () => {
  it('while a parser reads its large body does not get the error of the parser for its repeat', async () => {
    const app = express();
    app.set('env', 'test');
    const left = deferred();
    app.post(
      '/',
      expressGuard(idempotent({ maxRequestBytes: '1kb' }), ({ onEnd }) => void onEnd),
      (req, _res, next) => {
        req.exchange.onEnd(() => left.resolve());
        next();
      },
      express.json({ limit: '1mb' }),
      (req, res) => void res.json({ length: req.body.prompt.length }),
    );
    const url = await listening(createServer(app));
    const body = JSON.stringify({ prompt: 'x'.repeat(5000) });
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers: { ...headers, 'content-length': body.length } });
    first.on('error', () => undefined);
    first.write(body.slice(0, 2000));
    setTimeout(() => first.destroy(), 100);
    await left.promise;
    const repeat = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(3000) });
    expect(await repeat.json()).toEqual({ length: 5000 });
  });

  it.each(['Express', 'Fastify'])('between two guards of %s frees its key at once', async (name) => {
    let runs = 0;
    const [begun, left] = [deferred(), deferred()];
    const wait = async (exchange: Exchange | undefined) => {
      if (runs > 0) return;
      runs++;
      exchange?.onEnd(() => left.resolve());
      begun.resolve();
      await left.promise;
    };
    const pass: Guard = () => undefined;
    let url: string;
    if (name === 'Express') {
      const app = express();
      app.post(
        '/',
        expressGuard(idempotent()),
        (req, _res, next) => void wait(req.exchange).then(next),
        expressGuard(pass),
        (_req, res) => void res.json('ran'),
      );
      url = await listening(createServer(app));
    } else {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.post(
        '/',
        { onRequest: [fastifyGuard(idempotent()), (req) => wait(req.exchange), fastifyGuard(pass)] },
        async () => '"ran"',
      );
      onTestFinished(() => app.close());
      url = await app.listen({ host: '127.0.0.1', port: 0 });
    }
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers }).on('error', () => undefined);
    first.end('{}');
    await begun.promise;
    first.destroy();
    const repeat = await fetch(url, { method: 'POST', headers, body: '{}', signal: AbortSignal.timeout(3000) });
    expect(await repeat.text()).toBe('"ran"');
  });
});
