import { Hono } from 'hono';
import { expect, it } from 'vitest';
import { createGuard } from '../../src/adapters/hono.js';
import type { Guard } from '../../src/index.js';

const guard = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.9' } }) });

/** Reads the pattern at once, and again at the end. */
function watch() {
  const seen: (string | undefined)[] = [];
  const look: Guard = (exchange) => {
    seen.push(exchange.request.routePattern);
    exchange.onEnd(() => seen.push(exchange.request.routePattern));
    return undefined;
  };
  return { look, seen };
}

it.each<[string, readonly (string | undefined)[]]>([
  ['/things/7?x=1', ['/things/:id', '/things/:id']],
  ['/of/acme/jobs/7', ['/of/:tenant/jobs/:id', '/of/:tenant/jobs/:id']],
  // A handler for all methods is no middleware.
  ['/any/7', ['/any/:id', '/any/:id']],
  // The first route that fits is passed over.
  ['/users/me', ['/users/:id', '/users/me']],
  ['/nowhere', [undefined, undefined]],
])('Hono off Node has the pattern of the route of %s', async (path, expected) => {
  const { look, seen } = watch();
  const app = new Hono();
  app.use(guard(look));
  const inner = new Hono();
  inner.get('/jobs/:id', (c) => c.json({}));
  app.get(
    '/things/:id',
    guard(() => undefined),
    (c) => c.json({}),
  );
  app.route('/of/:tenant', inner);
  app.all('/any/:id', (c) => c.json({}));
  app.get('/users/:id', (_c, next) => next());
  app.get('/users/me', (c) => c.json({}));
  await app.request(path);
  expect(seen).toEqual(expected);
});
