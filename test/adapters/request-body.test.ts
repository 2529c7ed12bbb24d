import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createAdaptorServer } from '@hono/node-server';
import express5, { type RequestHandler } from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { guard as fastifyGuard } from '../../src/adapters/fastify.js';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import { exchangeOf } from '../../src/adapters/node-http.js';
import { sendReply } from '../../src/adapters/node-reply.js';
import type { Guard } from '../../src/core/guard.js';
import type { Outcome } from '../../src/core/outcome.js';
import { problem } from '../../src/core/problem.js';
import { refuse } from '../../src/core/reply.js';
import type { RequestBody } from '../../src/core/request-view.js';
import { connectTo, talk, turns } from './talk.js';

const MAX = 1_000_000;
const JSON_BODY = '{"prompt":"ein roter Sessel, schön"}';
const TOO_LARGE = refuse(problem('content-too-large'));

/**
 * A guard that reads the body and refuses a request whose body it cannot read. With `later`, it first waits as an
 * earlier guard might. It records only the bodies of POST: Node starts the next request of a connection before this one
 * is answered.
 */
function reading(seen: RequestBody[], max = MAX, later = false): Guard {
  return async ({ request }) => {
    if (later) await turns();
    const body = (await request.readBody?.(max)) ?? 'consumed';
    if (request.method === 'POST') seen.push(body);
    return typeof body === 'string' ? TOO_LARGE : undefined;
  };
}

/** Closes the servers of all tests. */
const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
});

async function listen(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** What comes after the guard and reads the body. */
const CONSUMERS: readonly (readonly [name: string, serve: (...guards: Guard[]) => Promise<number>])[] = [
  ...([express5, express4] as const).flatMap((express, i) => {
    const parsed =
      (parser: RequestHandler) =>
      async (...guards: Guard[]) => {
        const app = express();
        app.use(guard(...guards), parser, (request, response) => {
          const { body } = request;
          response.json({ body: Buffer.isBuffer(body) ? body.toString('latin1') : (body ?? null) });
        });
        return listen(app);
      };
    const name = `Express ${5 - i}`;
    return [
      [`${name}, express.json()`, parsed(express.json({ limit: MAX }))],
      [`${name}, express.raw()`, parsed(express.raw({ type: () => true, limit: MAX }))],
      [`${name}, no parser`, parsed((_request, _response, next) => next())],
      [
        `${name}, a handler that pipes`,
        async (...guards: Guard[]) =>
          listen(
            express().use(guard(...guards), (request, response) => {
              // Not directly into the response, whose chunks would then be those of the pipe.
              void text(request.pipe(new PassThrough())).then((all) => response.end(all));
            }),
          ),
      ],
      [
        `${name}, a handler that listens`,
        async (...guards: Guard[]) =>
          listen(
            express().use(guard(...guards), (request, response) => {
              let size = 0;
              request.on('data', (chunk: Buffer) => {
                size += chunk.length;
              });
              request.on('end', () => response.json({ size, trailers: request.trailers }));
            }),
          ),
      ],
      [
        `${name}, a handler that iterates`,
        async (...guards: Guard[]) =>
          listen(
            express().use(guard(...guards), (request, response) => void text(request).then((all) => response.end(all))),
          ),
      ],
      [
        `${name}, a handler that hands it to fetch`,
        async (...guards: Guard[]) => {
          const worker = await listen((request, response) => void request.pipe(response));
          const handle = async (request: IncomingMessage) => {
            // Many gateways pass the request itself as the body.
            const body = request as unknown as NonNullable<RequestInit['body']>;
            const init: RequestInit = { method: 'POST', body, duplex: 'half' };
            return (await fetch(`http://127.0.0.1:${worker}/`, init)).text();
          };
          return listen(
            express().use(
              guard(...guards),
              (request, response) => void handle(request).then((all) => response.end(all)),
            ),
          );
        },
      ],
    ] as const;
  }),
  [
    'Fastify',
    async (...guards: Guard[]) => {
      const app = fastify({ bodyLimit: MAX, forceCloseConnections: true });
      app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
      app.all('/*', { onRequest: fastifyGuard(...guards) }, async (request) => ({ body: request.body ?? null }));
      await app.listen({ port: 0, host: '127.0.0.1' });
      closers.push(() => app.close());
      return (app.server.address() as AddressInfo).port;
    },
  ],
  [
    'Hono on Node',
    async (...guards: Guard[]) => {
      const app = new Hono();
      app.all('*', honoGuard(...guards), async (context) => context.json({ body: await context.req.text() }));
      const server = createAdaptorServer({ fetch: app.fetch });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      closers.push(() => server.close());
      return (server.address() as AddressInfo).port;
    },
  ],
];

const NEXT = 'GET /next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n';
const head = (...fields: string[]) =>
  ['POST / HTTP/1.1', 'Host: a.test', 'Content-Type: application/json', ...fields, '', ''].join('\r\n');
const sized = (body: string) => head(`Content-Length: ${Buffer.byteLength(body)}`) + body;
const chunks = (...parts: string[]) =>
  [...parts, ''].map((part) => `${Buffer.byteLength(part).toString(16)}\r\n${part}\r\n`).join('');
const CHUNKED = head('Transfer-Encoding: chunked');
const BIG = JSON.stringify('x'.repeat(900_000));
const bytewise = (whole: string) => Array.from(Buffer.from(whole), (byte) => Buffer.of(byte));

const FORMS: readonly (readonly [name: string, pieces: readonly (string | Buffer)[], body: string])[] = [
  ['all at once', [sized(JSON_BODY) + NEXT], JSON_BODY],
  ['after its head', [head(`Content-Length: ${Buffer.byteLength(JSON_BODY)}`), JSON_BODY, NEXT], JSON_BODY],
  ['byte by byte', [...bytewise(sized(JSON_BODY)), NEXT], JSON_BODY],
  ['in chunks at once', [CHUNKED + chunks('{"a"', ':[1,2', ']}') + NEXT], '{"a":[1,2]}'],
  ['in chunks, byte by byte', [CHUNKED, ...bytewise(chunks('{"a"', ':[1,2', ']}')), NEXT], '{"a":[1,2]}'],
  ['in chunks that end late', [`${CHUNKED}4\r\ntrue\r\n`, '0\r\n', '\r\n', NEXT], 'true'],
  ['in chunks with a trailer', [`${CHUNKED}4\r\nnull\r\n0\r\nX-Sum: 1\r\n\r\n${NEXT}`], 'null'],
  ['of 900 KB', [sized(BIG), NEXT], BIG],
  ['of 900 KB in chunks', [CHUNKED + chunks(...(BIG.match(/.{1,1000}/g) ?? [])), NEXT], BIG],
  ['empty by its length', [head('Content-Length: 0') + NEXT], ''],
  ['without any', [head() + NEXT], ''],
  ['empty in chunks', [CHUNKED + chunks() + NEXT], ''],
  ['empty in chunks that come late', [CHUNKED, chunks(), NEXT], ''],
];

describe.each(CONSUMERS)('a body that a guard has read, then %s', (_name, serve) => {
  const seen: RequestBody[] = [];
  let unread: number;
  let read: readonly number[];
  beforeAll(async () => {
    unread = await serve(() => undefined);
    read = [await serve(reading(seen, MAX, false)), await serve(reading(seen, MAX, true))];
  });
  beforeEach(() => {
    seen.length = 0;
  });

  it.each(FORMS)('is complete: %s', async (_how, pieces, body) => {
    const expected = await talk(unread, pieces);
    for (const port of read) {
      seen.length = 0;
      expect(await talk(port, pieces)).toBe(expected);
      expect(seen.map((bytes) => Buffer.from(bytes as Uint8Array).toString())).toEqual([body]);
    }
    expect(expected).toMatch(/^HTTP\/1\.1 [24]\d\d /);
  });
});

describe('readBody', () => {
  /** Serves a guard on plain node:http, and what comes of each exchange. */
  async function guarded(run: Guard, handle: RequestListener = (_request, response) => void response.end('handled')) {
    const outcomes: Outcome[] = [];
    const requests: IncomingMessage[] = [];
    const port = await listen(async (request, response) => {
      requests.push(request);
      const exchange = exchangeOf(request, response);
      exchange.onEnd((outcome) => outcomes.push(outcome));
      const reply = await run(exchange);
      if (reply !== undefined) sendReply(response, exchange, reply);
      else if (exchange.outcome === undefined) handle(request, response);
    });
    return { port, outcomes, requests };
  }

  const tooLarge: readonly (readonly [name: string, pieces: readonly string[]])[] = [
    ['by its length', [sized('x'.repeat(11)), NEXT]],
    ['by its length, nothing sent yet', [head('Content-Length: 11'), 'x'.repeat(11), NEXT]],
    ['in chunks', [CHUNKED + chunks('x'.repeat(10), 'x'), NEXT]],
    ['in chunks that come late', [`${CHUNKED}5\r\nxxxxx\r\n`, '6\r\nxxxxxx\r\n', '0\r\n\r\n', NEXT]],
    ['a megabyte in chunks', [CHUNKED + chunks(...Array(1000).fill('x'.repeat(1000))), NEXT]],
    ['requests in it', [CHUNKED + chunks(NEXT, NEXT), NEXT]],
  ];

  it.each(tooLarge)('refuses a body over the limit, and continues with the next request: %s', async (_how, pieces) => {
    const seen: RequestBody[] = [];
    const { port, outcomes } = await guarded(reading(seen, 10));
    expect((await talk(port, pieces)).match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 200']);
    expect(seen).toEqual(['too-large']);
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['completed', 'refused']);
  });

  it('accepts a body of exactly the limit', async () => {
    const seen: RequestBody[] = [];
    const { port } = await guarded(reading(seen, 10));
    await talk(port, [sized('x'.repeat(10)), CHUNKED + chunks('x'.repeat(10)), NEXT]);
    expect(seen).toEqual([Buffer.alloc(10, 'x'), Buffer.alloc(10, 'x')]);
  });

  it('refuses by the length before the first byte', async () => {
    const { port } = await guarded(reading([], 10));
    const client = await connectTo(port);
    client.socket.write(head('Content-Length: 11'));
    expect((await client.answer()).status).toBe(413);
  });

  it('allocates no memory for a length that is only announced', async () => {
    const seen: RequestBody[] = [];
    const { port, requests } = await guarded(reading(seen, 50_000_000));
    const allocations = vi.spyOn(Buffer, 'allocUnsafe');
    onTestFinished(() => allocations.mockRestore());
    const client = await connectTo(port);
    client.socket.write(head('Content-Length: 50000000'));
    while (requests.length === 0) await turns(1);
    await turns();
    expect(Math.max(...allocations.mock.calls.map(([size]) => size))).toBe(65_536);
    client.socket.destroy();
    await expect.poll(() => seen).toEqual(['aborted']);
  });

  it('answers before the rest of a body over the limit arrives, and keeps none of it', async () => {
    const { port, requests } = await guarded(reading([], 10));
    const client = await connectTo(port);
    client.socket.write(`${CHUNKED}b\r\n${'x'.repeat(11)}\r\n`);
    expect((await client.answer()).status).toBe(413);
    for (let i = 0; i < 100; i++) {
      client.socket.write(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
      await turns(2);
    }
    client.socket.write(`0\r\n\r\n${NEXT}`);
    expect(await client.rest()).toContain('handled');
    expect(requests[0]?.readableLength).toBe(0);
  });

  it('reads the body of a client that waits for 100 Continue', async () => {
    const seen: RequestBody[] = [];
    const { port } = await guarded(reading(seen));
    const client = await connectTo(port);
    client.socket.write(head('Expect: 100-continue', 'Content-Length: 4'));
    await client.firstByte();
    client.socket.resume();
    client.socket.write(`body${NEXT}`);
    expect((await client.rest()).match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 200', 'HTTP/1.1 200']);
    expect(seen[0]).toEqual(Buffer.from('body'));
  });

  it.each([
    ['closes', (client: Awaited<ReturnType<typeof connectTo>>) => client.socket.destroy()],
    ['resets', (client: Awaited<ReturnType<typeof connectTo>>) => client.socket.resetAndDestroy()],
  ])('reports a client that %s midway, and aborts the exchange', async (_how, leave) => {
    for (const begun of [sized('body').slice(0, -1), `${CHUNKED}4\r\nbo`, head('Content-Length: 4')]) {
      const seen: RequestBody[] = [];
      const { port, outcomes } = await guarded(reading(seen));
      const client = await connectTo(port);
      client.socket.write(begun);
      await turns();
      leave(client);
      while (seen.length === 0 || outcomes.length === 0) await turns(1);
      expect([seen, outcomes]).toEqual([['aborted'], [{ kind: 'aborted' }]]);
    }
  });

  it('reports a client that left before the call', async () => {
    const seen: RequestBody[] = [];
    const { port } = await guarded(async (exchange) => {
      await once(exchange.signal, 'abort');
      return reading(seen)(exchange);
    });
    const client = await connectTo(port);
    client.socket.write(sized('body').slice(0, -1));
    await turns();
    client.socket.destroy();
    while (seen.length === 0) await turns(1);
    expect(seen).toEqual(['aborted']);
  });

  const readers: readonly (readonly [name: string, read: (request: IncomingMessage) => unknown])[] = [
    ['has read all of it', (request) => text(request)],
    ['has read some of it', (request) => once(request, 'readable').then(() => request.read(1))],
    ['is reading it', (request) => request.on('data', () => undefined).pause()],
    ['listens for it', (request) => request.on('readable', () => undefined)],
    ['has called resume', (request) => request.resume()],
    ['has set an encoding', (request) => request.setEncoding('utf8')],
  ];

  it.each(readers)('reports a body as consumed if other code %s', async (_how, readFirst) => {
    const seen: RequestBody[] = [];
    const run = reading(seen);
    const port = await listen(async (request, response) => {
      await readFirst(request);
      const exchange = exchangeOf(request, response);
      const reply = await run(exchange);
      if (reply !== undefined) sendReply(response, exchange, reply);
    });
    const client = await connectTo(port);
    client.socket.write(sized('body'));
    expect((await client.answer()).status).toBe(413);
    expect(seen).toEqual(['consumed']);
  });

  it('returns the body again on every call, until other code reads it', async () => {
    const seen: RequestBody[] = [];
    const port = await listen(async (request, response) => {
      const exchange = exchangeOf(request, response);
      if (request.method === 'GET') return void response.end();
      for (const max of [MAX, 4, 3, MAX]) seen.push((await exchange.request.readBody?.(max)) ?? 'consumed');
      response.end();
    });
    await talk(port, [sized('body') + NEXT]);
    const body = Buffer.from('body');
    expect(seen.slice(0, 3)).toEqual([body, body, 'too-large']);
  });

  it('leaves a stream that counts as unread, and as read afterwards', async () => {
    const states: boolean[] = [];
    const { port } = await guarded(reading([]), async (request, response) => {
      states.push(Readable.isDisturbed(request), request.readableEnded);
      await text(request);
      states.push(Readable.isDisturbed(request), request.readableEnded);
      response.end();
    });
    const client = await connectTo(port);
    client.socket.write(sized('body'));
    expect((await client.answer()).status).toBe(200);
    expect(states).toEqual([false, false, true, true]);
  });

  it('discards a body that nothing has read after the response', async () => {
    const { port, requests } = await guarded(async (exchange) => {
      await exchange.request.readBody?.(MAX);
      return TOO_LARGE;
    });
    const client = await connectTo(port);
    client.socket.write(sized('body'));
    expect((await client.answer()).status).toBe(413);
    await turns();
    expect([requests[0]?.readableLength, requests[0]?.readableEnded]).toEqual([0, true]);
  });

  it('continues with the next request if a timeout has answered meanwhile', async () => {
    const seen: RequestBody[] = [];
    const port = await listen((request, response) => {
      const exchange = exchangeOf(request, response);
      void reading(seen)(exchange);
      response.statusCode = 503;
      response.end();
    });
    const text = await talk(port, [head('Content-Length: 4'), 'bo', 'dy', NEXT]);
    expect(text.match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 503', 'HTTP/1.1 503']);
  });

  it('reads the requests of Fastify inject', async () => {
    const seen: RequestBody[] = [];
    const app = fastify();
    app.post('/', { onRequest: fastifyGuard(reading(seen)) }, async (request) => ({ body: request.body }));
    const headers = { 'content-type': 'application/json' };
    for (const payload of [JSON_BODY, Readable.from([Buffer.from('{"a":'), Buffer.from('1}')])]) {
      const response = await app.inject({ method: 'POST', url: '/', headers, payload });
      expect([response.statusCode, response.json()]).toEqual([200, { body: expect.anything() }]);
    }
    expect(seen.map((body) => Buffer.from(body as Uint8Array).toString())).toEqual([JSON_BODY, '{"a":1}']);
  });
});
