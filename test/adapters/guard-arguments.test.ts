import type { RequestHandler } from 'express';
import fastify, { type FastifyInstance, type onRequestHookHandler } from 'fastify';
import type { MiddlewareHandler } from 'hono';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden } from '../../src/adapters/fastify.js';
import { createGuard, guard as honoGuard } from '../../src/adapters/hono.js';
import { type Guard, OptionError } from '../../src/index.js';
import { EXPRESS_4, EXPRESS_5 } from './express-app.js';
import { type Answered, onExpress, onHono } from './misplaced.js';

const pass: Guard = () => undefined;
const REMEDY = 'write app.use(guard(...)), with the guards in the parentheses';

describe('guard without a guard', () => {
  const getConnInfo = () => ({ remote: {} });
  it.each<[string, (...guards: Guard[]) => unknown]>([
    ['Express', expressGuard],
    ['Fastify', fastifyGuard],
    ['Hono', honoGuard],
    ['Hono, from createGuard', createGuard({ getConnInfo })],
  ])('is refused when it is called: %s', (_name, guard) => {
    const remedy = 'gatewarden: guard() needs at least one guard, such as guard(securityHeaders())';
    expect(() => guard()).toThrow(new OptionError(remedy));
    const none: Guard[] = [];
    expect(() => guard(...none)).toThrow(new OptionError(remedy));
  });
});

function expectRefused({ status, errors, handled }: Answered): void {
  expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining(REMEDY) })]);
  expect(errors[0]).toBeInstanceOf(OptionError);
  expect([status, handled]).toEqual([500, 0]);
}

describe.each([EXPRESS_5, EXPRESS_4])('%s with app.use(guard), without a call', (_name, express) => {
  it.each(['use', 'get'] as const)(
    'answers 500 with the remedy, and the handler never runs: app.%s',
    async (method) => {
      expectRefused(await onExpress(express, (app) => app[method]('/', expressGuard as unknown as RequestHandler)));
    },
  );
});

describe('Hono with app.use(guard), without a call', () => {
  it.each<[string, unknown]>([
    ['guard', honoGuard],
    ['the result of createGuard', createGuard({ getConnInfo: () => ({ remote: {} }) })],
  ])('answers 500 with the remedy, and the handler never runs: %s', async (_name, guard) => {
    expectRefused(await onHono((app) => app.use(guard as MiddlewareHandler)));
  });

  it.each<[string, unknown, string]>([
    ['no options', undefined, 'createGuard takes an object of options'],
    ['getConnInfo itself', () => ({ remote: {} }), 'createGuard takes an object of options'],
    ['an empty object', {}, 'createGuard needs "getConnInfo"'],
    ['an address', { getConnInfo: '192.0.2.1' }, 'createGuard "getConnInfo" must be a function, got \'192.0.2.1\''],
    ['a misspelt option', { getConnectionInfo: () => ({}) }, 'createGuard has no option "getConnectionInfo"'],
  ])('createGuard refuses %s', (_name, options, message) => {
    expect(() => createGuard(options as never)).toThrow(OptionError);
    expect(() => createGuard(options as never)).toThrow(message);
  });
});

describe('Fastify with guards in the wrong place', () => {
  const AS_PLUGIN = "use app.addHook('onRequest', guard(...)) or app.register(gatewarden, { guards: [...] })";
  const UNCALLED = "write app.addHook('onRequest', guard(...)), with the guards in the parentheses";

  function start(): FastifyInstance {
    const app = fastify();
    onTestFinished(() => app.close());
    return app;
  }

  it.each<[string, unknown, string]>([
    ['guard(...)', fastifyGuard(pass), AS_PLUGIN],
    ['guard', fastifyGuard, AS_PLUGIN],
  ])('does not start after app.register(%s)', async (_name, plugin, message) => {
    const app = start();
    app.register(plugin as never);
    app.get('/', () => ({}));
    await expect(app.ready()).rejects.toThrow(message);
    await expect(app.ready()).rejects.toBeInstanceOf(OptionError);
  });

  it.each<[string, unknown]>([
    ['a list', [pass]],
    ['a guard', pass],
    ['one guard as guards', { guards: pass }],
  ])('does not start after app.register(gatewarden, ...) with %s', async (_name, options) => {
    await expect(start().register(gatewarden, options as never)).rejects.toThrow(
      'write app.register(gatewarden, { guards: [...] })',
    );
  });

  it.each<[string, unknown, string]>([
    ['guard', fastifyGuard, UNCALLED],
    ['gatewarden', gatewarden, 'write app.register(gatewarden, { guards: [...] })'],
  ])("answers 500 after app.addHook('onRequest', %s)", async (_name, hook, message) => {
    const errors: unknown[] = [];
    let handled = 0;
    const app = start();
    app.setErrorHandler((error, _request, reply) => {
      errors.push(error);
      return reply.code(500).send('');
    });
    app.addHook('onRequest', hook as onRequestHookHandler);
    app.get('/', () => ({ handled: ++handled }));
    expect((await app.inject('/')).statusCode).toBe(500);
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining(message) })]);
    expect(handled).toBe(0);
  });

  it.each(['onRequest', 'preHandler', 'preParsing', 'onResponse'] as const)(
    'does not add a route with guard on %s, without a call',
    async (name) => {
      const app = start();
      await app.register(gatewarden, { guards: [] });
      for (const hooks of [fastifyGuard, [fastifyGuard(pass), fastifyGuard]]) {
        expect(() => app.get('/', { [name]: hooks as never }, () => ({}))).toThrow(
          'write { onRequest: guard(...) } on /, with the guards in the parentheses',
        );
      }
    },
  );

  it('reports a fault for guard on onResponse, without a call', async () => {
    const printed = vi.spyOn(console, 'error').mockReturnValue(undefined);
    onTestFinished(() => printed.mockRestore());
    const app = start();
    app.addHook('onResponse', fastifyGuard as never);
    app.get('/', () => ({}));
    await app.inject('/');
    await expect.poll(() => printed.mock.calls.length).toBe(1);
    expect(printed.mock.calls[0]?.[1]).toMatchObject({ message: expect.stringContaining(UNCALLED) });
  });
});
