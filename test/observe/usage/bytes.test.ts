import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import { gatewarden } from '../../../src/adapters/fastify.js';
import { type Ledger, memoryLedger, meterUsage } from '../../../src/index.js';

async function expressServer(ledger: Ledger): Promise<Server> {
  const app = express();
  app.use(guard(meterUsage({ ledger })));
  app.post('/', express.text(), (req, res) => {
    if (req.body === 'stream') {
      res.write('some ');
      setImmediate(() => res.end('more'));
    } else res.send(`got ${req.body}`);
  });
  return createServer(app).listen(0, '127.0.0.1');
}

async function fastifyServer(ledger: Ledger): Promise<Server> {
  const app = fastify();
  onTestFinished(() => app.close());
  await app.register(gatewarden, { guards: [meterUsage({ ledger })] });
  app.post('/', (request) => `got ${request.body}`);
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app.server;
}

it('a length that no body has counts as none', async () => {
  const ledger = memoryLedger();
  const server = await expressServer(ledger);
  if (!server.listening) await once(server, 'listening');
  onTestFinished(() => void server.close());
  for (const length of [2 ** 40 + 1, Number.MAX_SAFE_INTEGER]) {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: ${length}\r\n\r\n`);
    await once(socket, 'data');
    socket.destroy();
  }
  await expect.poll(() => ledger.read().rows).toMatchObject([{ client: 'anonymous', requests: 2, bytesIn: 0 }]);
});

it.each([
  ['express', expressServer],
  ['fastify', fastifyServer],
] as const)('the bytes of three requests on one connection are counted: %s', async (_name, start) => {
  const ledger = memoryLedger();
  const server = await start(ledger);
  if (!server.listening) await once(server, 'listening');
  onTestFinished(() => void server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let received = 0;
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk.length;
    text += chunk;
  });
  const bodies = ['hello', 'stream', 'x'.repeat(3000)];
  for (const [i, body] of bodies.entries()) {
    socket.write(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await expect.poll(() => ledger.read().rows[0]?.requests).toBe(i + 1);
    await expect.poll(() => text.split('HTTP/1.1 200').length).toBe(i + 2);
  }
  socket.destroy();
  expect(ledger.read().rows).toMatchObject([{ client: 'anonymous', requests: 3, bytesIn: 3011, bytesOut: received }]);
  expect(received).toBeGreaterThan(3000);
});
