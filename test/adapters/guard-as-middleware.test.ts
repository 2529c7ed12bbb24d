import type { RequestHandler } from 'express';
import fastify, { type onRequestHookHandler } from 'fastify';
import type { MiddlewareHandler } from 'hono';
import { describe, expect, it } from 'vitest';
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
import { EXPRESS_4, EXPRESS_5 } from './express-app.js';
import { type Answered, onExpress, onFastify, onHono } from './misplaced.js';

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

function expectRefused({ status, errors, handled }: Answered, message: string): void {
  expect(errors.map(String)).toEqual([`OptionError: gatewarden: ${message}`]);
  expect(errors[0]).toBeInstanceOf(OptionError);
  expect([status, handled]).toEqual([500, 0]);
}

describe.each([EXPRESS_5, EXPRESS_4])(
  '%s answers 500 with the remedy, and runs no handler, after app.use',
  (_name, express) => {
    it.each(GUARDS)('(%s(...))', async (name, guard) => {
      const remedy = `write app.use(guard(${madeBy(name)})), with guard from gatewarden/express`;
      const answered = await onExpress(express, (app) => app.use(guard as unknown as RequestHandler));
      expectRefused(answered, `${name}(...) is a guard, not middleware; ${remedy}`);
    });
  },
);

describe('Hono answers 500 with the remedy, and runs no handler, after app.use', () => {
  it.each(GUARDS)('(%s(...))', async (name, guard) => {
    const remedy = `write app.use(guard(${madeBy(name)})), with guard from gatewarden/hono`;
    const answered = await onHono((app) => app.use(guard as unknown as MiddlewareHandler));
    expectRefused(answered, `${name}(...) is a guard, not middleware; ${remedy}`);
  });
});

describe('Fastify answers 500 with the remedy, and runs no handler, after app.addHook', () => {
  it.each(GUARDS)("('onRequest', %s(...))", async (name, guard) => {
    const remedy = `write app.addHook('onRequest', guard(${madeBy(name)})), with guard from gatewarden/fastify`;
    const answered = await onFastify((app) => app.addHook('onRequest', guard as unknown as onRequestHookHandler));
    expectRefused(answered, `${name}(...) is a guard, not middleware; ${remedy}`);
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
    const remedy = `write app.use(guard(${name}(...))), with guard from gatewarden/express`;
    const answered = await onExpress(EXPRESS_5[1], (app) => app.use(factory as RequestHandler));
    expectRefused(answered, `${name} was passed without being called; ${remedy}`);
  });

  it.each(FACTORIES)('answers 500 in Hono after app.use(%s)', async (name, factory) => {
    const remedy = `write app.use(guard(${name}(...))), with guard from gatewarden/hono`;
    const answered = await onHono((app) => app.use(factory as MiddlewareHandler));
    expectRefused(answered, `${name} was passed without being called; ${remedy}`);
  });

  it.each(FACTORIES)("answers 500 in Fastify after app.addHook('onRequest', %s)", async (name, factory) => {
    const remedy = `write app.addHook('onRequest', guard(${name}(...))), with guard from gatewarden/fastify`;
    const answered = await onFastify((app) => app.addHook('onRequest', factory as onRequestHookHandler));
    expectRefused(answered, `${name} was passed without being called; ${remedy}`);
  });
});
