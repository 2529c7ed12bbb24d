import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { guard as fastifyGuard } from '../../src/adapters/fastify.js';
import { createGuard } from '../../src/adapters/hono.js';
import { type Guard, limit, problem, refuse, slidingWindow } from '../../src/index.js';
import { upload } from '../../src/upload/upload.js';
import { Client } from '../raw-client.js';
import { MULTIPART, multipart } from '../upload/multipart.js';

const refusing: Guard = () => refuse(problem('scope-insufficient'));
const limited = () => limit({ by: 'global', policies: slidingWindow({ limit: 5, window: '1m' }) });
const left = async (guard: ReturnType<typeof limited>) => (await guard.peek('global'))[0]?.remaining;
const BODY = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"a":1}' };

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it.each([
  ['before', [], 5],
  ['after', [express.json()], 4],
] as const)('Express: a refusal %s a body parser leaves %3$i of 5', async (_, parsers, expected) => {
  const guard = limited();
  const app = express();
  app.post('/', expressGuard(guard), ...parsers, expressGuard(refusing));
  const host = await listening(createServer(app));
  expect((await fetch(`http://${host}/`, BODY)).status).toBe(403);
  expect(await left(guard)).toBe(expected);
});

it.each([
  ['onRequest', 5],
  ['preValidation', 4],
  ['preHandler', 4],
] as const)('Fastify: a refusal on %s leaves %i of 5', async (hook, expected) => {
  const guard = limited();
  const app = fastify();
  onTestFinished(() => app.close());
  app.addHook('onRequest', fastifyGuard(guard));
  app.post('/', { [hook]: fastifyGuard(refusing) }, () => ({}));
  const host = await app.listen({ host: '127.0.0.1', port: 0 });
  expect((await fetch(`${host}/`, BODY)).status).toBe(403);
  expect(await left(guard)).toBe(expected);
});

const guardOfHono = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.1' } }) });
const readAll: Guard = async ({ request }) => void (await request.readBody?.(1000));
const tooMuch: Guard = async ({ request }) => void (await request.readBody?.(3));
const discards: Guard = ({ request }) => {
  const body = request.openBody?.('discard');
  if (typeof body === 'object') body.resume();
  return undefined;
};
const isRead: Guard = async ({ request }): Promise<undefined> => {
  const body = request.openBody?.('read');
  if (typeof body === 'object') for await (const _ of body) return undefined;
  return undefined;
};

it.each<[what: string, guards: readonly Guard[], parse: boolean, expected: number]>([
  ['before anything has read the body', [], false, 5],
  ['after the framework has read it', [], true, 4],
  ['after a guard has read a copy', [readAll], false, 4],
  ['after a guard found that it announces too much', [tooMuch], false, 5],
  ['after a guard has read from it', [isRead], false, 4],
  ['after a guard has discarded it', [discards], false, 5],
])('Hono without Node: a refusal %s leaves %4$i of 5', async (_, guards, parse, expected) => {
  const guard = limited();
  const app = new Hono();
  app.use(guardOfHono(guard, ...guards));
  app.use(async (context, next) => {
    if (parse) await context.req.json();
    await next();
  });
  app.post('/', guardOfHono(refusing));
  const headers = { ...BODY.headers, 'Content-Length': '7' };
  expect((await app.request('/', { ...BODY, headers })).status).toBe(403);
  expect(await left(guard)).toBe(expected);
});

it.each([
  ['refuses its type before it is read', 'text/plain', 400, 5],
  ['refuses it on its last part', MULTIPART, 415, 4],
] as const)('HTTP/2: an upload that %s', async (_, type, status, expected) => {
  const guard = limited();
  const app = fastify({ http2: true });
  onTestFinished(() => app.close());
  const receive = upload({ files: { types: ['image/png'], maxBytes: '1mb' } });
  app.post('/', { onRequest: fastifyGuard(guard, receive) }, () => ({}));
  const host = await app.listen({ host: '127.0.0.1', port: 0 });
  const session = connectHttp2(host);
  onTestFinished(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/', 'content-type': type });
  stream.end(multipart([{ name: 'a', filename: 'a.png', body: 'not an image' }]));
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  expect(headers[':status']).toBe(status);
  expect(await left(guard)).toBe(expected);
});

it('a handler that settles in finally charges a client that leaves for what was spent', async () => {
  const guard = limit({ by: 'global', policies: slidingWindow({ limit: 100, window: '1h' }), cost: 30 });
  const app = express();
  let stop: () => void = () => undefined;
  let settled: Promise<unknown> = Promise.resolve();
  app.post('/', expressGuard(guard), async (request, response) => {
    const { admission, signal } = request.exchange;
    const job = new Promise<number>((resolve) => {
      stop = () => resolve(11);
      signal.addEventListener('abort', stop);
    });
    settled = (async () => {
      let seconds = 0;
      try {
        seconds = await job;
        response.json({});
      } finally {
        await admission?.settle(seconds);
      }
    })();
    await settled;
  });
  const [host = '', port] = (await listening(createServer(app))).split(':');
  expect(host).toBe('127.0.0.1');
  for (const expected of [89, 78, 67]) {
    const client = await Client.connect(Number(port));
    client.send('POST /');
    await expect.poll(async () => left(guard)).toBe(expected + 11 - 30);
    client.socket.resetAndDestroy();
    await expect.poll(async () => left(guard)).toBe(expected);
    await settled;
  }
});
