import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express5 from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { type Guard, problem, refuse } from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { Client } from '../raw-client.js';

describe('Express with its own listener for checkContinue', () => {
  async function send(path: string, length: number, expectation = '100-continue') {
    const app = express5();
    app.post(
      '/closed',
      guard(() => refuse(problem('credentials-missing'))),
    );
    app.post(
      '/upload',
      guard(upload({ files: { types: ['image/png'], maxBytes: 1000 } })),
      (_req, res) => void res.end(),
    );
    app.post(
      '/signed',
      guard(async ({ request }) => {
        await request.readBody?.(1000);
        return undefined;
      }),
      (_req, res) => void res.end('read'),
    );
    const server = createServer(app).listen(0, '127.0.0.1');
    server.on('checkContinue', app);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    await once(server, 'listening');
    const client = await Client.connect((server.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    const fields = [
      'Content-Type: multipart/form-data; boundary=b',
      `Content-Length: ${length}`,
      `Expect: ${expectation}`,
    ];
    client.send(`POST ${path}`, ...fields);
    return client;
  }

  it.each([
    ['/closed', 100, 401],
    ['/upload', 300_000_000, 413],
  ])('sends the refusal of %s before the client sends the body', async (path, length, status) => {
    expect((await (await send(path, length)).answer()).status).toBe(status);
  });

  it.each([
    ['/upload', 'not multipart at all', 400, '100-continue'],
    ['/signed', 'any body', 200, '100-continue'],
    ['/signed', 'any body', 200, '100-CONTINUE'],
  ])('sends 100 Continue when a guard of %s reads the body', async (path, body, status, expectation) => {
    const client = await send(path, body.length, expectation);
    expect((await client.answer(true)).status).toBe(100);
    client.socket.write(body);
    expect((await client.answer()).status).toBe(status);
  });
});

describe('Express with middleware that sets Vary', () => {
  const varying =
    (name: string): Guard =>
    (exchange) => {
      exchange.append('Vary', name);
      return undefined;
    };

  it.each<[string, (response: ServerResponse) => void]>([
    ['setHeader', (response) => response.setHeader('Vary', 'Accept')],
    ['writeHead', (response) => void response.writeHead(200, { vary: 'Accept' })],
    [
      'writeHead with a last argument of undefined',
      (response) => void Reflect.apply(response.writeHead, response, [200, { vary: 'Accept' }, undefined]),
    ],
    ['writeHead with a reason', (response) => void response.writeHead(200, 'Fine', { vary: 'Accept' })],
    ['writeHead with a list', (response) => void response.writeHead(200, ['vary', 'Accept'])],
  ])('%s keeps the Vary of guards', async (_how, write) => {
    const app = express5();
    app.use(guard(varying('Origin')));
    app.use((_request, response, next) => {
      response.setHeader('Vary', 'Accept-Encoding');
      next();
    });
    app.get('/', guard(varying('Accept-Language')), (_request, response) => {
      write(response);
      response.end();
    });
    const server = createServer(app).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const client = await Client.connect((server.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    client.send('GET /');
    const vary = (await client.answer()).field('vary') ?? '';
    expect(vary.toLowerCase().split(', ')).toEqual(expect.arrayContaining(['origin', 'accept', 'accept-language']));
  });
});
