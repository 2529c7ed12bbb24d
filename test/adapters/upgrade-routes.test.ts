import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import websocket from '@fastify/websocket';
import { createAdaptorServer, upgradeWebSocket } from '@hono/node-server';
import fastify from 'fastify';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { guard as fastifyGuard } from '../../src/adapters/fastify.js';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import { exchangeOf, guardUpgrade } from '../../src/adapters/upgrade.js';
import { concurrency, type Exchange, type Guard, limit, memoryStore, webSocketOrigin } from '../../src/index.js';
import { BEARER, handshake, opened, record, refused, secret } from '../contracts/upgrade.js';

const slot = (): Guard => limit({ store: memoryStore(), policies: concurrency({ limit: 1, by: 'global' }) });

async function closed(socket: WebSocket): Promise<void> {
  const gone = once(socket, 'close');
  socket.close();
  await gone;
}

/** A WebSocket on a route of Fastify, behind its hooks. */
async function onFastify(route: readonly Guard[], before: readonly Guard[] = []) {
  const app = fastify();
  const seen: Exchange[] = [];
  await app.register(websocket);
  app.get('/ws', { websocket: true, onRequest: fastifyGuard(...(route as [Guard])) }, (_socket, request) => {
    seen.push(request.exchange);
  });
  await app.ready();
  if (before.length > 0) guardUpgrade(app.server, ...before);
  await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(async () => {
    for (const socket of app.websocketServer.clients) socket.terminate();
    await app.close();
  });
  return { port: (app.server.address() as AddressInfo).port, seen };
}

describe('guards on a WebSocket route of Fastify', () => {
  it('refuse before the upgrade, and foreign pages', async () => {
    const { watch, outcomes } = record();
    const { port, seen } = await onFastify([watch, secret(), webSocketOrigin()]);
    expect(await refused(port)).toMatchObject({ status: 401, body: { code: 'credentials-missing' } });
    expect(await refused(port, { ...BEARER, Origin: 'https://evil.example' })).toMatchObject({
      status: 403,
      body: { code: 'origin-untrusted' },
    });
    await closed(await opened(port, { ...BEARER, Origin: `http://127.0.0.1:${port}` }));
    expect(seen).toHaveLength(1);
    expect(outcomes.slice(0, 2)).toEqual([
      { kind: 'refused', status: 401, code: 'credentials-missing' },
      { kind: 'refused', status: 403, code: 'origin-untrusted' },
    ]);
  });

  it('hold a slot for the life of the connection', async () => {
    const { port } = await onFastify([slot()]);
    const first = await opened(port);
    expect((await refused(port)).status).toBe(503);
    await closed(first);
    await expect.poll(async () => (await handshake(port)) instanceof WebSocket).toBe(true);
  });

  it('share their exchange with guardUpgrade, and refuse after it', async () => {
    const { watch, exchanges, outcomes } = record();
    const { port, seen } = await onFastify([watch, secret()], [watch]);
    expect(await refused(port)).toMatchObject({ status: 401, body: { code: 'credentials-missing' } });
    const socket = await opened(port, BEARER);
    await expect.poll(() => seen.length).toBe(1);
    expect(exchanges).toHaveLength(4);
    expect(new Set(exchanges).size).toBe(2);
    expect(seen[0]).toBe(exchanges[3]);
    await closed(socket);
    await expect.poll(() => outcomes.length).toBe(4);
    expect(outcomes.slice(2)).toEqual(Array(2).fill({ kind: 'completed', status: 101 }));
  });
});

/** A WebSocket on a route of Hono. */
async function onHono(route: readonly Guard[], before: readonly Guard[] = []) {
  const app = new Hono<{ Bindings: { incoming: IncomingMessage } }>();
  const seen: Exchange[] = [];
  app.get(
    '/ws',
    honoGuard(...route),
    upgradeWebSocket((context) => {
      seen.push(context.var.exchange);
      if (before.length > 0) seen.push(exchangeOf(context.env.incoming));
      return {};
    }),
  );
  const webSocketServer = new WebSocketServer({ noServer: true });
  const server = createAdaptorServer({ fetch: app.fetch, websocket: { server: webSocketServer as never } }) as Server;
  if (before.length > 0) guardUpgrade(server, ...before);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of webSocketServer.clients) socket.terminate();
    const gone = once(server, 'close');
    server.close();
    await gone;
  });
  return { port: (server.address() as AddressInfo).port, seen };
}

it('guards on a WebSocket route of Hono hold a slot for the life of the connection without guardUpgrade too', async () => {
  const { watch, outcomes } = record();
  const { port } = await onHono([watch, secret(), slot()]);
  expect((await refused(port)).status).toBe(401);
  const socket = await opened(port, BEARER);
  expect((await refused(port, BEARER)).status).toBe(503);
  await closed(socket);
  await expect.poll(() => outcomes.at(-1)).toEqual({ kind: 'aborted' });
  const next = await opened(port, BEARER);
  expect(outcomes).toHaveLength(3);
  await closed(next);
});

it('guards on a WebSocket route of Hono share their exchange with guardUpgrade, and hold a slot until it ends', async () => {
  const { watch, exchanges, outcomes } = record();
  const { port, seen } = await onHono([watch, secret(), slot()], [watch]);
  expect((await refused(port)).status).toBe(401);
  const socket = await opened(port, BEARER);
  expect((await refused(port, BEARER)).status).toBe(503);
  expect(seen).toEqual([exchanges[2], exchanges[2]]);
  await closed(socket);
  await expect.poll(async () => (await handshake(port, BEARER)) instanceof WebSocket).toBe(true);
  expect(outcomes.filter((outcome) => outcome.kind === 'completed' && outcome.status === 101)).toHaveLength(2);
});
