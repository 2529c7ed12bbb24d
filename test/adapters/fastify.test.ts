import { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { gatewarden, guard } from '../../src/adapters/fastify.js';
import type { Guard, Outcome } from '../../src/index.js';
import { adapterContract, type Route, type Service, type Serving } from '../contracts/adapter/index.js';
import { adapterAuthCases } from '../contracts/auth-cases.js';
import { edgeCases } from '../contracts/edge-cases.js';
import { refundCases } from '../contracts/refunds.js';
import { signedRequestCases } from '../contracts/signed-request.js';
import { uploadContract } from '../contracts/upload.js';
import { uploadLoad } from '../contracts/upload-load.js';
import { marking, refusing } from './two-guards.js';

async function translated(service: Service): Promise<FastifyInstance> {
  const app = fastify({ forceCloseConnections: true });
  const { before, mount } = service;
  if (before !== undefined) {
    app.addHook('onRequest', (request, reply, next) => {
      before(next, () => void reply.code(503).send({}), request.raw.socket);
    });
  }
  for (const guards of service.guards) await app.register(gatewarden, { guards });
  for (const route of service.routes) add(app, route);
  if (mount !== undefined) {
    await app.register(
      async (part) => {
        for (const guards of mount.guards) await part.register(gatewarden, { guards });
        for (const route of mount.routes) add(part, route);
      },
      { prefix: mount.path },
    );
  }
  return app;

  function add(part: FastifyInstance, { method, path, guards, handler }: Route): void {
    const handle: RouteHandlerMethod = (request, reply) => {
      service.entered(request.exchange);
      switch (handler.does) {
        case 'answer': {
          const answer = () =>
            reply
              .code(handler.status)
              .headers({ ...handler.headers })
              .send(handler.body);
          return handler.after === undefined ? answer() : handler.after().then(() => answer());
        }
        case 'throw':
          throw handler.error;
        case 'reject':
          return Promise.reject(handler.error);
        case 'write':
          reply.hijack();
          handler.write(request.raw, reply.raw);
          return undefined;
      }
    };
    part.route({ method, url: path, onRequest: guards.map((group) => guard(...group)), handler: handle });
  }
}

async function serve(service: Service): Promise<Serving> {
  const app = await translated(service);
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}

adapterContract('Fastify', serve);
adapterAuthCases('Fastify', serve);
signedRequestCases('Fastify', serve);
refundCases('Fastify', serve);
edgeCases('Fastify', serve);
uploadContract('Fastify', serve);
uploadLoad('Fastify', serve);

describe('Fastify', () => {
  function watching() {
    let end: ((outcome: Outcome) => void) | undefined;
    const outcome = new Promise<Outcome>((resolve) => {
      end = resolve;
    });
    const watch: Guard = (exchange) => void exchange.onEnd((ended) => end?.(ended));
    return { watch, outcome };
  }

  it('keeps the headers of guards if a handler hijacks the reply', async () => {
    const { watch, outcome } = watching();
    const app = fastify();
    await app.register(gatewarden, { guards: [watch, marking] });
    app.get('/', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('data: 1\n\n');
    });
    const response = await app.inject('/');
    expect(response.headers).toMatchObject({ 'x-guarded': 'yes', vary: 'Origin', 'content-type': 'text/event-stream' });
    expect(await outcome).toEqual({ kind: 'completed', status: 200 });
    await app.close();
  });

  it('keeps the headers of other hooks on a refusal', async () => {
    const app = fastify();
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('Access-Control-Allow-Origin', 'https://a.example').header('Set-Cookie', ['a=1', 'b=2']);
    });
    await app.register(gatewarden, { guards: [refusing] });
    const response = await app.inject('/');
    expect(response.statusCode).toBe(401);
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': 'https://a.example',
      'set-cookie': ['a=1', 'b=2'],
      'www-authenticate': 'Bearer',
    });
    await app.close();
  });

  it('shows its headers to the application, which can replace them', async () => {
    const app = fastify();
    await app.register(gatewarden, { guards: [marking] });
    app.get('/', (_request, reply) => {
      reply.header('Vary', `${reply.getHeader('Vary')}, Accept-Encoding`).header('X-Guarded', 'otherwise');
      return {};
    });
    const { headers } = await app.inject('/');
    expect([headers['x-guarded'], headers.vary]).toEqual(['otherwise', 'Origin, Accept-Encoding']);
    await app.close();
  });

  it("passes an error of a handler to the app's error handler, with the same exchange", async () => {
    const { watch, outcome } = watching();
    const app = fastify();
    app.setErrorHandler((error, request, reply) => {
      expect(request.exchange.outcome).toBeUndefined();
      return reply.code(418).send({ message: (error as Error).message });
    });
    await app.register(gatewarden, { guards: [watch, marking] });
    app.get('/', async () => {
      throw new Error('out of memory');
    });
    const response = await app.inject('/');
    expect([response.statusCode, response.json(), response.headers['x-guarded']]).toEqual([
      418,
      { message: 'out of memory' },
      'yes',
    ]);
    expect(await outcome).toEqual({ kind: 'completed', status: 418 });
    await app.close();
  });

  it('refuses before the body is parsed, and otherwise leaves it to the parser', async () => {
    const app = fastify();
    app.post('/closed', { onRequest: guard(refusing) }, () => ({}));
    app.post('/open', { onRequest: guard(async () => undefined) }, (request) => ({ body: request.body }));
    const broken = { method: 'POST', headers: { 'content-type': 'application/json' }, payload: '{"broken' } as const;
    expect((await app.inject({ ...broken, url: '/closed' })).statusCode).toBe(401);
    expect((await app.inject({ ...broken, url: '/open' })).statusCode).toBe(400);
    expect((await app.inject({ ...broken, url: '/open', payload: '{"a":1}' })).json()).toEqual({ body: { a: 1 } });
    await app.close();
  });

  it('works on a later hook, after the body was parsed', async () => {
    const app = fastify();
    app.post('/', { preHandler: guard(refusing) }, () => ({}));
    expect((await app.inject({ method: 'POST', url: '/', payload: { a: 1 } })).statusCode).toBe(401);
    await app.close();
  });

  it.each([
    'preParsing',
    'preSerialization',
    'onSend',
    'onResponse',
    'onError',
    'onTimeout',
    'onRequestAbort',
  ] as const)('stops the start if it is on %s of a route', async (hook) => {
    const app = fastify();
    await app.register(gatewarden, { guards: [] });
    for (const hooks of [guard(refusing), [async () => undefined, guard(refusing)]]) {
      expect(() => app.get('/', { [hook]: hooks }, () => ({}))).toThrow(
        `guard(...) is on ${hook} of /; put it on onRequest`,
      );
    }
    await app.close();
  });

  it('reports a fault if it runs after the response', async () => {
    const printed = vi.spyOn(console, 'error').mockReturnValue(undefined);
    onTestFinished(() => printed.mockRestore());
    let ran = 0;
    const app = fastify();
    app.get('/', { onResponse: guard(() => void ran++) }, () => ({}));
    expect((await app.inject('/')).statusCode).toBe(200);
    await expect.poll(() => printed.mock.calls.length).toBe(1);
    expect(printed.mock.calls[0]?.[1]).toMatchObject({ code: 'GATEWARDEN_BAD_OPTION' });
    expect(ran).toBe(0);
    await app.close();
  });

  it.each(['preParsing', 'preSerialization', 'onSend'] as const)(
    'admits no request from %s, a hook for payloads',
    async (hook) => {
      const errors: unknown[] = [];
      const app = fastify();
      app.setErrorHandler((error, _request, reply) => {
        errors.push(error);
        return reply.code(500).send('');
      });
      app.post('/', { [hook]: guard(async () => undefined) }, () => ({ a: 1 }));
      expect((await app.inject({ method: 'POST', url: '/', payload: { a: 1 } })).statusCode).toBe(500);
      expect(errors[0]).toMatchObject({
        message: expect.stringContaining('put it on onRequest, preValidation or preHandler'),
      });
      await app.close();
    },
  );

  it('runs the onResponse hooks after a refusal, for their logs', async () => {
    const seen: number[] = [];
    const app = fastify();
    app.addHook('onResponse', async (_request, reply) => void seen.push(reply.raw.statusCode));
    app.get('/', { onRequest: guard(refusing) }, () => ({}));
    await app.inject('/');
    expect(seen).toEqual([401]);
    await app.close();
  });

  it('continues without a promise if no guard is asynchronous', () => {
    const steps: string[] = [];
    const hook = guard(() => undefined);
    const request = new IncomingMessage(new Socket());
    const raw = new ServerResponse(request);
    hook.call({} as never, { raw: request } as never, { raw, sent: false } as never, () => void steps.push('next'));
    steps.push('returned');
    expect(steps).toEqual(['next', 'returned']);
  });

  it('cannot be registered without guards', async () => {
    await expect(fastify().register(gatewarden, {} as never)).rejects.toThrow(
      /a list of guards; write app\.register\(gatewarden, \{ guards: \[\.\.\.\] \}\)/,
    );
    await expect(fastify().register(gatewarden, { guards: ['cors'] } as never)).rejects.toThrow(/must be a function/);
  });
});
