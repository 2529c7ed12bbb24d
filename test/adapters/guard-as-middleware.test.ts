import type { Request, RequestHandler, Response } from 'express';
import fastify, { type onRequestHookHandler } from 'fastify';
import { Hono, type MiddlewareHandler } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  accessLog,
  audit,
  authenticate,
  clientIp,
  cors,
  type Guard,
  limit,
  OptionError,
  problemFormat,
  processTime,
  protectedResource,
  reportFaults,
  requestId,
  requireScope,
  securityHeaders,
  sequence,
  sharedSecret,
  slidingWindow,
  trustedHosts,
} from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { EXPRESS_4, EXPRESS_5, url } from './express-app.js';

const secret = sharedSecret({ secrets: ['c4n4ry-secret-0123456789-0123456789'] });

/** Every guard, by the name of the function that makes it. */
const GUARDS: readonly (readonly [name: string, guard: Guard])[] = [
  ['accessLog', accessLog({ logger: console })],
  ['audit', audit({ sink: () => undefined })],
  ['authenticate', authenticate(secret)],
  ['authenticate', authenticate(secret, { optional: true })],
  ['clientIp', clientIp()],
  ['cors', cors({ origin: '*' })],
  ['limit', limit({ by: 'global', policies: slidingWindow({ limit: 1, window: '1m' }) })],
  ['problemFormat', problemFormat({})],
  ['processTime', processTime()],
  [
    'protectedResource',
    protectedResource({ resource: 'https://api.example', authorizationServers: ['https://auth.example'] }),
  ],
  ['reportFaults', reportFaults(() => undefined)],
  ['requestId', requestId()],
  ['requireScope', requireScope('admin')],
  ['securityHeaders', securityHeaders()],
  ['sequence', sequence()],
  ['trustedHosts', trustedHosts({ hosts: ['127.0.0.1'] })],
  ['upload', upload({ files: { types: ['image/png'], maxBytes: '1mb' } })],
];
const madeBy = (name: string) => (name === 'sequence' ? 'guards' : `${name}(...)`);

function expectRefused(status: number, errors: readonly unknown[], message: string, handled: number): void {
  expect(errors.map(String)).toEqual([`OptionError: gatewarden: ${message}`]);
  expect(errors[0]).toBeInstanceOf(OptionError);
  expect([status, handled]).toEqual([500, 0]);
}

describe.each([EXPRESS_5, EXPRESS_4])(
  '%s answers 500 with the remedy, and runs no handler, after app.use',
  (_name, express) => {
    it.each(GUARDS)('(%s(...))', async (name, guard) => {
      const errors: unknown[] = [];
      let handled = 0;
      const app = express();
      app.use(guard as unknown as RequestHandler);
      app.use((_request: Request, response: Response) => void response.end(`${++handled}`));
      app.use((error: unknown, _request: Request, response: Response, _next: unknown) => {
        errors.push(error);
        response.status(500).end();
      });
      const { status } = await fetch(await url(app), { signal: AbortSignal.timeout(5000) });
      const remedy = `write app.use(guard(${madeBy(name)})), with guard from gatewarden/express`;
      expectRefused(status, errors, `${name}(...) is a guard, not middleware; ${remedy}`, handled);
    });
  },
);

describe('Hono answers 500 with the remedy, and runs no handler, after app.use', () => {
  it.each(GUARDS)('(%s(...))', async (name, guard) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = new Hono();
    app.onError((error, context) => {
      errors.push(error);
      return context.text('', 500);
    });
    app.use(guard as unknown as MiddlewareHandler);
    app.get('/', (context) => context.text(`${++handled}`));
    const { status } = await app.request('/');
    const remedy = `write app.use(guard(${madeBy(name)})), with guard from gatewarden/hono`;
    expectRefused(status, errors, `${name}(...) is a guard, not middleware; ${remedy}`, handled);
  });
});

describe('Fastify answers 500 with the remedy, and runs no handler, after app.addHook', () => {
  it.each(GUARDS)("('onRequest', %s(...))", async (name, guard) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = fastify();
    onTestFinished(() => app.close());
    app.setErrorHandler((error, _request, reply) => {
      errors.push(error);
      return reply.code(500).send('');
    });
    app.addHook('onRequest', guard as unknown as onRequestHookHandler);
    app.get('/', () => ({ handled: ++handled }));
    const { statusCode } = await app.inject('/');
    const remedy = `write app.addHook('onRequest', guard(${madeBy(name)})), with guard from gatewarden/fastify`;
    expectRefused(statusCode, errors, `${name}(...) is a guard, not middleware; ${remedy}`, handled);
  });
});

it.each([undefined, null, 'request', 1, {}])('a guard that is called with %j says where it belongs', (argument) => {
  expect(() => authenticate(secret)(argument as never)).toThrow(
    'gatewarden: authenticate(...) is a guard, not middleware; pass it to guard(...) or sequence(...)',
  );
});

it('a plugin of Fastify is not a guard', () => {
  const app = fastify();
  expect(() => authenticate(secret)(app as never)).toThrow(
    'write app.register(gatewarden, { guards: [authenticate(...)] }), from gatewarden/fastify',
  );
});

/** Functions that make guards, passed on without a call. Called with an object of a framework, each says what to write. */
describe('a function that makes guards, without a call,', () => {
  const FACTORIES: readonly (readonly [name: string, factory: unknown])[] = [
    ['accessLog', accessLog],
    ['audit', audit],
    ['clientIp', clientIp],
    ['cors', cors],
    ['limit', limit],
    ['problemFormat', problemFormat],
    ['processTime', processTime],
    ['protectedResource', protectedResource],
    ['requestId', requestId],
    ['securityHeaders', securityHeaders],
    ['trustedHosts', trustedHosts],
    ['upload', upload],
  ];

  it.each(FACTORIES)('answers 500 in Express after app.use(%s)', async (name, factory) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = EXPRESS_5[1]();
    app.use(factory as RequestHandler);
    app.use((_request: Request, response: Response) => void response.end(`${++handled}`));
    app.use((error: unknown, _request: Request, response: Response, _next: unknown) => {
      errors.push(error);
      response.status(500).end();
    });
    const { status } = await fetch(await url(app), { signal: AbortSignal.timeout(5000) });
    const remedy = `write app.use(guard(${name}(...))), with guard from gatewarden/express`;
    expectRefused(status, errors, `${name} was passed without being called; ${remedy}`, handled);
  });

  it.each(FACTORIES)('answers 500 in Hono after app.use(%s)', async (name, factory) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = new Hono();
    app.onError((error, context) => {
      errors.push(error);
      return context.text('', 500);
    });
    app.use(factory as MiddlewareHandler);
    app.get('/', (context) => context.text(`${++handled}`));
    const { status } = await app.request('/');
    const remedy = `write app.use(guard(${name}(...))), with guard from gatewarden/hono`;
    expectRefused(status, errors, `${name} was passed without being called; ${remedy}`, handled);
  });

  it.each(FACTORIES)("answers 500 in Fastify after app.addHook('onRequest', %s)", async (name, factory) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = fastify();
    onTestFinished(() => app.close());
    app.setErrorHandler((error, _request, reply) => {
      errors.push(error);
      return reply.code(500).send('');
    });
    app.addHook('onRequest', factory as onRequestHookHandler);
    app.get('/', () => ({ handled: ++handled }));
    const { statusCode } = await app.inject('/');
    const remedy = `write app.addHook('onRequest', guard(${name}(...))), with guard from gatewarden/fastify`;
    expectRefused(statusCode, errors, `${name} was passed without being called; ${remedy}`, handled);
  });
});
