import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express5, { type ErrorRequestHandler, type Express, type IRouter, type RequestHandler } from 'express';
import express4 from 'express4';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { Exchange, type Guard, type Outcome, problem, refuse } from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { adapterContract, type Route, type Service, type Serving } from '../contracts/adapter.js';
import { adapterAttacks } from '../contracts/auth-attacks.js';
import { edgeAttacks } from '../contracts/edge-attacks.js';
import { signedRequestAttacks } from '../contracts/signed-request.js';
import { uploadContract } from '../contracts/upload.js';
import { uploadLoad } from '../contracts/upload-load.js';
import { Client } from '../raw-client.js';
import { turns } from './talk.js';

type Framework = typeof express5;
/** What makes a handler's rejected promise reach the error handler. */
type Async = (handler: (...args: Parameters<RequestHandler>) => Promise<void>) => RequestHandler;

const VERSIONS: readonly (readonly [name: string, express: Framework, async: Async])[] = [
  ['Express 5', express5, (handler) => handler],
  // Express 4 leaves promises to the application, which wraps its handlers like this.
  ['Express 4', express4, (handler) => (request, response, next) => void handler(request, response, next).catch(next)],
];

function translated(express: Framework, async: Async, service: Service): Express {
  const app = express();
  const { before, mount } = service;
  if (before !== undefined) {
    app.use((request, response, next) => before(next, () => response.status(503).json({}), request.socket));
  }
  for (const group of service.guards) app.use(guard(...group));
  for (const route of service.routes) add(app, route);
  if (mount !== undefined) {
    const router = express.Router();
    for (const group of mount.guards) router.use(guard(...group));
    for (const route of mount.routes) add(router, route);
    app.use(mount.path, router);
  }
  return app;

  function add(router: IRouter, { method, path, guards, handler }: Route): void {
    const handle: RequestHandler = (request, response, next) => {
      service.entered(request.exchange);
      switch (handler.does) {
        case 'answer': {
          const answer = () =>
            void response
              .status(handler.status)
              .set({ ...handler.headers })
              .json(handler.body);
          if (handler.after === undefined) answer();
          else handler.after().then(answer).catch(next);
          return;
        }
        case 'throw':
          throw handler.error;
        case 'reject':
          return async(() => Promise.reject(handler.error))(request, response, next);
        case 'write':
          handler.write(request, response);
      }
    };
    const add = method.toLowerCase() as Lowercase<typeof method>;
    router[add](path, ...guards.map((group) => guard(...group)), handle);
  }
}

async function listening(app: Express): Promise<Serving> {
  // Keeps Express from printing the errors that the tests provoke.
  app.set('env', 'test');
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Serves `app` until the test is over. */
async function url(app: Express): Promise<string> {
  const { port, close } = await listening(app);
  onTestFinished(close);
  return `http://127.0.0.1:${port}`;
}

for (const [name, express, async] of VERSIONS) {
  adapterContract(name, (service) => listening(translated(express, async, service)));
  adapterAttacks(name, (service) => listening(translated(express, async, service)));
  signedRequestAttacks(name, (service) => listening(translated(express, async, service)));
  edgeAttacks(name, (service) => listening(translated(express, async, service)));
  uploadContract(name, (service) => listening(translated(express, async, service)));
  uploadLoad(name, (service) => listening(translated(express, async, service)));

  describe(name, () => {
    /** What became of one exchange, once it has settled. */
    function settling(): { watch: Guard; outcome: Promise<Outcome> } {
      let watch: Guard = () => undefined;
      const outcome = new Promise<Outcome>((resolve) => {
        watch = (exchange) => {
          exchange.onEnd(resolve);
          return undefined;
        };
      });
      return { watch, outcome };
    }

    it('gives handlers the exchange as a typed req.exchange', async () => {
      const app = express();
      app.get('/', guard(), (request, response) => {
        const exchange: Exchange = request.exchange;
        response.json({ is: exchange instanceof Exchange, method: exchange.request.method });
      });
      expect(await (await fetch(await url(app))).json()).toEqual({ is: true, method: 'GET' });
    });

    it('calls next before it returns where every guard is synchronous, and later where one is not', async () => {
      const steps: string[] = [];
      const watched = (step: string, ...guards: Guard[]): RequestHandler => {
        const middleware = guard(...guards);
        return (request, response, next) => {
          middleware(request, response, (error) => {
            steps.push(`${step}: next`);
            // Express goes on only after this middleware has returned.
            queueMicrotask(() => next(error));
          });
          steps.push(`${step}: returned`);
        };
      };
      const app = express();
      const pass: Guard = () => undefined;
      app.use(
        watched('none'),
        watched('sync', pass, pass),
        watched('async', pass, async () => undefined),
      );
      app.get('/', (_request, response) => void response.end());
      await fetch(await url(app));
      const expected = [
        'none: next',
        'none: returned',
        'sync: next',
        'sync: returned',
        'async: returned',
        'async: next',
      ];
      expect(steps).toEqual(expected);
    });

    it('calls next without an argument and at most once', async () => {
      const calls: unknown[][] = [];
      const middleware = guard(() => undefined);
      const app = express();
      app.get('/', (request, response, next) => {
        middleware(request, response, (...args) => {
          calls.push(args);
          next();
        });
      });
      expect((await fetch(await url(app))).status).toBe(404);
      expect(calls).toEqual([[]]);
    });

    it("hands an error of a handler to the app's error handler, with the exchange intact", async () => {
      const { watch, outcome } = settling();
      const failure = new Error('the handler failed');
      const exchanges: Exchange[] = [];
      const app = express();
      app.use(guard(watch));
      app.get('/', guard(), (request, _response, next) => {
        exchanges.push(request.exchange);
        next(failure);
      });
      const onError: ErrorRequestHandler = (error, request, response, _next) => {
        exchanges.push(request.exchange);
        expect(request.exchange.outcome).toBeUndefined();
        response.status(418).json({ same: error === failure });
      };
      app.use(onError);
      const response = await fetch(await url(app));
      expect([response.status, await response.json()]).toEqual([418, { same: true }]);
      expect(await outcome).toEqual({ kind: 'completed', status: 418 });
      expect(exchanges).toHaveLength(2);
      expect(exchanges[0]).toBeInstanceOf(Exchange);
      expect(exchanges[0]).toBe(exchanges[1]);
    });

    it("does not pass a guard's fault to the app's error handler", async () => {
      const app = express();
      const broken: Guard = (exchange) => {
        exchange.faultReporter = () => undefined;
        throw new Error('broken');
      };
      app.use(guard(broken));
      const onError: ErrorRequestHandler = (_error, _request, response, _next) => void response.status(200).end();
      app.use(onError);
      expect((await fetch(await url(app))).status).toBe(500);
    });

    it('begins no work where something else has answered while a guard waits', async () => {
      let handled = 0;
      const app = express();
      let answered: () => void = () => undefined;
      app.use((_request, response, next) => {
        answered = () => void response.status(503).end();
        next();
      });
      app.get(
        '/',
        guard(async () => {
          await turns();
          // No turn passes between this and the guard's end: the exchange has not settled yet.
          answered();
          return undefined;
        }),
        (_request, response) => void response.end(`${++handled}`),
      );
      expect((await fetch(await url(app))).status).toBe(503);
      expect(handled).toBe(0);
    });

    describe('app.use(guard(...)) before express.json()', () => {
      const post = async (app: Express, body: string) => {
        return fetch(await url(app), { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      };
      const echo: RequestHandler = (request, response) => void response.json({ body: request.body });

      it('leaves the body for the parser to read, also after an asynchronous guard', async () => {
        const { watch, outcome } = settling();
        const app = express();
        app.use(guard(watch, async () => undefined));
        app.use(express.json());
        app.post('/', echo);
        expect(await (await post(app, '{"prompt":"a cow"}')).json()).toEqual({ body: { prompt: 'a cow' } });
        expect(await outcome).toEqual({ kind: 'completed', status: 200 });
      });

      it('refuses before the body is parsed', async () => {
        const app = express();
        app.use(guard(() => refuse(problem('credentials-missing'))));
        app.use(express.json());
        app.post('/', echo);
        expect((await post(app, '{"broken')).status).toBe(401);
      });

      it('settles a body that cannot be parsed with the status that the parser gave it', async () => {
        const { watch, outcome } = settling();
        const app = express();
        app.use(guard(watch));
        app.use(express.json());
        app.post('/', echo);
        expect((await post(app, '{"broken')).status).toBe(400);
        expect(await outcome).toEqual({ kind: 'completed', status: 400 });
      });
    });

    it('settles an error after the head has gone out as aborted', async () => {
      const { watch, outcome } = settling();
      const app = express();
      const late = async (response: ServerResponse) => {
        response.writeHead(200);
        await new Promise((sent) => response.write('half', sent));
        throw new Error('too late for a 500');
      };
      app.get(
        '/',
        guard(watch),
        async((_request, response) => late(response)),
      );
      const response = await fetch(await url(app));
      await expect(response.text()).rejects.toThrow();
      expect(await outcome).toEqual({ kind: 'aborted' });
    });
  });
}

describe.each(VERSIONS)('%s, where a response has begun before its guards', (_name, express) => {
  it('cuts it off and reports a fault when one refuses, rather than leaving it open', async () => {
    const app = express();
    const faults: unknown[] = [];
    app.use((_request, response, next) => {
      response.writeHead(200);
      response.write('begun');
      next();
    });
    const refusing: Guard = (exchange) => {
      exchange.faultReporter = (error) => faults.push(error);
      return refuse(problem('credentials-missing'));
    };
    let handled = false;
    app.get('/', guard(refusing), () => {
      handled = true;
    });
    const server = createServer(app).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const body = fetch(`http://127.0.0.1:${port}/`).then((response) => response.text());
    await expect(body).rejects.toThrow();
    expect([handled, faults.length]).toEqual([false, 1]);
  });
});

describe('Express, where checkContinue is its own affair', () => {
  async function asked(path: string, length: number, expectation = '100-continue') {
    const app = express5();
    app.post(
      '/closed',
      guard(() => refuse(problem('credentials-missing'))),
    );
    app.post(
      '/upload',
      guard(upload({ files: { types: ['image/png'], maxBytes: 1000 } })),
      (_req, res) => void res.end(),
    );
    app.post(
      '/signed',
      guard(async ({ request }) => {
        await request.readBody?.(1000);
        return undefined;
      }),
      (_req, res) => void res.end('read'),
    );
    const server = createServer(app).listen(0, '127.0.0.1');
    server.on('checkContinue', app);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    await once(server, 'listening');
    const client = await Client.connect((server.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    const fields = [
      'Content-Type: multipart/form-data; boundary=b',
      `Content-Length: ${length}`,
      `Expect: ${expectation}`,
    ];
    client.send(`POST ${path}`, ...fields);
    return client;
  }

  it.each([
    ['/closed', 100, 401],
    ['/upload', 300_000_000, 413],
  ])('a refusal of %s comes before anything is sent', async (path, length, status) => {
    expect((await (await asked(path, length)).answer()).status).toBe(status);
  });

  it.each([
    ['/upload', 'not multipart at all', 400, '100-continue'],
    ['/signed', 'any body', 200, '100-continue'],
    ['/signed', 'any body', 200, '100-CONTINUE'],
  ])('the client is told to go on where %s reads', async (path, body, status, expectation) => {
    const client = await asked(path, body.length, expectation);
    expect((await client.answer(true)).status).toBe(100);
    client.socket.write(body);
    expect((await client.answer()).status).toBe(status);
  });
});

describe('Express, where middleware writes Vary between guards, or through writeHead', () => {
  const varying =
    (name: string): Guard =>
    (exchange) => {
      exchange.append('Vary', name);
      return undefined;
    };

  it.each<[string, (response: ServerResponse) => void]>([
    ['setHeader', (response) => response.setHeader('Vary', 'Accept')],
    ['writeHead', (response) => void response.writeHead(200, { vary: 'Accept' })],
    [
      'writeHead with nothing behind',
      (response) => void Reflect.apply(response.writeHead, response, [200, { vary: 'Accept' }, undefined]),
    ],
    ['writeHead with a reason', (response) => void response.writeHead(200, 'Fine', { vary: 'Accept' })],
    ['writeHead with a list', (response) => void response.writeHead(200, ['vary', 'Accept'])],
  ])('%s takes nothing away', async (_how, write) => {
    const app = express5();
    app.use(guard(varying('Origin')));
    app.use((_request, response, next) => {
      response.setHeader('Vary', 'Accept-Encoding');
      next();
    });
    app.get('/', guard(varying('Accept-Language')), (_request, response) => {
      write(response);
      response.end();
    });
    const server = createServer(app).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const client = await Client.connect((server.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    client.send('GET /');
    const vary = (await client.answer()).field('vary') ?? '';
    expect(vary.toLowerCase().split(', ')).toEqual(expect.arrayContaining(['origin', 'accept', 'accept-language']));
  });
});
