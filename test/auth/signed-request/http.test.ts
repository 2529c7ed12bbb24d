import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import express4 from 'express4';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import type { Guard } from '../../../src/core/guard.js';
import { principalOf } from '../../../src/core/principal.js';
import { connectTo, talk, turns } from '../../adapters/talk.js';
import { BODY, bytesOf, type Expected, MAX_BODY, service, signed } from './signed-request-cases.js';

interface Service {
  readonly port: number;
  /** The bodies of requests that reached the handler. */
  readonly handled: readonly string[];
  readonly faults: readonly unknown[];
}

async function serve(framework: typeof express, parsers: (app: Express) => void): Promise<Service> {
  const handled: string[] = [];
  const faults: unknown[] = [];
  const watch: Guard = (exchange) => {
    exchange.faultReporter = (error) => faults.push(error);
    return undefined;
  };
  const app = framework();
  app.use(guard(watch, authenticate(service())));
  parsers(app);
  app.use((request, response) => {
    const parsed: unknown = request.body;
    handled.push(Buffer.isBuffer(parsed) ? parsed.toString() : JSON.stringify(parsed));
    response.json({ client: principalOf(request.exchange).id });
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { port: (server.address() as AddressInfo).port, handled, faults };
}

function answerOf(text: string): Omit<Expected, 'reason'> {
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]);
  const body: unknown = JSON.parse(text.slice(text.indexOf('{')));
  return typeof body === 'object' && body !== null && 'code' in body ? { status, code: String(body.code) } : { status };
}

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])('over sockets through %s, a signed request', (_name, framework) => {
  const raw = (app: Express) => app.use(framework.raw({ type: () => true }));

  it('reaches express.json() complete, in whatever pieces it was sent', async () => {
    const { port, handled } = await serve(framework, (app) => app.use(framework.json()));
    for (const chunked of [false, true]) {
      const bytes = bytesOf({ ...signed(), chunked });
      expect(answerOf(await talk(port, bytes.match(/[\s\S]{1,7}/g) ?? []))).toEqual({ status: 200 });
    }
    expect(handled).toEqual([BODY, BODY].map((body) => JSON.stringify(JSON.parse(body))));
  });

  it('is a fault after a body parser, and never reaches the handler', async () => {
    const handled: unknown[] = [];
    const faults: unknown[] = [];
    const app = framework();
    app.use(framework.raw({ type: () => true }));
    const watch: Guard = (exchange) => {
      exchange.faultReporter = (error) => faults.push(String(error));
      return undefined;
    };
    app.use(guard(watch, authenticate(service())), (request, response) => {
      handled.push(request.body);
      response.end();
    });
    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    expect(answerOf(await talk(port, [bytesOf(signed())]))).toEqual({ status: 500, code: 'internal-error' });
    expect([handled, faults]).toEqual([[], [expect.stringContaining('put guards before body parsers')]]);
  });

  it('that is too large is refused while it is being sent, and its rest is not read as a request', async () => {
    const { port, handled } = await serve(framework, raw);
    const next = bytesOf(signed({ url: 'http://api.example.test/next' }));
    const { method, target, headers } = signed({ body: 'x'.repeat(MAX_BODY + 1) });
    const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const head = `${method} ${target} HTTP/1.1\r\n${fields}Transfer-Encoding: chunked\r\n\r\n`;
    const client = await connectTo(port);
    client.socket.write(`${head}41\r\n${'x'.repeat(MAX_BODY + 1)}\r\n`);
    expect((await client.answer()).status).toBe(413);
    // Inside the body: a valid request. After the body: the next request of this connection.
    const inside = bytesOf(signed({ url: 'http://api.example.test/inside' }));
    client.socket.write(`${inside.length.toString(16)}\r\n${inside}\r\n0\r\n\r\n${next}`);
    expect((await client.rest()).match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 200']);
    expect(handled).toEqual([BODY]);
  });

  it('that is too large by its Content-Length is refused before any of the body is sent', async () => {
    const { port, handled } = await serve(framework, raw);
    const bytes = bytesOf(signed({ body: 'x'.repeat(MAX_BODY + 1) }));
    expect(answerOf(await talk(port, [bytes.slice(0, bytes.indexOf('\r\n\r\n') + 4)]))).toEqual({
      status: 413,
      code: 'content-too-large',
    });
    expect(handled).toEqual([]);
  });

  it('of a client that disconnects midway never reaches the handler, and is not a fault', async () => {
    const { port, handled, faults } = await serve(framework, raw);
    const { socket } = await connectTo(port);
    socket.write(bytesOf(signed()).slice(0, -1));
    await turns();
    socket.resetAndDestroy();
    await turns(20);
    expect(answerOf(await talk(port, [bytesOf(signed())]))).toEqual({ status: 200 });
    expect([handled, faults]).toEqual([[BODY], []]);
  });
});
