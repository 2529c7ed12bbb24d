import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Handler, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createGuard, guard } from '../../src/adapters/hono.js';
import {
  authenticate,
  type Exchange,
  type Guard,
  type Outcome,
  type Problem,
  problem,
  processTime,
  refuse,
  sharedSecret,
  trustedHosts,
} from '../../src/index.js';
import { adapterContract, type Route, type Service, type Serving } from '../contracts/adapter/index.js';
import { adapterAuthCases } from '../contracts/auth-cases.js';
import { edgeCases } from '../contracts/edge-cases.js';
import { refundCases } from '../contracts/refunds.js';
import { signedRequestCases } from '../contracts/signed-request.js';
import { uploadContract } from '../contracts/upload.js';
import { uploadLoad } from '../contracts/upload-load.js';
import { startServing } from '../serving.js';
import { marking, refusing } from './two-guards.js';

type Env = { Bindings: HttpBindings };

function translated(service: Service): Hono<Env> {
  const app = new Hono<Env>();
  const { before, mount } = service;
  if (before !== undefined) {
    app.use(
      (context, next) =>
        new Promise((resolve, reject) => {
          before(
            () => void next().then(() => resolve(undefined), reject),
            () => resolve(context.json({}, 503)),
            context.env.incoming.socket,
          );
        }),
    );
  }
  app.onError((_error, context) => context.json({}, 500));
  for (const group of service.guards) app.use(guard(...group));
  for (const route of service.routes) add(app, route);
  if (mount !== undefined) {
    const part = new Hono<Env>();
    for (const group of mount.guards) part.use(guard(...group));
    for (const route of mount.routes) add(part, route);
    app.route(mount.path, part);
  }
  return app;

  function add(part: Hono<Env>, { method, path, guards, handler }: Route): void {
    const handle: Handler<Env> = async (context) => {
      service.entered(context.var.exchange);
      switch (handler.does) {
        case 'answer':
          await handler.after?.();
          return context.json(handler.body as object, handler.status as ContentfulStatusCode, { ...handler.headers });
        case 'throw':
        case 'reject':
          throw handler.error;
        case 'write':
          handler.write(context.env.incoming, context.env.outgoing as never);
          return RESPONSE_ALREADY_SENT;
      }
    };
    part.on(method, [path], ...guards.map((group) => guard(...group)), handle);
  }
}

const listening = (app: Hono<Env>): Promise<Serving> => startServing(createAdaptorServer({ fetch: app.fetch }));

const serve = (service: Service) => listening(translated(service));

adapterContract('Hono on Node', serve);
adapterAuthCases('Hono on Node', serve);
signedRequestCases('Hono on Node', serve);
refundCases('Hono on Node', serve);
edgeCases('Hono on Node', serve);
uploadContract('Hono on Node', serve);
uploadLoad('Hono on Node', serve);

/** Sends a request over a real socket, or calls the app without one, as other runtimes do. */
const WAYS: readonly (readonly [
  way: string,
  ask: (app: Hono<Env>, path?: string, init?: RequestInit) => Promise<Response>,
])[] = [
  [
    'on Node',
    async (app, path = '/', init = {}) => {
      const { port, close } = await listening(app);
      onTestFinished(close);
      return fetch(`http://127.0.0.1:${port}${path}`, init);
    },
  ],
  ['without Node', async (app, path = '/', init = {}) => app.request(path, init)],
];

describe.each(WAYS)('Hono, %s', (_way, ask) => {
  it.each<[string, Handler<Env>]>([
    ['made by the context', (context) => context.json({})],
    ['of the web', () => new Response('{}')],
    ['of another server, whose headers are immutable', () => fetch(`data:application/json,{}`)],
  ])('adds the headers of guards to a response %s', async (_what, handler) => {
    const app = new Hono<Env>();
    app.use(guard(marking));
    app.get('/', handler);
    const { headers, status } = await ask(app);
    expect([status, headers.get('X-Guarded'), headers.get('Vary')]).toEqual([200, 'yes', 'Origin']);
  });

  it('keeps the headers of the handler, and merges Vary', async () => {
    const app = new Hono<Env>();
    app.use(guard(marking), guard(marking));
    app.get('/', (context) => context.json({}, 200, { 'X-Guarded': 'otherwise', Vary: 'Accept-Encoding, origin' }));
    const { headers } = await ask(app);
    expect([headers.get('X-Guarded'), headers.get('Vary')]).toEqual(['otherwise', 'Origin, Accept-Encoding']);
  });

  it('runs the hooks before the head in reverse order', async () => {
    const app = new Hono<Env>();
    const hooking =
      (name: string): Guard =>
      (exchange) => {
        exchange.onHead(() => exchange.append('X-Order', name));
        return undefined;
      };
    app.use(guard(hooking('first'), hooking('second')), guard(hooking('third')));
    app.get('/', (context) => context.json({}));
    expect((await ask(app)).headers.get('X-Order')).toBe('third, second, first');
  });

  it('refuses in place of a response that was set before', async () => {
    const app = new Hono<Env>();
    app.use(guard(marking));
    app.use(async (context, next) => {
      context.res = context.json({ secret: true });
      await next();
    });
    app.get('/', guard(refusing), (context) => context.json({}));
    const response = await ask(app);
    expect([response.status, await response.json()]).toMatchObject([401, { code: 'credentials-missing' }]);
  });

  it('adds the headers of guards to a 404, to an error and to a refusal', async () => {
    const app = new Hono<Env>();
    app.onError((_error, context) => context.json({}, 500));
    app.use(guard(marking));
    app.get('/broken', () => {
      throw new Error('broken');
    });
    app.get('/closed', guard(refusing), (context) => context.json({}));
    for (const [path, status] of [
      ['/none', 404],
      ['/broken', 500],
      ['/closed', 401],
    ] as const) {
      const response = await ask(app, path);
      expect([path, response.status, response.headers.get('X-Guarded')]).toEqual([path, status, 'yes']);
    }
  });

  it('sends a refusal with all its headers and its body', async () => {
    const app = new Hono<Env>();
    app.get('/', guard(refusing), (context) => context.json({}));
    const response = await ask(app);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'www-authenticate': 'Bearer',
    });
    expect(await response.json()).toMatchObject({ code: 'credentials-missing', status: 401 });
  });

  it('lets a guard read the body, and the handler again', async () => {
    const read: unknown[] = [];
    const app = new Hono<Env>();
    app.use(
      guard(async (exchange) => {
        const body = await exchange.request.readBody?.(1000);
        read.push(body instanceof Uint8Array ? Buffer.from(body).toString() : body);
        return undefined;
      }),
    );
    app.post('/', async (context) => context.json({ got: await context.req.json() }));
    const response = await ask(app, '/', { method: 'POST', body: '{"a":1}' });
    expect([await response.json(), read]).toEqual([{ got: { a: 1 } }, ['{"a":1}']]);
  });

  it.each([
    ['with a length', (text: string): unknown => text],
    ['in chunks', (text: string): unknown => new Blob([text]).stream()],
  ])('reads no more of a body %s than allowed', async (_what, body) => {
    const read: unknown[] = [];
    const app = new Hono<Env>();
    app.use(
      guard(async (exchange) => {
        read.push(await exchange.request.readBody?.(10));
        return refuse(problem('content-too-large'));
      }),
    );
    const init = { method: 'POST', body: body('x'.repeat(100_000)), duplex: 'half' } as RequestInit;
    expect((await ask(app, '/', init)).status).toBe(413);
    expect(read).toEqual(['too-large']);
  });

  it('ends the exchange once, with the status that is sent', async () => {
    const outcomes: Outcome[] = [];
    const watch: Guard = (exchange) => void exchange.onEnd((outcome) => outcomes.push(outcome));
    const app = new Hono<Env>();
    app.use(guard(watch), guard(marking));
    app.get('/', (context) => context.json({}, 201));
    await (await ask(app)).text();
    await vi.waitFor(() => expect(outcomes).toEqual([{ kind: 'completed', status: 201 }]));
  });

  it('shows the request as it was sent', async () => {
    const seen: Exchange['request'][] = [];
    const app = new Hono<Env>();
    app.post(
      '/a',
      guard((exchange) => void seen.push(exchange.request)),
      (context) => context.text(''),
    );
    await ask(app, '/a?b=%20c', { method: 'POST', headers: { 'X-Two': 'a, b' } });
    const [request] = seen;
    expect([
      request?.method,
      request?.url,
      request?.fieldLines('x-two'),
      request?.fieldLines('x-none'),
      request?.encrypted,
    ]).toEqual(['POST', '/a?b=%20c', ['a, b'], [], false]);
  });
});

describe('Hono, without Node', () => {
  it('aborts the exchange with the request, even while the handler runs', async () => {
    const outcomes: Outcome[] = [];
    const controller = new AbortController();
    const app = new Hono();
    app.use(guard((exchange) => void exchange.onEnd((outcome) => outcomes.push(outcome))));
    app.get('/', async (context) => {
      controller.abort();
      return context.json({ aborted: context.var.exchange.signal.aborted });
    });
    const response = await app.request('/', { signal: controller.signal });
    expect(await response.json()).toEqual({ aborted: true });
    expect(outcomes).toEqual([{ kind: 'aborted' }]);
  });

  it('refuses even if the variable exchange holds something else', async () => {
    const app = new Hono();
    app.use((context, next) => {
      context.set('exchange', {} as Exchange);
      return next();
    });
    app.use(guard(() => refuse(problem('credentials-missing'))));
    app.get('/', (context) => context.json({}));
    expect((await app.request('/')).status).toBe(401);
  });

  it('starts no handler for a request that is aborted before, or while a guard waits', async () => {
    let handled = 0;
    const controller = new AbortController();
    const app = new Hono();
    app.use(
      guard(async () => {
        controller.abort();
        return undefined;
      }),
    );
    app.get('/', (context) => context.json({ handled: ++handled }));
    for (let i = 0; i < 2; i++) await app.request('/', { signal: controller.signal });
    expect(handled).toBe(0);
  });

  it('ends the exchange if a value is thrown that Hono does not catch', async () => {
    const outcomes: Outcome[] = [];
    const app = new Hono();
    app.use(guard((exchange) => void exchange.onEnd((outcome) => outcomes.push(outcome))));
    app.get('/', () => {
      throw 'not an error';
    });
    await expect(async () => app.request('/')).rejects.toBe('not an error');
    expect(outcomes).toEqual([{ kind: 'completed', status: 500 }]);
  });

  it('reads a body of exactly the allowed size, and none that was read before', async () => {
    const read: unknown[] = [];
    const app = new Hono();
    app.post('/used', async (context, next) => {
      await context.req.raw.text();
      await next();
    });
    app.use(
      guard(async ({ request }) => {
        read.push(await request.readBody?.(10));
        return undefined;
      }),
    );
    app.post('*', (context) => context.json({}));
    const bytes = (size: number) => new Uint8Array(size);
    for (const [path, body] of [
      ['/', bytes(10)],
      ['/', new Blob([bytes(10)]).stream()],
      ['/', new Blob([bytes(11)]).stream()],
      ['/used', bytes(1)],
    ] as const) {
      await app.request(path, { method: 'POST', body, duplex: 'half' } as RequestInit);
    }
    expect(read).toEqual([bytes(10), bytes(10), 'too-large', 'consumed']);
  });

  it('lets guards set a header just before the head is sent', async () => {
    const app = new Hono();
    app.use(guard(processTime()));
    app.get('/', (context) => context.json({}));
    expect((await app.request('/')).headers.get('X-Process-Time')).toMatch(/^\d/);
  });

  it('asks the runtime for the address, and reads TLS from the URL', async () => {
    const seen: Exchange['request'][] = [];
    const app = new Hono();
    const guarded = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.9' } }) });
    app.use(guarded((exchange) => void seen.push(exchange.request)));
    app.get('/', (context) => context.text(''));
    await app.request('https://api.example/');
    expect([seen[0]?.remoteAddress, seen[0]?.encrypted]).toEqual(['192.0.2.9', true]);
  });

  it('reads the host from the URL of a request without Host', async () => {
    const app = new Hono();
    app.use(guard(trustedHosts({ hosts: ['api.example', 'localhost:8080'] })));
    app.get('/', (context) => context.text(''));
    const statuses: number[] = [];
    for (const origin of ['https://api.example', 'http://localhost:8080', 'http://localhost', 'https://evil.example']) {
      statuses.push((await app.request(`${origin}/?a=://b/`)).status);
    }
    expect(statuses).toEqual([200, 200, 400, 400]);
    const named = { headers: { host: 'evil.example' } };
    expect((await app.request('https://api.example/', named)).status).toBe(400);
  });

  it('lets a handler send a problem with its status, type-checked', async () => {
    const app = new Hono();
    app.get('/', (context) => {
      const refusal: Problem = problem('upload-malformed', { reason: 'no image' });
      return context.json(refusal, refusal.status);
    });
    const response = await app.request('/');
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'upload-malformed' }]);
  });

  it('refuses repeated credentials', async () => {
    const app = new Hono();
    const secret = 'hono-adapter-test-secret-0123456789-abc';
    app.use(guard(authenticate(sharedSecret({ secrets: [secret] }))));
    app.get('/', (context) => context.text(''));
    const headers = new Headers([
      ['Authorization', `Bearer ${secret}`],
      ['Authorization', `Bearer ${secret}`],
    ]);
    expect((await app.request('/', { headers })).status).toBe(400);
  });
});
