// The services that rows/http.js and rows/no-network.js measure: each framework bare, with guards, with the peers' middleware, and with the ideal.
import { createHash, timingSafeEqual } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { idealGuards, LIMIT, ORIGIN } from './http-ideal.js';

const BODY = { ok: true };
/** The API key of the one client. Set before a service starts. */
let key = '';
let expected = Buffer.alloc(32);

/** A module of gatewarden: of the package, or of another build in the folder that the environment variable BUILD names. */
async function gatewarden(name) {
  const build = process.env.BUILD;
  if (build) return import(pathToFileURL(resolve(build, `${name || 'index'}.js`)).href);
  return name === '' ? import('gatewarden') : import(`gatewarden/${name}`);
}

function digestOf(token) {
  return createHash('sha256').update(token).digest();
}

/** The key check of the peers, which no package of theirs has. */
function isKey(token) {
  return typeof token === 'string' && timingSafeEqual(digestOf(token), expected);
}

async function ourGuards() {
  const { apiKeys, authenticate, cors, limit, requestId, securityHeaders, slidingWindow } = await gatewarden('');
  const policies = slidingWindow({ limit: LIMIT, window: '1m' });
  return {
    empty: () => () => undefined,
    'request id': () => requestId(),
    headers: () => securityHeaders(),
    cors: () => cors({ origin: [ORIGIN] }),
    key: () => authenticate(apiKeys({ keys: [key] })),
    limit: (by = 'client-ip') => limit({ by, policies }),
  };
}

/** Middleware of Express by the name of the stack. */
async function expressStack(stack) {
  const peer = {
    'request id': async () => (await import('express-request-id')).default(),
    headers: async () => (await import('helmet')).default(),
    cors: async () => (await import('cors')).default({ origin: [ORIGIN] }),
    key: () => (req, res, next) => (isKey(req.headers['x-api-key']) ? next() : res.status(401).end()),
    limit: async () =>
      (await import('express-rate-limit')).rateLimit({
        windowMs: 60_000,
        limit: LIMIT,
        standardHeaders: 'draft-8',
        legacyHeaders: false,
      }),
  };
  const all = ['request id', 'headers', 'cors', 'key', 'limit'];
  if (stack === 'bare') return [];
  if (stack === 'ideal') {
    const run = idealGuards(key);
    return [(req, res, next) => (run(req.headers, res) ? next() : res.status(401).end())];
  }
  if (stack === 'peers') return Promise.all(all.map((name) => peer[name]()));
  if (stack.startsWith('peer: ')) return [await peer[stack.slice(6)]()];
  const { guard } = await gatewarden('express');
  const ours = await ourGuards();
  if (stack === 'gatewarden') {
    return [guard(ours['request id'](), ours.headers(), ours.cors(), ours.key(), ours.limit('principal'))];
  }
  return [guard(ours[stack]())];
}

async function expressService(stack) {
  const { default: express } = await import('express');
  const app = express();
  for (const middleware of await expressStack(stack)) app.use(middleware);
  app.get('/generate', (_req, res) => res.json(BODY));
  const listen = () =>
    new Promise((done) => {
      const server = app.listen(0, '127.0.0.1', () => done(server.address().port));
    });
  return { listener: app, listen };
}

async function fastifyService(stack) {
  const { default: fastify } = await import('fastify');
  const app = fastify();
  if (stack === 'peers') {
    // Fastify has a request id of its own, but sends none.
    app.addHook('onRequest', (request, reply, done) => {
      reply.header('x-request-id', request.id);
      done();
    });
    await app.register((await import('@fastify/helmet')).default);
    await app.register((await import('@fastify/cors')).default, { origin: [ORIGIN] });
    app.addHook('onRequest', (request, reply, done) => {
      if (isKey(request.headers['x-api-key'])) done();
      else reply.code(401).send();
    });
    await app.register((await import('@fastify/rate-limit')).default, { max: LIMIT, timeWindow: 60_000 });
  } else if (stack === 'ideal') {
    const run = idealGuards(key);
    app.addHook('onRequest', (request, reply, done) => {
      if (run(request.headers, reply.raw)) done();
      else reply.code(401).send();
    });
  } else if (stack !== 'bare') {
    const { guard } = await gatewarden('fastify');
    const ours = await ourGuards();
    const guards =
      stack === 'gatewarden'
        ? [ours['request id'](), ours.headers(), ours.cors(), ours.key(), ours.limit('principal')]
        : [ours[stack]()];
    app.addHook('onRequest', guard(...guards));
  }
  app.get('/generate', () => BODY);
  const listen = async () => {
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server.address().port;
  };
  await app.ready();
  return { listener: app.routing, listen };
}

async function honoService(stack) {
  const [{ Hono }, { getRequestListener, serve }] = [await import('hono'), await import('@hono/node-server')];
  const app = new Hono();
  if (stack === 'peers') {
    const { requestId } = await import('hono/request-id');
    const { secureHeaders } = await import('hono/secure-headers');
    const { cors } = await import('hono/cors');
    const { rateLimiter } = await import('hono-rate-limiter');
    app.use(requestId(), secureHeaders(), cors({ origin: [ORIGIN] }));
    app.use((c, next) => (isKey(c.req.header('x-api-key')) ? next() : c.body(null, 401)));
    app.use(
      rateLimiter({
        windowMs: 60_000,
        limit: LIMIT,
        standardHeaders: 'draft-7',
        keyGenerator: (c) => c.req.header('x-api-key'),
      }),
    );
  } else if (stack === 'ideal') {
    const run = idealGuards(key);
    // On the response of Node: those of Hono are several times as slow.
    app.use((c, next) => (run(c.env.incoming.headers, c.env.outgoing) ? next() : c.body(null, 401)));
  } else if (stack === 'portable ideal') {
    const run = idealGuards(key);
    app.use((c, next) => {
      const headers = {
        'x-request-id': c.req.header('x-request-id'),
        'x-api-key': c.req.header('x-api-key'),
        origin: c.req.header('origin'),
      };
      return run(headers, { setHeader: (name, value) => c.header(name, value) }) ? next() : c.body(null, 401);
    });
  } else if (stack !== 'bare') {
    const { guard } = await gatewarden('hono');
    const ours = await ourGuards();
    const guards =
      stack === 'gatewarden'
        ? [ours['request id'](), ours.headers(), ours.cors(), ours.key(), ours.limit('principal')]
        : [ours[stack]()];
    app.use(guard(...guards));
  }
  app.get('/generate', (c) => c.json(BODY));
  const listen = () =>
    new Promise((done) => {
      serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => done(port));
    });
  return { listener: getRequestListener(app.fetch), listen };
}

const SERVICES = { express: expressService, fastify: fastifyService, hono: honoService };

/**
 * One service in this process: its request listener, and `listen`, which starts a server and returns the port. `stack` is `bare`, `ideal`, `peers`, `gatewarden`, one of our
 * guards, such as `cors`, or `peer: cors`.
 */
export async function service(framework, stack, apiKey) {
  key = apiKey;
  expected = digestOf(apiKey);
  return SERVICES[framework](stack);
}
