import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';

const SECRET = 'a-secret-for-the-cors-warning-tests-0123';
const ORIGIN = 'https://app.example.com';
const UNANSWERED = 'GATEWARDEN_PREFLIGHT_UNANSWERED';

/** New copies of all modules, because each warning is emitted once in a process. */
let core: typeof import('../../src/index.js');
let emitted: string[];
let messages: string[];

beforeEach(async () => {
  vi.resetModules();
  core = await import('../../src/index.js');
  emitted = [];
  messages = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation((warning, options) => {
    emitted.push(String((options as { code?: string }).code));
    messages.push(String(warning));
  });
  return () => spy.mockRestore();
});

async function port(server: Server): Promise<number> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function expressOn(
  build: (app: express.Express, guard: typeof import('../../src/adapters/express.js').guard) => void,
) {
  const { guard } = await import('../../src/adapters/express.js');
  const app = express();
  build(app, guard);
  return port(createServer(app));
}

const preflight = (at: number, path = '/', headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${at}${path}`, {
    method: 'OPTIONS',
    headers: { Origin: ORIGIN, 'Access-Control-Request-Method': 'POST', ...headers },
  });

/** The exchange ends shortly after the client has the answer. */
async function expectWarnings(...codes: string[]): Promise<void> {
  await expect.poll(() => emitted).toEqual(codes);
}

describe('a preflight that never reaches cors', () => {
  it('is reported once in Express, if cors is on one method of a route', async () => {
    const at = await expressOn((app, guard) => {
      app.use(guard(core.securityHeaders()));
      app.get('/', guard(core.cors({ origin: ORIGIN })), (_request, response) => void response.json({}));
    });
    for (let i = 0; i < 3; i++) expect((await preflight(at)).headers.get('access-control-allow-origin')).toBeNull();
    await expectWarnings(UNANSWERED);
    expect(messages).toEqual([
      'a CORS preflight was answered with 200 and never reached cors(...), so browsers block the request of the page. ' +
        'Put guard(cors(...)) on the whole application, before the guards that refuse: a route for GET or POST does not ' +
        'see OPTIONS',
    ]);
  });

  it('is reported in Express, if authenticate comes before cors in another guard call', async () => {
    const at = await expressOn((app, guard) => {
      app.use(guard(core.authenticate(core.sharedSecret({ secrets: [SECRET] }))));
      app.use(guard(core.cors({ origin: ORIGIN })));
    });
    expect((await preflight(at)).status).toBe(401);
    await expectWarnings(UNANSWERED);
    expect(messages[0]).toContain('was answered with 401');
  });

  it('is reported in Fastify, if cors is on one method of a route', async () => {
    const { gatewarden, guard } = await import('../../src/adapters/fastify.js');
    const app = fastify();
    await app.register(gatewarden, { guards: [core.securityHeaders()] });
    app.get('/', { onRequest: guard(core.cors({ origin: ORIGIN })) }, () => ({}));
    await app.ready();
    expect((await preflight(await port(app.server))).status).toBe(404);
    await expectWarnings(UNANSWERED);
  });

  it('is reported in Hono, if cors is on one method of a route', async () => {
    const { guard } = await import('../../src/adapters/hono.js');
    const app = new Hono();
    app.use(guard(core.securityHeaders()));
    app.get('/', guard(core.cors({ origin: ORIGIN })), (context) => context.json({}));
    expect((await preflight(await port(createServer(getRequestListener(app.fetch))))).status).toBe(404);
    await expectWarnings(UNANSWERED);
  });

  it('is reported in Hono without Node', async () => {
    const { createGuard } = await import('../../src/adapters/hono.js');
    const guard = createGuard({ getConnInfo: () => ({ remote: { address: '127.0.0.1' } }) });
    const app = new Hono();
    app.use(guard(core.securityHeaders()));
    app.get('/', guard(core.cors({ origin: ORIGIN })), (context) => context.json({}));
    const headers = { Origin: ORIGIN, 'Access-Control-Request-Method': 'POST' };
    expect((await app.request('/', { method: 'OPTIONS', headers })).status).toBe(404);
    await expectWarnings(UNANSWERED);
  });

  it.each<[string, (app: express.Express, guard: typeof import('../../src/adapters/express.js').guard) => void]>([
    ['the service has no cors', (app, guard) => app.use(guard(core.securityHeaders()))],
    [
      'cors allows it',
      (app, guard) => {
        app.use(guard(core.securityHeaders()));
        app.use(guard(core.cors({ origin: ORIGIN })));
      },
    ],
    [
      'cors refuses it',
      (app, guard) => app.use(guard(core.securityHeaders()), guard(core.cors({ origin: 'https://other.example' }))),
    ],
    [
      'the function of cors fails',
      (app, guard) => {
        app.use(
          guard(
            core.reportFaults(() => undefined),
            core.cors({ origin: () => Promise.reject(new Error('down')) }),
          ),
        );
      },
    ],
    [
      'a guard that may come before cors refuses it',
      (app, guard) => {
        app.use(guard(core.trustedHosts({ hosts: ['api.example.com'] })), guard(core.cors({ origin: ORIGIN })));
      },
    ],
    [
      'the handler answers it itself',
      (app, guard) => {
        core.cors({ origin: ORIGIN });
        app.use(guard(core.securityHeaders()));
        app.options('/', (_request, response) => void response.set('Access-Control-Allow-Origin', ORIGIN).end());
      },
    ],
  ])('is not reported if %s', async (_what, build) => {
    const at = await expressOn(build);
    await preflight(at);
    // The exchange of the first request has ended when the second one is answered.
    await preflight(at);
    await new Promise((turn) => setImmediate(turn));
    expect(emitted).toEqual([]);
  });

  it('is not confused with an ordinary OPTIONS request', async () => {
    const at = await expressOn((app, guard) => {
      core.cors({ origin: ORIGIN });
      app.use(guard(core.securityHeaders()));
    });
    await fetch(`http://127.0.0.1:${at}/`, { method: 'OPTIONS', headers: { Origin: ORIGIN } });
    await fetch(`http://127.0.0.1:${at}/`, { method: 'OPTIONS', headers: { 'Access-Control-Request-Method': 'POST' } });
    await fetch(`http://127.0.0.1:${at}/`, { headers: { Origin: ORIGIN, 'Access-Control-Request-Method': 'POST' } });
    await new Promise((turn) => setImmediate(turn));
    expect(emitted).toEqual([]);
  });
});

describe('cors that comes too late', () => {
  const late = (guards: () => readonly import('../../src/index.js').Guard[]) =>
    expressOn((app, guard) => {
      app.use(guard(core.securityHeaders(), ...guards()));
      app.use(guard(core.cors({ origin: ORIGIN })));
      app.get('/', (_request, response) => void response.json({}));
    });

  it.each<[string, () => readonly import('../../src/index.js').Guard[]]>([
    ['authenticate', () => [core.authenticate(core.sharedSecret({ secrets: [SECRET] }))]],
    ['limit', () => [core.limit({ by: 'client-ip', policies: core.slidingWindow({ limit: 100, window: '1m' }) })]],
  ])('is reported once if %s came before it in another guard call', async (_what, guards) => {
    const at = await late(guards);
    for (let i = 0; i < 3; i++) {
      const { status } = await fetch(`http://127.0.0.1:${at}/`, {
        headers: { Origin: ORIGIN, Authorization: `Bearer ${SECRET}` },
      });
      expect(status).toBe(200);
    }
    expect(emitted).toEqual(['GATEWARDEN_CORS_ORDER']);
    expect(messages[0]).toContain('Put guard(cors(...)) before these guards');
  });

  it('is not reported in the right order', async () => {
    const at = await expressOn((app, guard) => {
      app.use(guard(core.cors({ origin: ORIGIN })));
      app.use(guard(core.authenticate(core.sharedSecret({ secrets: [SECRET] }))));
      app.get('/', (_request, response) => void response.json({}));
    });
    await fetch(`http://127.0.0.1:${at}/`, { headers: { Origin: ORIGIN, Authorization: `Bearer ${SECRET}` } });
    expect((await preflight(at)).status).toBe(204);
    expect(emitted).toEqual([]);
  });
});

describe('on a runtime without process warnings', () => {
  it('cors still answers, and prints the warning as text', async () => {
    const { ask } = await import('../exchange-fixture.js');
    vi.stubGlobal('process', Object.create(process, { emitWarning: { value: undefined, writable: true } }));
    const printed = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    onTestFinished(() => {
      vi.unstubAllGlobals();
      printed.mockRestore();
    });
    const principal = { id: 'a', scheme: 's', scopes: [], credentialId: 'c' };
    const headers = [['Origin', ORIGIN]] as const;
    const { passed, faults } = await ask(core.cors({ origin: ORIGIN }), { principal, headers });
    expect({ passed, faults }).toEqual({ passed: true, faults: [] });
    expect(printed).toHaveBeenCalledWith(
      expect.stringContaining('[GATEWARDEN_CORS_ORDER] Warning: cors(...) came after'),
    );
  });
});
