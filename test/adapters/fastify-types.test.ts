import fastify, { type FastifyInstance, type FastifyTypeProvider } from 'fastify';
import { pino } from 'pino';
import { describe, expect, expectTypeOf, it, onTestFinished } from 'vitest';
import { gatewarden, guard } from '../../src/adapters/fastify.js';
import type { Exchange } from '../../src/index.js';
import { type Guard, problem, refuse } from '../../src/index.js';

const refuses: Guard = () => refuse(problem('credentials-missing'));
const passes: Guard = () => undefined;

interface AnyTypes extends FastifyTypeProvider {
  readonly validator: this['schema'];
  readonly serializer: this['schema'];
}

/** Applications whose types differ: the compiler must accept guards in each. */
const log: string[] = [];
const loggerInstance = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });

async function expectGuarded(app: Pick<FastifyInstance, 'inject' | 'close'>): Promise<void> {
  onTestFinished(() => app.close());
  expect((await app.inject('/refused')).statusCode).toBe(401);
  expect((await app.inject('/refused-late')).statusCode).toBe(401);
  expect((await app.inject('/')).json()).toEqual({ has: true });
}

describe('guards are accepted by an application', () => {
  it('with a logger of its own', async () => {
    const app = fastify({ loggerInstance });
    await app.register(gatewarden, { guards: [passes] });
    app.addHook('onRequest', guard(passes));
    app.addHook('preHandler', guard(passes));
    app.get('/refused', { onRequest: guard(refuses) }, () => ({}));
    app.get('/refused-late', { onRequest: [guard(passes)], preHandler: [guard(passes), guard(refuses)] }, () => ({}));
    app.get<{ Querystring: { readonly a?: string } }>('/', { preValidation: guard(passes) }, (request) => {
      expectTypeOf(request.exchange).toEqualTypeOf<Exchange>();
      expectTypeOf(request.query.a).toEqualTypeOf<string | undefined>();
      return { has: request.exchange !== undefined };
    });
    await expectGuarded(app);
    expect(log.join('')).toContain('request completed');
  });

  it('with a type provider and a logger of its own', async () => {
    const app = fastify({ loggerInstance }).withTypeProvider<AnyTypes>();
    await app.register(gatewarden, { guards: [passes] });
    app.register(async (part) => {
      part.addHook('preValidation', guard(passes));
      part.get('/refused', { onRequest: guard(refuses) }, () => ({}));
      part.route({ method: 'GET', url: '/refused-late', preHandler: guard(refuses), handler: () => ({}) });
    });
    app.get('/', { onRequest: guard(passes) }, (request) => ({ has: request.exchange !== undefined }));
    await expectGuarded(app);
  });

  it('over HTTP/2, over TLS, and over HTTP/2 with a logger of its own', async () => {
    const secure = fastify({ https: {}, loggerInstance });
    await secure.register(gatewarden, { guards: [passes] });
    secure.get('/refused', { onRequest: guard(refuses) }, () => ({}));
    secure.get('/refused-late', { preHandler: guard(refuses) }, () => ({}));
    secure.get('/', { onRequest: guard(passes) }, (request) => ({ has: request.exchange !== undefined }));
    await expectGuarded(secure);

    const app = fastify({ http2: true, loggerInstance });
    await app.register(gatewarden, { guards: [passes] });
    app.addHook('onRequest', guard(passes));
    app.get('/refused', { onRequest: guard(refuses) }, () => ({}));
    app.get('/refused-late', { preHandler: [guard(refuses)] }, () => ({}));
    app.get('/', { onRequest: guard(passes) }, (request) => ({ has: request.exchange !== undefined }));
    onTestFinished(() => app.close());
    await app.ready();
  });
});
