import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express5, { type Express, type Router } from 'express';
import express4 from 'express4';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import type { Guard } from '../../src/index.js';

describe.each([
  ['4', express4 as unknown as typeof express5, '/files/*'],
  ['5', express5, '/files/*rest'],
])('the pattern of a route of Express %s', (version, express, wildcard) => {
  /** The patterns of the routes that answer, with a router under `mount`. */
  async function patterns(mount: string | RegExp, paths: readonly string[]): Promise<readonly (string | undefined)[]> {
    const seen: (string | undefined)[] = [];
    const look: Guard = (exchange) => {
      void exchange.request.routePattern;
      exchange.onEnd(() => seen.push(exchange.request.routePattern));
      return undefined;
    };
    const app = express();
    const router: Router = express.Router();
    router.get('/jobs/:id', (_request, response) => void response.json({}));
    router.get('/', (_request, response) => void response.json({}));
    app.use(guard(look));
    app.use(mount as string, router);
    await ask(app, paths);
    return seen;
  }

  async function ask(app: Express, paths: readonly string[]): Promise<void> {
    const server = createServer(app).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    for (const path of paths) {
      await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`)).text();
    }
  }

  it('has no mount if it is read for the first time behind that, whose parameters are not known then', async () => {
    const seen: (string | undefined)[] = [];
    const app = express();
    const [outer, inner] = [express.Router(), express.Router()];
    app.use('/of/:tenant', outer);
    outer.use('/inner', inner);
    inner.get(
      '/jobs/:id',
      guard((exchange) => {
        exchange.onEnd(() => seen.push(exchange.request.routePattern));
        seen.push(exchange.request.routePattern);
        return undefined;
      }),
      (_request, response) => void response.json({}),
    );
    await ask(app, ['/of/acme/inner/jobs/7']);
    expect(seen).toEqual(Array(2).fill('/jobs/:id'));
  });

  it('has the mount of a router in a router, and leaves out one that it cannot know', async () => {
    const seen: (string | undefined)[] = [];
    const look = guard((exchange) => {
      void exchange.request.routePattern;
      exchange.onEnd(() => seen.push(exchange.request.routePattern));
      return undefined;
    });
    for (const place of ['application', 'outer', 'inner']) {
      const app = express();
      const [outer, inner] = [express.Router(), express.Router()];
      if (place === 'application') app.use(look);
      app.use('/of/:tenant', outer);
      if (place === 'outer') outer.use(look);
      outer.use('/inner', inner);
      inner.use(look);
      inner.get('/jobs/:id', (_request, response) => void response.json({}));
      outer.get('/inner/:id', (_request, response) => void response.json({}));
      await ask(app, ['/of/acme/inner/jobs/7', '/of/acme/inner/7']);
    }
    // In each application but the last, two guards see a request.
    expect(seen).toEqual([
      ...Array(2).fill('/of/:tenant/inner/jobs/:id'),
      ...Array(2).fill('/of/:tenant/inner/:id'),
      ...Array(2).fill('/inner/jobs/:id'),
      ...Array(2).fill('/inner/:id'),
      '/jobs/:id',
      '/inner/:id',
    ]);
  });

  it('is the same in whatever case the client writes the mount', async () => {
    expect(await patterns('/api', ['/api/jobs/7', '/API/jobs/7', '/aPi/jobs/7'])).toEqual(
      Array(3).fill('/api/jobs/:id'),
    );
  });

  it('contains no value of a parameter that is a part of a segment', async () => {
    const seen = await patterns('/v:version/of-:tenant', [
      '/v2/of-acme/jobs/7',
      '/v3/of-b%20c/jobs/7',
      '/V3/OF-x/jobs/7',
    ]);
    expect(seen).toEqual(Array(3).fill('/:version/:tenant/jobs/:id'));
  });

  it('keeps a segment of which the value of a parameter happens to be a part', async () => {
    expect(await patterns('/api2/:tenant', ['/api2/acme/jobs/7', '/api2/2/jobs/7'])).toEqual(
      Array(2).fill('/api2/:tenant/jobs/:id'),
    );
  });

  it('contains nothing of what a wildcard has matched, and not how long it was', async () => {
    const name = version === '4' ? '0' : 'rest';
    const seen = await patterns(wildcard, ['/files/a', '/files/a/b', '/files/a/b%20c/d']);
    expect(seen).toEqual(Array(3).fill(`/files/:${name}`));
  });

  it('contains nothing of what a group of a regular expression has matched', async () => {
    const seen = await patterns(/^\/of\/([^/]+)/, ['/of/acme/jobs/7', '/of/b%20c/jobs/7']);
    expect(seen).toEqual(Array(2).fill('/of/:0/jobs/:id'));
  });
});
