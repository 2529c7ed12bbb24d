import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { type AddressInfo, connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fastify } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { gatewarden, guard } from '../../src/adapters/fastify.js';
import {
  authenticate,
  type Guard,
  type Outcome,
  reportFaults,
  securityHeaders,
  sharedSecret,
  trustedHosts,
} from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { BOUNDARY } from '../upload/multipart.js';
import { UPLOAD_OPTIONS, uploadCases } from '../upload/upload-cases.js';
import { turns } from './talk.js';

/** Like `expect.poll`, but checks every millisecond. */
const poll = <T>(read: () => T) => expect.poll(read, { interval: 1 });

const SECRET = 'c4n4ry-secret-of-the-http2-tests-0123';
const MULTIPART = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-http2-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function start(...guards: readonly Guard[]) {
  const faults: unknown[] = [];
  const outcomes: string[] = [];
  const release: (() => void)[] = [];
  const record = (url: string, outcome: Outcome) =>
    outcomes.push(`${url} ${outcome.kind}${'status' in outcome ? ` ${outcome.status}` : ''}`);
  const watch: Guard = (exchange) => {
    exchange.onEnd((outcome) => record(exchange.request.url, outcome));
    return undefined;
  };
  const app = fastify({ http2: true });
  await app.register(gatewarden, {
    guards: [reportFaults((error) => faults.push(error)), watch, securityHeaders(), ...guards],
  });
  app.post('/json', () => ({}));
  app.get('/large', () => Buffer.alloc(10_000_000));
  app.get('/fast', () => ({ ok: true }));
  app.get('/slow', async () => {
    await new Promise<void>((go) => release.push(go));
    return { ok: true };
  });
  app.get('/pairs', (_request, reply) => {
    reply.hijack();
    // Node accepts a list of pairs over HTTP/2.
    reply.raw
      .writeHead(200, [
        ['x-own', 'vary'],
        ['Vary', 'Cookie'],
      ] as never)
      .end('{}');
  });
  app.get('/closed', { onRequest: guard(authenticate(sharedSecret({ secrets: [SECRET] }))) }, () => ({}));
  app.post(
    '/upload',
    {
      onRequest: guard(upload({ ...UPLOAD_OPTIONS, spool: { directory: folder, memoryBytes: 10 } })),
    },
    async (request) => ({ bytes: (await request.exchange.upload?.files[0]?.buffer())?.length }),
  );
  await app.listen({ port: 0, host: '127.0.0.1' });
  const sessions: ClientHttp2Session[] = [];
  onTestFinished(async () => {
    for (const session of sessions) session.destroy();
    await app.close();
  });
  return {
    port: (app.server.address() as AddressInfo).port,
    faults,
    outcomes,
    release,
    session() {
      const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
      session.on('error', () => undefined);
      sessions.push(session);
      return session;
    },
  };
}

async function answer(stream: ClientHttp2Stream): Promise<{ headers: IncomingHttpHeaders; body: unknown }> {
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  return { headers, body: JSON.parse(text) };
}

const get = (session: ClientHttp2Session, path: string, more: object = {}) =>
  answer(session.request({ ':path': path, ...more }));

function post(session: ClientHttp2Session, body: Buffer, type: object = MULTIPART) {
  const stream = session.request({ ':path': '/upload', ':method': 'POST', ...type });
  stream.end(body);
  return answer(stream);
}

/** Sends until the stream is closed, whatever the response is. */
function goOnSending(stream: ClientHttp2Stream): void {
  stream.on('error', () => undefined);
  const sending = setInterval(() => stream.writable && stream.write(Buffer.alloc(1000)), 5);
  onTestFinished(() => clearInterval(sending));
}

/** RFC 9113 section 4.1. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A value under an indexed name (RFC 7541 section 6.2.1). */
function literal(index: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([index, value.length]), Buffer.from(value)]);
}

describe('over HTTP/2', () => {
  it('ends each exchange of one connection separately', async () => {
    const { session, release, outcomes, faults } = await start();
    const client = session();
    const png = (await uploadCases())[0]?.body ?? Buffer.alloc(0);
    const slow = get(client, '/slow');
    await poll(() => release.length).toBe(1);
    expect((await get(client, '/fast')).headers).toMatchObject({ ':status': 200, 'x-content-type-options': 'nosniff' });
    expect((await post(client, png)).headers[':status']).toBe(200);
    expect((await get(client, '/closed')).headers).toMatchObject({ ':status': 401, 'www-authenticate': /Bearer/ });
    expect(outcomes).toEqual(['/fast completed 200', '/upload completed 200', '/closed refused 401']);
    release[0]?.();
    expect((await slow).headers[':status']).toBe(200);
    await poll(() => outcomes.at(-1)).toBe('/slow completed 200');
    expect(faults).toEqual([]);
    await poll(() => readdir(folder)).toEqual([]);
  });

  it('aborts the exchange of a client that resets its stream or closes its connection', async () => {
    const { session, release, outcomes } = await start();
    const client = session();
    const stream = client.request({ ':path': '/slow' });
    stream.on('error', () => undefined);
    await poll(() => release.length).toBe(1);
    stream.close(8);
    await poll(() => outcomes).toEqual(['/slow aborted']);
    client.request({ ':path': '/slow' }).on('error', () => undefined);
    await poll(() => release.length).toBe(2);
    client.destroy();
    await poll(() => outcomes).toEqual(['/slow aborted', '/slow aborted']);
  });

  it('sends the stream of a reply, and destroys it when the client resets', async () => {
    const sources = [Readable.from([Buffer.from('[1,'), Buffer.from('2]')]), new Readable({ read: () => undefined })];
    const streaming: Guard = (exchange) =>
      exchange.request.url === '/fast'
        ? { status: 200, headers: [], problem: undefined, stream: () => sources.shift() ?? Readable.from([]) }
        : undefined;
    const { session, outcomes, faults } = await start(streaming);
    const client = session();
    const [, endless] = sources;
    expect((await get(client, '/fast')).body).toEqual([1, 2]);
    await poll(() => outcomes).toEqual(['/fast completed 200']);
    const stream = client.request({ ':path': '/fast' });
    stream.on('error', () => undefined);
    endless?.push('[1,');
    await once(stream, 'data');
    stream.close(8);
    await poll(() => outcomes).toEqual(['/fast completed 200', '/fast aborted']);
    await poll(() => endless?.destroyed).toBe(true);
    expect(faults).toEqual([]);
  });

  it('answers HEAD like GET', async () => {
    const { session, outcomes } = await start();
    const stream = session().request({ ':path': '/fast', ':method': 'HEAD' });
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    stream.resume();
    expect(headers[':status']).toBe(200);
    await poll(() => outcomes).toEqual(['/fast completed 200']);
  });

  it.each([
    ['readBody', 'in one packet'],
    ['readBody', 'in two packets'],
    ['openBody', 'in one packet'],
    ['openBody', 'in two packets'],
  ] as const)('never reads a body that is cut off as a whole one: %s, %s', async (how, when) => {
    const read: unknown[] = [];
    let calls = 0;
    const { port, outcomes } = await start(async ({ request }) => {
      calls++;
      if (how === 'readBody') read.push(await request.readBody?.(1000));
      else read.push(await text(request.openBody?.('read') as Readable).catch(() => 'aborted'));
      return undefined;
    });
    // The client of Node would end the body before it resets the stream.
    const socket = connectSocket(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const head = [
      Buffer.from([0x83, 0x86]),
      literal(0x44, '/json'),
      literal(0x41, 'localhost'),
      literal(0x5f, 'application/json'),
    ];
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(frame(0x4, 0, 0, Buffer.alloc(0)));
    const begun = [frame(0x1, 0x4, 1, Buffer.concat(head)), frame(0x0, 0, 1, Buffer.from('{"a":1}'))];
    const reset = frame(0x3, 0, 1, Buffer.from([0, 0, 0, 8]));
    if (when === 'in one packet') {
      socket.write(Buffer.concat([...begun, reset]));
    } else {
      socket.write(Buffer.concat(begun));
      await poll(() => calls).toBe(1);
      await turns();
      socket.write(reset);
      await poll(() => read).toEqual(['aborted']);
    }
    await poll(() => outcomes).toEqual(['/json aborted']);
    await turns(20);
    // In one packet, the exchange may have ended before the guard runs.
    expect(read.filter((body) => body !== 'aborted')).toEqual([]);
  });

  it('aborts the exchange of a HEAD that is reset before the response', async () => {
    const { session, release, outcomes } = await start();
    const stream = session().request({ ':path': '/slow', ':method': 'HEAD' });
    stream.on('error', () => undefined);
    await poll(() => release.length).toBe(1);
    stream.close(0);
    await poll(() => outcomes).toEqual(['/slow aborted']);
  });

  it('aborts an exchange that is reset without an error, before and during the response', async () => {
    const { session, release, outcomes } = await start();
    const client = session();
    const slow = client.request({ ':path': '/slow' });
    slow.on('error', () => undefined);
    await poll(() => release.length).toBe(1);
    slow.close(0);
    await poll(() => outcomes).toEqual(['/slow aborted']);
    // Flow control stops the response before its end.
    const large = client.request({ ':path': '/large' });
    large.on('error', () => undefined);
    await once(large, 'response');
    large.pause();
    await turns(50);
    large.close(0);
    await poll(() => outcomes).toEqual(['/slow aborted', '/large aborted']);
    expect(client.destroyed).toBe(false);
  });

  it('ends the exchange with the whole response, and stops a client that continues to send', async () => {
    const { session, outcomes } = await start();
    const stream = session().request({ ':path': '/json', ':method': 'POST', 'content-type': 'application/json' });
    goOnSending(stream);
    stream.write(Buffer.alloc(2_000_000, 32));
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    expect(headers[':status']).toBe(413);
    await poll(() => outcomes).toEqual(['/json completed 413']);
    stream.resume();
    await poll(() => stream.closed).toBe(true);
  });

  it('treats uploads as over HTTP/1, and leaves no file if they are cut off', async () => {
    const { session, outcomes, faults } = await start();
    const client = session();
    for (const { what, body, contentType, status, code } of await uploadCases()) {
      const type = contentType === undefined && what !== 'no Content-Type' ? MULTIPART['content-type'] : contentType;
      // node:http2 does not send such a header.
      if (type !== undefined && /[^ -~]/.test(type)) continue;
      const { headers, body: answered } = await post(client, body, type === undefined ? {} : { 'content-type': type });
      expect([what, headers[':status'], answered]).toMatchObject([what, status, code === undefined ? {} : { code }]);
    }
    expect(outcomes.length).toBeGreaterThan(50);
    const stream = client.request({ ':path': '/upload', ':method': 'POST', ...MULTIPART });
    stream.on('error', () => undefined);
    const large = (await uploadCases()).find(({ what }) => what === 'a PNG of the largest size')?.body;
    stream.write(large?.subarray(0, 50_000));
    await poll(() => readdir(folder)).toHaveLength(1);
    stream.close(8);
    await poll(() => outcomes.at(-1)).toBe('/upload aborted');
    expect(faults).toEqual([]);
    await poll(() => readdir(folder)).toEqual([]);
  });

  it('answers a client that continues to send a refused upload, and then closes its stream', async () => {
    const { session, faults } = await start();
    const stream = session().request({ ':path': '/upload', ':method': 'POST', 'content-type': 'text/plain' });
    goOnSending(stream);
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    expect(headers[':status']).toBe(400);
    stream.resume();
    // Not the event 'close', which the client of Node delays until its last write is sent.
    await poll(() => stream.closed).toBe(true);
    expect(faults).toEqual([]);
  });

  it('reads the host from :authority, and treats a different Host as a second one', async () => {
    const { session } = await start(trustedHosts({ hosts: ['example.com'] }));
    const client = session();
    const status = async (more: object) => (await get(client, '/fast', more)).headers[':status'];
    expect(await status({ ':authority': 'example.com' })).toBe(200);
    expect(await status({ ':authority': 'evil.test' })).toBe(400);
    expect(await status({ ':authority': 'example.com', host: 'example.com' })).toBe(200);
    expect(await status({ ':authority': 'example.com', host: 'evil.test' })).toBe(400);
    expect(await status({ ':authority': 'evil.test', host: 'example.com' })).toBe(400);
  });

  it('merges the Vary of guards into that of a list of pairs', async () => {
    const { session } = await start((exchange) => {
      exchange.append('Vary', 'Origin');
      return undefined;
    });
    const { headers } = await get(session(), '/pairs');
    expect(headers).toMatchObject({ vary: 'Origin, Cookie', 'x-own': 'vary', 'x-frame-options': 'DENY' });
  });
});
