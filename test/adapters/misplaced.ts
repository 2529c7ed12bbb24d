import type { Express, NextFunction, Request, Response } from 'express';
import fastify, { type FastifyInstance } from 'fastify';
import { Hono } from 'hono';
import { onTestFinished } from 'vitest';
import { type ExpressVersion, url } from './express-app.js';

/** What came of a request to an app in which something stands where middleware belongs. */
export interface Answered {
  readonly status: number;
  readonly errors: readonly unknown[];
  /** How often the handler ran. */
  readonly handled: number;
}

export async function onExpress(express: ExpressVersion[1], place: (app: Express) => void): Promise<Answered> {
  const errors: unknown[] = [];
  let handled = 0;
  const app = express();
  place(app);
  app.get('/', (_request, response) => void response.end(`${++handled}`));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    errors.push(error);
    response.status(500).end();
  });
  const { status } = await fetch(await url(app), { signal: AbortSignal.timeout(5000) });
  return { status, errors, handled };
}

export async function onHono(place: (app: Hono) => void): Promise<Answered> {
  const errors: unknown[] = [];
  let handled = 0;
  const app = new Hono();
  app.onError((error, context) => {
    errors.push(error);
    return context.text('', 500);
  });
  place(app);
  app.get('/', (context) => context.text(`${++handled}`));
  const { status } = await app.request('/');
  return { status, errors, handled };
}

export async function onFastify(place: (app: FastifyInstance) => void): Promise<Answered> {
  const errors: unknown[] = [];
  let handled = 0;
  const app = fastify();
  onTestFinished(() => app.close());
  app.setErrorHandler((error, _request, reply) => {
    errors.push(error);
    return reply.code(500).send('');
  });
  place(app);
  app.get('/', () => ({ handled: ++handled }));
  const { statusCode: status } = await app.inject('/');
  return { status, errors, handled };
}
