import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import websocket from '@fastify/websocket';
import { createAdaptorServer, upgradeWebSocket } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { type WebSocket, WebSocketServer } from 'ws';
import { exchangeOf } from '../../src/adapters/upgrade.js';
import type { Exchange } from '../../src/index.js';
import { type UpgradeService, upgradeContract } from '../contracts/upgrade.js';

async function listening(
  server: Server,
  connected: UpgradeService['connected'],
  stop: () => void = () => undefined,
): Promise<UpgradeService> {
  if (!server.listening) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => sockets.add(socket));
  return {
    server,
    port: (server.address() as AddressInfo).port,
    connected,
    async close() {
      stop();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function echo(server: WebSocketServer, connected: (Exchange | undefined)[]): void {
  server.on('connection', (socket: WebSocket, request: IncomingMessage) => {
    connected.push(exchangeOf(request));
    socket.on('error', () => undefined);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
}

function expressApp() {
  const app = express();
  app.get('/', (_request, response) => void response.json({ ok: true }));
  return app;
}

upgradeContract('Express, with ws on its server', async (arm) => {
  const server = createServer(expressApp());
  const connected: Exchange[] = [];
  // Added before the guards, which come first all the same.
  const webSocketServer = new WebSocketServer({ server, path: '/ws' });
  echo(webSocketServer, connected);
  arm(server);
  return listening(server, connected, () => webSocketServer.close());
});

upgradeContract('Express, with ws and a listener of its own', async (arm) => {
  const server = createServer(expressApp());
  arm(server);
  const connected: Exchange[] = [];
  const webSocketServer = new WebSocketServer({ noServer: true });
  echo(webSocketServer, connected);
  server.on('upgrade', (request, socket, head) => {
    webSocketServer.handleUpgrade(request, socket, head, (webSocket) =>
      webSocketServer.emit('connection', webSocket, request),
    );
  });
  return listening(server, connected);
});

upgradeContract('Fastify, with @fastify/websocket', async (arm) => {
  const app = fastify();
  const connected: (Exchange | undefined)[] = [];
  await app.register(websocket);
  app.get('/', () => ({ ok: true }));
  app.get('/ws', { websocket: true }, (socket, request) => {
    connected.push(exchangeOf(request.raw));
    socket.on('message', (data: Buffer, isBinary: boolean) => socket.send(data, { binary: isBinary }));
  });
  await app.ready();
  arm(app.server);
  const service = await listening(app.server, connected);
  return {
    ...service,
    async close() {
      for (const socket of app.websocketServer.clients) socket.terminate();
      await service.close();
    },
  };
});

upgradeContract("Hono on Node, with the server's own WebSockets", async (arm) => {
  const app = new Hono<{ Bindings: { incoming: IncomingMessage } }>();
  const connected: (Exchange | undefined)[] = [];
  app.get('/', (context) => context.json({ ok: true }));
  app.get(
    '/ws',
    upgradeWebSocket((context) => {
      const exchange = exchangeOf(context.env.incoming);
      return {
        onOpen: () => void connected.push(exchange),
        onMessage: (event, socket) => socket.send(event.data as string),
      };
    }),
  );
  const webSocketServer = new WebSocketServer({ noServer: true });
  const server = createAdaptorServer({ fetch: app.fetch, websocket: { server: webSocketServer as never } }) as Server;
  arm(server);
  return listening(server, connected, () => {
    for (const socket of webSocketServer.clients) socket.terminate();
  });
});
