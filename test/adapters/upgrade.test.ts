import dns from 'node:dns';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect as dial, type Socket } from 'node:net';
import { Duplex, Readable } from 'node:stream';
import express from 'express';
import fc from 'fast-check';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { createGuardUpgrade, exchangeOf, guardUpgrade, type UpgradeServer } from '../../src/adapters/upgrade.js';
import {
  type Exchange,
  type Guard,
  limit,
  memoryStore,
  OptionError,
  type Outcome,
  problem,
  refuse,
  reportFaults,
  requestId,
  sequence,
  slidingWindow,
  webSocketOrigin,
} from '../../src/index.js';
import { gate, turns } from '../contracts/adapter/stage.js';
import { handshakeText, opened, record, refused } from '../contracts/upgrade.js';
import { Client, requestText } from '../raw-client.js';
import { refusing } from './two-guards.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 100));

const pass: Guard = () => undefined;

interface Stage {
  readonly server: Server;
  readonly port: number;
  /** The sockets of the server's side, in order. */
  readonly sockets: Socket[];
  connect(): Promise<Client>;
}

async function stage(server: Server): Promise<Stage> {
  const sockets: Socket[] = [];
  const clients: Client[] = [];
  server.on('connection', (socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  onTestFinished(async () => {
    for (const client of clients) client.socket.destroy();
    for (const socket of sockets) socket.destroy();
    const closed = once(server, 'close');
    server.close();
    await closed;
  });
  return {
    server,
    port,
    sockets,
    async connect() {
      const client = await Client.connect(port);
      clients.push(client);
      return client;
    },
  };
}

/** A server whose listener for upgrades is `listen`. */
function upgrading(listen: (request: IncomingMessage, socket: Socket, head: Buffer) => void): Server {
  const server = createServer((_request, response) => void response.end('ordinary'));
  server.on('upgrade', (request, socket, head) => listen(request, socket as Socket, head));
  return server;
}

/** A server with WebSockets. */
function webSockets(): Server {
  const server = createServer((_request, response) => void response.end('ordinary'));
  const webSocketServer = new WebSocketServer({ server, path: '/ws' });
  webSocketServer.on('connection', (socket) => socket.on('error', () => undefined));
  return server;
}

/** Waits, outside the event loop of any timer, until something is true. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turns();
}

describe('guardUpgrade', () => {
  it.each([
    ['an application of Express', express(), 'got an Express application; pass what app.listen(...) returns'],
    ['an application of Fastify', fastify(), 'got a Fastify application; pass app.server'],
    ['an application of Hono', new Hono(), 'got a Hono application; pass what serve(...) returns'],
    ['a WebSocketServer', new WebSocketServer({ noServer: true }), 'got a WebSocketServer; pass the HTTP server'],
    ['a guard', pass, 'write guardUpgrade(server, authenticate(...))'],
    ['nothing', undefined, 'write guardUpgrade(server, authenticate(...))'],
  ])('takes no %s for a server', (_what, server, remedy) => {
    const act = () => guardUpgrade(server as unknown as UpgradeServer, pass);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(`gatewarden: guardUpgrade takes a server of node:http first; ${remedy}`);
  });

  it('guards every address of a Fastify application, or does not start', async () => {
    const { lookup } = dns;
    const addresses = [
      { address: '127.0.0.1', family: 4 },
      { address: '127.0.0.2', family: 4 },
    ];
    // As on most machines, where `localhost` is 127.0.0.1 and ::1.
    vi.spyOn(dns, 'lookup').mockImplementation(((host: string, ...rest: unknown[]) => {
      const done = rest.at(-1) as (error: null, found: unknown, family?: number) => void;
      if (host !== 'localhost') return Reflect.apply(lookup, dns, [host, ...rest]);
      if ((rest[0] as { all?: boolean }).all === true) done(null, addresses);
      else done(null, '127.0.0.1', 4);
    }) as typeof lookup);
    onTestFinished(() => void vi.restoreAllMocks());
    const app = fastify();
    const late = fastify();
    onTestFinished(async () => {
      await app.close();
      await late.close();
    });
    const seen: unknown[] = [];
    app.server.on('upgrade', (request, socket) => {
      seen.push(request);
      socket.destroy();
    });
    guardUpgrade(app.server, refusing);
    await app.listen({ port: 0 });
    const found = app.addresses() as AddressInfo[];
    expect(found.map(({ address }) => address).sort()).toEqual(['127.0.0.1', '127.0.0.2']);
    for (const { address, port } of found) {
      const socket = dial({ host: address, port });
      socket.write(handshakeText());
      expect(Buffer.concat(await socket.toArray()).toString()).toMatch(/^HTTP\/1\.1 401 /);
    }
    expect(seen).toEqual([]);
    guardUpgrade(app.server, refusing);
    await late.listen({ port: 0 });
    expect(() => guardUpgrade(late.server, refusing)).toThrow(
      'gatewarden: guardUpgrade comes too late for the other addresses of this Fastify application; call it before app.listen(...)',
    );
  });

  it('needs a guard, in an order that can work', () => {
    expect(() => guardUpgrade(createServer())).toThrow('guardUpgrade needs at least one guard');
    expect(() => guardUpgrade(createServer(), 'guard' as never)).toThrow('a guard must be a function, got a string');
  });

  it.each([
    [{ origin: 'https://app.example/' }, `"origin" must hold origins as browsers send them`],
    [{ timeout: 30 as never }, `"timeout" needs a unit, got 30`],
    [{ origins: [] } as never, 'has no option "origins". Did you mean "origin"?'],
  ])('is not created with %o', (options, message) => {
    expect(() => createGuardUpgrade(options)).toThrow(message);
  });

  it('runs the guards of several calls in order, on one exchange, and no guard after a refusal', async () => {
    const ran: [name: string, exchange: Exchange][] = [];
    const named =
      (name: string): Guard =>
      (exchange) => {
        ran.push([name, exchange]);
        return undefined;
      };
    const server = webSockets();
    guardUpgrade(server, named('a'), named('b'));
    guardUpgrade(server, named('c'), refusing, named('d'));
    const { port } = await stage(server);
    expect((await refused(port)).status).toBe(401);
    expect(ran.map(([name]) => name)).toEqual(['a', 'b', 'c']);
    expect(new Set(ran.map(([, exchange]) => exchange)).size).toBe(1);
  });

  it('sends the headers of guards with a refusal, and formats it as they say', async () => {
    const server = webSockets();
    guardUpgrade(server, requestId(), refusing);
    const { port } = await stage(server);
    const { headers, body } = await refused(port);
    expect(headers['x-request-id']).toMatch(/^[\w-]{8,}$/);
    expect(body).toMatchObject({ code: 'credentials-missing', requestId: headers['x-request-id'] });
  });

  it.each<[string, Guard]>([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
    ['returns true', () => true as never],
  ])('answers with 500 and reports a fault if a guard %s', async (_what, guard) => {
    const faults: unknown[] = [];
    const server = webSockets();
    guardUpgrade(
      server,
      reportFaults((error) => faults.push(error)),
      guard,
    );
    const { port } = await stage(server);
    expect(await refused(port)).toMatchObject({ status: 500, body: { code: 'internal-error' } });
    expect(faults).toHaveLength(1);
  });

  it('leaves a request for an upgrade alone if the server has no listener for it', async () => {
    const server = createServer((_request, response) => void response.end('ordinary'));
    guardUpgrade(server, refusing);
    const { connect } = await stage(server);
    const client = await connect();
    client.send('GET /', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__');
    const answer = await client.answer();
    expect([answer.status, answer.body.toString()]).toEqual([200, 'ordinary']);
  });

  it('passes on whether other events had listeners', async () => {
    const server = createServer();
    guardUpgrade(server, pass);
    expect([server.emit('without a listener'), server.emit('request')]).toEqual([false, false]);
    server.on('with a listener', () => undefined);
    expect(server.emit('with a listener')).toBe(true);
  });

  it('ends the exchange with the status of a listener that refuses', async () => {
    const { watch, outcomes } = record();
    const server = webSockets();
    guardUpgrade(server, watch);
    const { port } = await stage(server);
    expect((await refused(port, {}, '/other')).status).toBe(400);
    await until(() => outcomes.length > 0);
    expect(outcomes).toEqual([{ kind: 'completed', status: 400 }]);
  });

  it('lasts as long as an answer that a listener streams, and ends at once with a refusal', async () => {
    const { watch, outcomes } = record();
    const answered = gate();
    const server = upgrading((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n');
      void answered.promise.then(() => socket.end('done'));
    });
    guardUpgrade(server, watch);
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await once(client.socket, 'data');
    await turns();
    expect(outcomes).toEqual([]);
    answered.resolve();
    expect(await client.rest()).toContain('done');
    await until(() => outcomes.length > 0);
    expect(outcomes).toEqual([{ kind: 'completed', status: 200 }]);
  });

  it('ends the exchange as aborted if the listener closes the connection without an answer', async () => {
    const { watch, outcomes, exchanges } = record();
    const server = upgrading((_request, socket) => void socket.destroy());
    guardUpgrade(server, watch);
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    expect(await client.rest()).toBe('');
    await until(() => outcomes.length > 0);
    expect([outcomes, exchanges[0]?.signal.aborted]).toEqual([[{ kind: 'aborted' }], true]);
  });

  it('does not take early hints, or a status in two writes of a proxy, for the answer', async () => {
    const { watch, outcomes } = record();
    const server = upgrading((_request, socket) => {
      socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
      socket.write(Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'), () => socket.destroy());
    });
    guardUpgrade(server, watch);
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    expect(await client.rest()).toContain('404 Not Found');
    expect(outcomes).toEqual([{ kind: 'completed', status: 404 }]);
  });

  it('shows the exchange to the listener, also an asynchronous one, and no process ends if the client resets', async () => {
    const { watch, outcomes, exchanges } = record();
    const [reached, seen] = [gate(), [] as Exchange[]];
    const server = upgrading((request) => {
      seen.push(exchangeOf(request));
      reached.resolve();
    });
    guardUpgrade(server, watch);
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await reached.promise;
    expect(seen).toEqual(exchanges);
    // Without reading, a reset is noticed in the next write only.
    sockets[0]?.resume();
    client.socket.resetAndDestroy();
    await until(() => outcomes.length > 0);
    expect(outcomes).toEqual([{ kind: 'aborted' }]);
    expect(() => exchangeOf({} as IncomingMessage)).toThrow('exchangeOf needs guardUpgrade on the server');
  });

  it('tells guards that a body is lost', async () => {
    const read: unknown[] = [];
    const server = webSockets();
    guardUpgrade(server, async ({ request }) => {
      read.push(await request.readBody?.(1000));
      return refuse(problem('content-too-large'));
    });
    const { connect } = await stage(server);
    for (const fields of [['Content-Length: 3'], ['Transfer-Encoding: chunked'], []]) {
      const client = await connect();
      client.socket.write(`${handshakeText(...fields)}abc`);
      expect((await client.answer()).status).toBe(413);
    }
    expect(read).toEqual(['too-large', 'too-large', Buffer.alloc(0)]);
  });
});

describe('a client of guardUpgrade', () => {
  it('that leaves while a guard is waiting is never upgraded, and aborts the exchange', async () => {
    for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const { watch, outcomes, exchanges } = record();
      const [reached, release] = [gate(), gate()];
      const upgraded: unknown[] = [];
      const server = upgrading((request) => void upgraded.push(request));
      const later: string[] = [];
      guardUpgrade(
        server,
        watch,
        async () => {
          reached.resolve();
          await release.promise;
          return undefined;
        },
        () => void later.push('a later guard ran'),
      );
      const { connect } = await stage(server);
      const client = await connect();
      client.socket.write(handshakeText());
      await reached.promise;
      client.socket[leave]();
      await until(() => outcomes.length > 0);
      expect(outcomes).toEqual([{ kind: 'aborted' }]);
      expect(exchanges[0]?.signal.aborted).toBe(true);
      release.resolve();
      await turns();
      expect([upgraded, later]).toEqual([[], []]);
    }
  });

  it('that sends without end while a guard is waiting is cut off', async () => {
    const { watch, outcomes } = record();
    const server = upgrading(() => undefined);
    guardUpgrade(server, watch, () => new Promise(() => undefined));
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await until(() => outcomes.length === 0 && sockets.length > 0);
    client.socket.write(Buffer.alloc(100_000));
    await until(() => outcomes.length > 0);
    expect([outcomes, sockets[0]?.destroyed]).toEqual([[{ kind: 'aborted' }], true]);
  });

  it('that resets its connection immediately reaches no guard without an address', async () => {
    const seen = new Set<unknown>();
    const server = webSockets();
    guardUpgrade(server, ({ request }) => {
      seen.add(request.remoteAddress);
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    for (let i = 0; i < 20; i++) {
      const client = await connect();
      await new Promise((sent) => client.socket.write(handshakeText(), sent));
      client.socket.resetAndDestroy();
      await turns();
    }
    const client = await connect();
    client.socket.write(handshakeText());
    expect((await client.answer()).status).toBe(401);
    expect([...seen]).toEqual(['127.0.0.1']);
  });

  it('that asks for an upgrade while an earlier response is open is cut off, whatever the guards say', async () => {
    const ran: unknown[] = [];
    const answer = gate();
    const server = createServer((_request, response) => {
      response.write('half');
      void answer.promise.then(() => response.end());
    });
    server.on('upgrade', () => void ran.push('listener'));
    guardUpgrade(server, () => void ran.push('guard'));
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(requestText('GET /slow') + handshakeText());
    expect(await client.rest()).not.toContain('101');
    answer.resolve();
    expect(ran).toEqual([]);
  });

  it('that sends its request in pieces, one after the other, is refused like any other', async () => {
    const server = webSockets();
    guardUpgrade(server, refusing);
    const { connect } = await stage(server);
    const client = await connect();
    for (const piece of handshakeText().match(/[\s\S]{1,16}/g) ?? []) {
      await new Promise((sent) => client.socket.write(piece, sent));
    }
    const answer = await client.answer();
    expect([answer.status, answer.json()]).toEqual([401, { ...problem('credentials-missing') }]);
    client.socket.end();
    expect(await client.rest()).toBe('');
  });

  it('is refused or cut off whatever it sends, and never reaches a listener', async () => {
    const { watch, outcomes } = record();
    const reached: unknown[] = [];
    const server = upgrading(() => void reached.push('listener'));
    guardUpgrade(server, watch, async () => {
      await turns();
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    const field = fc.constantFrom(
      'Origin: https://evil.example',
      'Content-Length: 5',
      'Transfer-Encoding: chunked',
      'Expect: 100-continue',
      'Upgrade: h2c',
      'Connection: close',
      'Connection: keep-alive',
      'Authorization: Bearer a',
      'Host: other.example',
    );
    let sent = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('end', 'destroy', 'wait', 'resetAndDestroy'),
        fc.constantFrom('GET', 'HEAD', 'POST', 'DELETE'),
        async (fields, rest, leave, method) => {
          sent++;
          const client = await connect();
          const head = handshakeText(...fields).replace('GET', method);
          client.socket.write(Buffer.concat([Buffer.from(head), rest]));
          if (leave !== 'wait') client.socket[leave as 'end']();
          const answer = await client.rest();
          expect(answer).not.toMatch(/^HTTP\/1\.1 (101|2)/);
          expect(reached).toEqual([]);
        },
      ),
      { numRuns: RUNS },
    );
    expect(outcomes.length).toBeLessThanOrEqual(sent);
    expect(outcomes.filter(({ kind }) => kind === 'completed')).toEqual([]);
  });

  it('that sends more behind a refused handshake still reads the whole refusal', async () => {
    const server = webSockets();
    guardUpgrade(server, refusing);
    const { connect } = await stage(server);
    for (let i = 0; i < 20; i++) {
      const client = await connect();
      client.socket.write(handshakeText());
      client.socket.write(Buffer.alloc(200_000, 'x'));
      expect((await client.answer()).status).toBe(401);
      client.socket.end();
      await client.rest();
    }
  });
});

describe('with a clock of its own, guardUpgrade', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('cuts off a refused client that neither closes nor stops to send', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const server = webSockets();
    guardUpgrade(server, refusing);
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    expect((await client.answer()).status).toBe(401);
    client.socket.write('more');
    await turns();
    vi.advanceTimersByTime(4999);
    expect(sockets[0]?.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(sockets[0]?.destroyed).toBe(true);
    await until(() => vi.getTimerCount() === 0);
  });

  it('leaves no timer behind for a client that closes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const server = webSockets();
    guardUpgrade(server, (exchange) => (exchange.request.url === '/ws' ? undefined : refusing(exchange)));
    const { port, sockets } = await stage(server);
    await refused(port, {}, '/other');
    const socket = await opened(port);
    expect(vi.getTimerCount()).toBe(0);
    socket.terminate();
    await until(() => sockets.every(({ destroyed }) => destroyed));
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['30 s', guardUpgrade, 30_000],
    ['its timeout', createGuardUpgrade({ timeout: '2s' }), 2000],
  ])('closes a connection that was not answered after %s, so that it holds no slot', async (_what, guard, timeout) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { watch, outcomes } = record();
    const reached = gate();
    const server = upgrading(() => reached.resolve());
    guard(server, watch);
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await reached.promise;
    vi.advanceTimersByTime(timeout - 1);
    expect([sockets[0]?.destroyed, outcomes]).toEqual([false, []]);
    vi.advanceTimersByTime(1);
    await until(() => outcomes.length > 0);
    expect([sockets[0]?.destroyed, outcomes]).toEqual([true, [{ kind: 'aborted' }]]);
  });
});

describe('webSocketOrigin', () => {
  it.each<[string, string[], number]>([
    ['http://gatewarden.test', ['Host: gatewarden.test'], 101],
    ['https://gatewarden.test', ['Host: gatewarden.test'], 101],
    ['https://gatewarden.test', ['Host: GateWarden.test:443'], 101],
    ['http://gatewarden.test:8080', ['Host: gatewarden.test:8080'], 101],
    ['http://[::1]:8080', ['Host: [::1]:8080'], 101],
    ['https://gatewarden.test', ['Host: gatewarden.test:80'], 403],
    ['http://gatewarden.test', ['Host: gatewarden.test:8080'], 403],
    ['https://gatewarden.test.evil.example', ['Host: gatewarden.test'], 403],
    ['https://evil.example', ['Host: gatewarden.test'], 403],
    ['https://sub.gatewarden.test', ['Host: gatewarden.test'], 403],
    ['null', ['Host: gatewarden.test'], 403],
    ['', ['Host: gatewarden.test'], 403],
    ['http://gatewarden.test, http://gatewarden.test', ['Host: gatewarden.test'], 403],
    ['http://gatewarden.test/', ['Host: gatewarden.test'], 403],
    ['ws://gatewarden.test', ['Host: gatewarden.test'], 403],
  ])('answers a page of %j to %j with %i', async (origin, host, status) => {
    const server = upgrading((_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    guardUpgrade(server, webSocketOrigin());
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText(`Origin: ${origin}`).replace('Host: gatewarden.test', host[0] ?? ''));
    expect((await client.answer()).status).toBe(status);
  });

  it('refuses two origins, and a page without a host', async () => {
    const server = webSockets();
    guardUpgrade(server, pass);
    const { connect } = await stage(server);
    for (const text of [
      handshakeText('Origin: http://gatewarden.test', 'Origin: http://gatewarden.test'),
      handshakeText('Origin: http://').replace('Host: gatewarden.test', 'Host:'),
    ]) {
      const client = await connect();
      client.socket.write(text);
      expect((await client.answer()).status).toBe(403);
    }
  });

  it('asks a function, which may answer later, and reports what is no answer', async () => {
    const answers: Record<string, unknown> = {
      'https://yes.example': Promise.resolve(true),
      'https://no.example': false,
    };
    const faults: unknown[] = [];
    const server = upgrading((_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    createGuardUpgrade({ origin: (origin) => answers[origin] as boolean })(
      server,
      reportFaults((error) => faults.push(error)),
    );
    const { connect } = await stage(server);
    for (const [origin, status] of [
      ['https://yes.example', 101],
      ['https://no.example', 403],
      ['https://other.example', 500],
      ['not an origin', 403],
    ] as const) {
      const client = await connect();
      client.socket.write(handshakeText(`Origin: ${origin}`));
      expect([origin, (await client.answer()).status]).toEqual([origin, status]);
    }
    expect(String(faults)).toContain('the function in createGuardUpgrade "origin" must return true or false');
  });

  it('allows every page only if it is asked to, and has no say about other requests', async () => {
    const { watch, outcomes } = record();
    const server = upgrading((_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    createGuardUpgrade({ origin: '*' })(server, watch);
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText('Origin: https://anywhere.example'));
    expect((await client.answer()).status).toBe(101);
    client.socket.destroy();
    await until(() => outcomes.length > 0);
    const exchange = { request: { fieldLines: (name: string) => (name === 'origin' ? ['https://evil.example'] : []) } };
    expect(webSocketOrigin()({ ...exchange, onEnd: () => undefined } as unknown as Exchange)).toBeUndefined();
  });
});

describe('an upgrade whose request has a body', () => {
  /** Since Node 26, the listener gets another stream than the socket until the whole body has arrived. */
  const unfinished = handshakeText('Content-Length: 5').replace('GET', 'POST');

  it('is cut off while an earlier response is open, whatever the guards say', async () => {
    const ran: unknown[] = [];
    const answer = gate();
    const server = createServer((_request, response) => {
      response.write('half');
      void answer.promise.then(() => response.end());
    });
    server.on('upgrade', () => void ran.push('listener'));
    guardUpgrade(server, () => {
      ran.push('guard');
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(requestText('GET /slow') + unfinished);
    expect(await client.rest()).not.toContain('401');
    answer.resolve();
    expect(ran).toEqual([]);
  });

  it.each([
    ['an earlier response is open', {}],
    ['the client has reset the connection', { socket: Object.assign(new Duplex(), { localAddress: '127.0.0.1' }) }],
  ])('is cut off with the stream that Node 26 passes on if %s', async (_what, changes) => {
    const ran: unknown[] = [];
    const streams: Duplex[] = [];
    const server: Server = createServer((request, response) => {
      response.write('half');
      const { socket } = request;
      const stream = new Duplex({
        read: () => undefined,
        write: (chunk, _encoding, done) => socket.write(chunk, done),
      });
      streams.push(stream.on('close', () => socket.destroy()));
      server.emit('upgrade', Object.assign(Object.create(request) as object, changes), stream, Buffer.alloc(0));
    });
    guardUpgrade(server, () => {
      ran.push('guard');
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    const client = await connect();
    client.send('GET /slow');
    expect(await client.rest()).not.toContain('401');
    expect([ran, streams.map(({ destroyed }) => destroyed)]).toEqual([[], [true]]);
  });

  it('reaches no guard without an address if the client resets its connection', async () => {
    const seen = new Set<unknown>();
    const server = webSockets();
    guardUpgrade(server, ({ request }) => {
      seen.add(request.remoteAddress);
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    for (let i = 0; i < 20; i++) {
      const client = await connect();
      await new Promise((sent) => client.socket.write(unfinished, sent));
      client.socket.resetAndDestroy();
      await turns();
    }
    const client = await connect();
    client.socket.write(unfinished);
    expect((await client.answer()).status).toBe(401);
    expect([...seen]).toEqual(['127.0.0.1']);
  });

  it('is refused and closed before the body has arrived', async () => {
    const { watch, outcomes } = record();
    const server = webSockets();
    guardUpgrade(server, watch, async () => {
      await turns();
      return refuse(problem('credentials-missing'));
    });
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(unfinished);
    expect((await client.answer()).status).toBe(401);
    expect(outcomes).toEqual([{ kind: 'refused', status: 401, code: 'credentials-missing' }]);
    client.socket.end();
    expect(await client.rest()).toBe('');
  });
});

describe('a page of another site', () => {
  const quota = () =>
    limit({ by: 'global', policies: slidingWindow({ limit: 2, window: '1h' }), store: memoryStore() });
  const handshakeOf = async (stage: Stage, origin: string): Promise<number> => {
    const client = await stage.connect();
    client.socket.write(handshakeText(`Origin: ${origin}`));
    const { status } = await client.answer();
    client.socket.destroy();
    return status;
  };

  it.each<[string, () => readonly Guard[]]>([
    ['a limit', () => [quota()]],
    ['a limit in a sequence', () => [sequence(requestId(), quota())]],
  ])('spends nothing of %s, and its refusals are observed', async (_what, guards) => {
    const { watch, outcomes } = record();
    const server = upgrading((_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    guardUpgrade(server, watch, ...guards());
    const served = await stage(server);
    for (let i = 0; i < 10; i++) expect(await handshakeOf(served, 'https://evil.example')).toBe(403);
    expect(outcomes).toHaveLength(10);
    for (const status of [101, 101, 429]) expect(await handshakeOf(served, 'http://gatewarden.test')).toBe(status);
  });

  it('is refused by webSocketOrigin before a limit, or the service does not start', () => {
    expect(() => sequence(quota(), webSocketOrigin())).toThrow(
      'gatewarden: put webSocketOrigin(...) before limit(...): a page of another site would spend the quota of its visitor',
    );
  });

  it('is refused in the format of the guards before the limit', async () => {
    const server = webSockets();
    guardUpgrade(server, sequence(sequence(requestId(), quota())));
    const { port } = await stage(server);
    const { headers, body } = await refused(port, { Origin: 'https://evil.example' });
    expect(body).toMatchObject({ code: 'origin-untrusted', requestId: headers['x-request-id'] });
  });
});

it('the signal of an exchange of guardUpgrade is aborted when its outcome is known', async () => {
  const seen: unknown[] = [];
  const server = upgrading((request, socket) => {
    const exchange = exchangeOf(request);
    exchange.signal.addEventListener('abort', () => seen.push(exchange.outcome));
    socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
  });
  guardUpgrade(server, pass);
  const { connect } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText());
  await client.answer();
  client.socket.destroy();
  await until(() => seen.length > 0);
  expect(seen).toEqual([{ kind: 'completed', status: 101 }]);
});

it('an exchange of guardUpgrade that a guard answers with a stream ends as completed when it is sent', async () => {
  const { watch, outcomes } = record();
  const server = webSockets();
  guardUpgrade(server, watch, () => ({
    status: 200,
    headers: [],
    problem: undefined,
    stream: () => Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(100_000, 'x'))),
  }));
  const { connect } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText());
  const answer = await client.answer();
  expect([answer.status, answer.body.length]).toEqual([200, 10_000_000]);
  client.socket.destroy();
  await until(() => outcomes.length > 0);
  expect(outcomes).toEqual([{ kind: 'completed', status: 200 }]);
});

describe('while a listener has the connection, the exchange of guardUpgrade', () => {
  /** The outcomes after a listener has written `text`, and again after the connection is closed. */
  async function outcomesAfter(text: string): Promise<readonly (readonly Outcome[])[]> {
    const { watch, outcomes } = record();
    const server = upgrading((_request, socket) => void socket.write(text));
    guardUpgrade(server, watch);
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await once(client.socket, 'data');
    await turns();
    const before = [...outcomes];
    sockets[0]?.destroy();
    await until(() => outcomes.length > 0);
    return [before, outcomes];
  }

  it.each([
    [400, true],
    [503, true],
    [101, false],
    [200, false],
    [399, false],
  ])('with an answer of %i has ended: %s', async (status, hasEnded) => {
    const outcome = { kind: 'completed', status };
    const [before, after] = await outcomesAfter(`HTTP/1.1 ${status} Answer\r\n\r\n`);
    expect([before, after]).toEqual([hasEnded ? [outcome] : [], [outcome]]);
  });

  it('counts as upgraded if the answer is not of HTTP', async () => {
    expect(await outcomesAfter('another protocol')).toEqual([[], [{ kind: 'completed', status: 101 }]]);
  });
});

it('guardUpgrade keeps 16 KB while a guard is waiting, and cuts the client off at one byte more', async () => {
  for (const size of [16_384, 16_385]) {
    const { watch, outcomes } = record();
    const [reached, release, upgraded] = [gate(), gate(), [] as number[]];
    const server = upgrading((_request, socket, head) => {
      upgraded.push(head.length);
      socket.destroy();
    });
    guardUpgrade(server, watch, async () => {
      reached.resolve();
      await release.promise;
      return undefined;
    });
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await reached.promise;
    const start = sockets[0]?.bytesRead ?? 0;
    client.socket.write(Buffer.alloc(size));
    await until(() => (sockets[0]?.bytesRead ?? 0) === start + size);
    await turns();
    release.resolve();
    await until(() => outcomes.length > 0);
    expect(upgraded).toEqual(size === 16_384 ? [size] : []);
  }
});

it('an error of a listener is the same with an asynchronous guard as without guards', async () => {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of others) process.on('uncaughtException', listener);
  });
  const caught: unknown[] = [];
  process.on('uncaughtException', (error, origin) => caught.push([error.message, origin]));
  const server = upgrading(() => {
    throw new Error('of the listener');
  });
  guardUpgrade(server, async () => undefined);
  const { connect } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText());
  await until(() => caught.length > 0);
  expect(caught).toEqual([['of the listener', 'uncaughtException']]);
});

describe('the timeout of guardUpgrade', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    ['first', ['2s', '9s']],
    ['last', ['9s', '2s']],
  ] as const)('is the shortest of several calls, also if it comes %s', async (_place, timeouts) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const reached = gate();
    const server = upgrading(() => reached.resolve());
    for (const timeout of timeouts) createGuardUpgrade({ timeout })(server, pass);
    const { connect, sockets } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await reached.promise;
    vi.advanceTimersByTime(1999);
    expect(sockets[0]?.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(sockets[0]?.destroyed).toBe(true);
  });

  it('leaves no timer behind for a client that leaves before the answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { watch, outcomes } = record();
    const reached = gate();
    const server = upgrading((_request, socket) => {
      socket.resume();
      reached.resolve();
    });
    guardUpgrade(server, watch);
    const { connect } = await stage(server);
    const client = await connect();
    client.socket.write(handshakeText());
    await reached.promise;
    expect(vi.getTimerCount()).toBe(1);
    client.socket.resetAndDestroy();
    await until(() => outcomes.length > 0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('guardUpgrade loses nothing that arrives between an asynchronous guard and the listener, and limits it no longer', async () => {
  const [upgraded, sent] = [gate(), gate()];
  const received: Buffer[] = [];
  const server = upgrading((_request, socket) => {
    upgraded.resolve();
    void sent.promise.then(() => socket.on('data', (chunk: Buffer) => received.push(chunk)));
  });
  guardUpgrade(server, async () => {
    await turns();
    return undefined;
  });
  const { connect, sockets } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText());
  await upgraded.promise;
  const start = sockets[0]?.bytesRead ?? 0;
  client.socket.write('first');
  await until(() => (sockets[0]?.bytesRead ?? 0) === start + 5);
  await turns();
  sent.resolve();
  client.socket.write(Buffer.alloc(100_000, 'x'));
  await until(() => Buffer.concat(received).length >= 100_005 || sockets[0]?.destroyed === true);
  expect(Buffer.concat(received).toString()).toBe(`first${'x'.repeat(100_000)}`);
});

it('guardUpgrade reads and discards what a refused client still sends', async () => {
  const server = webSockets();
  guardUpgrade(server, refusing);
  const { connect, sockets } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText());
  expect((await client.answer()).status).toBe(401);
  await new Promise((sent) => client.socket.write(Buffer.alloc(30_000_000), sent));
  await until(() => (sockets[0]?.bytesRead ?? 0) > 30_000_000 || sockets[0]?.destroyed === true);
  expect(sockets[0]?.destroyed).toBe(false);
});

it('guardUpgrade does not compare the origin with one of two hosts', async () => {
  const server = upgrading((_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  guardUpgrade(server, pass);
  const { connect } = await stage(server);
  const client = await connect();
  client.socket.write(handshakeText('Origin: http://gatewarden.test', 'Host: other.example'));
  expect((await client.answer()).status).not.toBe(101);
});
