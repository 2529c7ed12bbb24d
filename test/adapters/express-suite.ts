import type { ServerResponse } from 'node:http';
import type { ErrorRequestHandler, Express, RequestHandler } from 'express';
import { describe, expect, it } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { Exchange, type Guard, type Outcome, problem, refuse, sequence } from '../../src/index.js';
import { adapterContract, type Serve } from '../contracts/adapter/index.js';
import { adapterAuthCases } from '../contracts/auth-cases.js';
import { edgeCases } from '../contracts/edge-cases.js';
import { refundCases } from '../contracts/refunds.js';
import { signedRequestCases } from '../contracts/signed-request.js';
import { uploadContract } from '../contracts/upload.js';
import { uploadLoad } from '../contracts/upload-load.js';
import { type ExpressVersion, listening, translated, url } from './express-app.js';
import { turns } from './talk.js';

/** The promises of the Express adapter, for one version of Express. */
export function expressSuite([name, express, async]: ExpressVersion): void {
  const serve: Serve = (service) => listening(translated(express, async, service));
  adapterContract(name, serve);
  adapterAuthCases(name, serve);
  signedRequestCases(name, serve);
  refundCases(name, serve);
  edgeCases(name, serve);
  uploadContract(name, serve);
  uploadLoad(name, serve);

  describe(name, () => {
    /** A guard, and the outcome of the exchange that it sees. */
    function watching(): { watch: Guard; outcome: Promise<Outcome> } {
      let watch: Guard = () => undefined;
      const outcome = new Promise<Outcome>((resolve) => {
        watch = (exchange) => {
          exchange.onEnd(resolve);
          return undefined;
        };
      });
      return { watch, outcome };
    }

    const pass: Guard = () => undefined;

    it('passes handlers the exchange as a typed req.exchange', async () => {
      const app = express();
      app.get('/', guard(pass), (request, response) => {
        const exchange: Exchange = request.exchange;
        response.json({ is: exchange instanceof Exchange, method: exchange.request.method });
      });
      expect(await (await fetch(await url(app))).json()).toEqual({ is: true, method: 'GET' });
    });

    it('calls next before it returns if every guard is synchronous, and later otherwise', async () => {
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
      app.use(
        watched('none', sequence()),
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

    it("passes an error of a handler to the app's error handler, with the same exchange", async () => {
      const { watch, outcome } = watching();
      const failure = new Error('the handler failed');
      const exchanges: Exchange[] = [];
      const app = express();
      app.use(guard(watch));
      app.get('/', guard(pass), (request, _response, next) => {
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

    it('starts no handler if other middleware has answered while a guard waits', async () => {
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
          // The guard ends in the same turn, so the exchange has not ended yet.
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

      it('leaves the body for the parser, even after an asynchronous guard', async () => {
        const { watch, outcome } = watching();
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

      it('ends the exchange of an invalid body with the status of the parser', async () => {
        const { watch, outcome } = watching();
        const app = express();
        app.use(guard(watch));
        app.use(express.json());
        app.post('/', echo);
        expect((await post(app, '{"broken')).status).toBe(400);
        expect(await outcome).toEqual({ kind: 'completed', status: 400 });
      });
    });

    it('ends an exchange as aborted if its handler fails after the head was sent', async () => {
      const { watch, outcome } = watching();
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

    it('cuts off a response that had begun before a guard refused, and reports a fault', async () => {
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
      const body = fetch(await url(app)).then((response) => response.text());
      await expect(body).rejects.toThrow();
      expect(handled).toBe(false);
      expect(faults).toEqual([expect.objectContaining({ message: expect.stringContaining('put guards before') })]);
    });
  });
}
