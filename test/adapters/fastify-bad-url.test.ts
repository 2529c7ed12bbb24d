import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type FastifyServerOptions, fastify } from 'fastify';
import { describe, expect, it, onTestFinished } from 'vitest';
import { gatewarden } from '../../src/adapters/fastify.js';
import {
  authenticate,
  type Exchange,
  type Guard,
  type Outcome,
  problemFormat,
  reportFaults,
  requestId,
  securityHeaders,
  sharedSecret,
} from '../../src/index.js';
import { Client } from '../raw-client.js';

const SECRET = 'a-secret-for-the-bad-url-tests-0123456';
const SECURED = authenticate(sharedSecret({ secrets: [SECRET] }));

/** Serves with guards for the whole application. Records the outcomes, and what the handlers of Fastify were called with. */
async function serve(guards: readonly Guard[], options: FastifyServerOptions = {}) {
  const outcomes: [url: string, outcome: Outcome][] = [];
  const faults: string[] = [];
  const watch: Guard = (exchange: Exchange) => {
    exchange.onEnd((outcome) => outcomes.push([exchange.request.url, outcome]));
    return undefined;
  };
  const app = fastify(options);
  await app.register(gatewarden, {
    guards: [reportFaults((error) => faults.push(String(error))), watch, requestId(), securityHeaders(), ...guards],
  });
  app.get('/item/:id', () => ({}));
  app.get('/', () => ({}));
  await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  async function ask(path: string, ...fields: readonly string[]) {
    const client = await Client.connect(port);
    onTestFinished(() => void client.socket.destroy());
    client.send(`GET ${path}`, 'Connection: close', ...fields);
    const answer = await client.answer();
    return {
      status: answer.status,
      body: answer.json() as Record<string, unknown>,
      nosniff: answer.field('x-content-type-options'),
      id: answer.field('x-request-id'),
    };
  }
  return { app, port, ask, outcomes, faults };
}

/** Requests that Fastify cannot route, with its own answer. */
const UNROUTABLE: readonly (readonly [path: string, status: number, code: string])[] = [
  ['/%', 400, 'FST_ERR_BAD_URL'],
  ['/%2', 400, 'FST_ERR_BAD_URL'],
  ['/%zz?a=1', 400, 'FST_ERR_BAD_URL'],
  ['/%E0%A4%A', 400, 'FST_ERR_BAD_URL'],
  ['/item/%ff', 400, 'FST_ERR_BAD_URL'],
  [`/item/${'x'.repeat(101)}`, 414, 'FST_ERR_MAX_PARAM_LENGTH'],
];

describe('a path that Fastify cannot route', () => {
  it.each(UNROUTABLE)('%s is answered after the guards, with their headers', async (path, status, code) => {
    const { ask, outcomes, faults } = await serve([]);
    const answer = await ask(path);
    expect(answer).toMatchObject({
      status,
      body: { statusCode: status, code },
      nosniff: 'nosniff',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    await expect.poll(() => outcomes).toEqual([[path, { kind: 'completed', status }]]);
    expect(faults).toEqual([]);
  });

  it.each(UNROUTABLE)('%s is refused by a guard, in the format of the service', async (path) => {
    const format = problemFormat({ default: (problem) => ({ body: { error: problem.code } }) });
    const { ask, outcomes, faults } = await serve([format, SECURED]);
    const refused = await ask(path);
    expect(refused).toMatchObject({ status: 401, body: { error: 'credentials-missing' }, nosniff: 'nosniff' });
    await expect.poll(() => outcomes).toEqual([[path, { kind: 'refused', status: 401, code: 'credentials-missing' }]]);
    const passed = await ask(path, `Authorization: Bearer ${SECRET}`);
    expect(passed.body.code).toMatch(/^FST_ERR_/);
    expect(faults).toEqual([]);
  });

  it('waits for an asynchronous guard', async () => {
    const later: Guard = async (exchange) => {
      await new Promise((turn) => setImmediate(turn));
      exchange.set('X-Later', 'yes');
      return undefined;
    };
    const { ask } = await serve([later]);
    expect(await ask('/%')).toMatchObject({ status: 400, nosniff: 'nosniff' });
  });

  it('is answered with 500 if a guard fails', async () => {
    const broken: Guard = () => {
      throw new Error('broken');
    };
    const { ask, faults } = await serve([broken]);
    expect(await ask('/%')).toMatchObject({ status: 500, body: { code: 'internal-error' } });
    expect(faults).toEqual(['Error: broken']);
  });

  it('passes the guards of every registration, in order', async () => {
    const ran: string[] = [];
    const named =
      (name: string): Guard =>
      () =>
        void ran.push(name);
    const app = fastify();
    await app.register(gatewarden, { guards: [named('a')] });
    await app.register(gatewarden, { guards: [named('b'), SECURED] });
    await app.register(gatewarden, { guards: [named('c')] });
    onTestFinished(() => app.close());
    expect((await app.inject('/%')).statusCode).toBe(401);
    expect(ran).toEqual(['a', 'b']);
  });

  it('is still answered by frameworkErrors of the application', async () => {
    const { ask } = await serve([SECURED], {
      frameworkErrors: (error, _request, reply) => reply.raw.writeHead(418).end(JSON.stringify({ own: error.code })),
    });
    expect((await ask('/%')).status).toBe(401);
    expect(await ask('/%', `Authorization: Bearer ${SECRET}`)).toMatchObject({
      status: 418,
      body: { own: 'FST_ERR_BAD_URL' },
      nosniff: 'nosniff',
    });
  });

  it('is not guarded by guards of a part of the application', async () => {
    const app = fastify();
    await app.register(async (part) => {
      await part.register(gatewarden, { guards: [SECURED] });
      part.get('/part', () => ({}));
    });
    onTestFinished(() => app.close());
    expect((await app.inject('/%')).statusCode).toBe(400);
    expect((await app.inject('/part')).statusCode).toBe(401);
  });

  it('is guarded over HTTP/2', async () => {
    const app = fastify({ http2: true });
    await app.register(gatewarden, { guards: [securityHeaders(), SECURED] });
    await app.listen({ port: 0, host: '127.0.0.1' });
    const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
    onTestFinished(async () => {
      session.destroy();
      await app.close();
    });
    const stream = session.request({ ':path': '/%' });
    const [head] = await once(stream, 'response');
    expect([head[':status'], head['x-content-type-options']]).toEqual([401, 'nosniff']);
    expect(JSON.parse(await text(stream))).toMatchObject({ code: 'credentials-missing' });
  });
});
