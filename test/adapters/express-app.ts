import { createServer } from 'node:http';
import express5, { type Express, type IRouter, type RequestHandler } from 'express';
import express4 from 'express4';
import { onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import type { Route, Service, Serving } from '../contracts/adapter/index.js';
import { startServing } from '../serving.js';

type Framework = typeof express5;
/** Wraps a handler, so that its rejected promise reaches the error handler. */
type Async = (handler: (...args: Parameters<RequestHandler>) => Promise<void>) => RequestHandler;

/** Express under a name, with its way to handle promises. */
export type ExpressVersion = readonly [name: string, express: Framework, async: Async];

export const EXPRESS_5: ExpressVersion = ['Express 5', express5, (handler) => handler];
export const EXPRESS_4: ExpressVersion = [
  'Express 4',
  express4,
  // Express 4 ignores promises, so applications wrap their handlers like this.
  (handler) => (request, response, next) => void handler(request, response, next).catch(next),
];

export function translated(express: Framework, async: Async, service: Service): Express {
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

export function listening(app: Express): Promise<Serving> {
  // Express does not print the errors of handlers in this environment.
  app.set('env', 'test');
  return startServing(createServer(app));
}

/** Serves `app` until the test has finished. */
export async function url(app: Express): Promise<string> {
  const { port, close } = await listening(app);
  onTestFinished(close);
  return `http://127.0.0.1:${port}`;
}
