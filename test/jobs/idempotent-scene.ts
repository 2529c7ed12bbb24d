import { createServer, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { onTestFinished } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden } from '../../src/adapters/fastify.js';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import type { Exchange, Guard } from '../../src/index.js';
import { listening } from '../worker/scene.js';

/** What a handler answers. A list is a body that is sent piece by piece. */
export interface HandlerAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | readonly string[];
}

/** A handler. What it throws becomes the framework's own 500. */
export type Handle = (exchange: Exchange, body: string) => HandlerAnswer | Promise<HandlerAnswer>;

/** Serves POST and GET of every path behind guards. Returns the URL. */
export type Serve = (guards: readonly Guard[], handle: Handle) => Promise<string>;

const isText = (body: HandlerAnswer['body']): body is string | undefined => !Array.isArray(body);

function webResponse({ status = 200, headers = {}, body }: HandlerAnswer): Response {
  const sent = isText(body)
    ? body
    : (Readable.toWeb(Readable.from((body ?? []).map((text) => Buffer.from(text)))) as ReadableStream);
  return new Response(sent ?? null, { status, headers });
}

/** Express, Fastify, and Hono on Node and off it. */
export const FRAMEWORKS: readonly (readonly [name: string, serve: Serve])[] = [
  [
    'Express',
    (guards, handle) => {
      const app = express();
      app.set('env', 'test');
      app.all('/{*path}', expressGuard(...guards), express.text({ type: '*/*', limit: '1mb' }), async (req, res) => {
        const { status = 200, headers = {}, body } = await handle(req.exchange, String(req.body ?? ''));
        res.status(status).set(headers);
        if (isText(body)) res.send(body);
        else await pipeline(Readable.from(body ?? []), res).catch(() => undefined);
      });
      return listening(createServer(app));
    },
  ],
  [
    'Fastify',
    async (guards, handle) => {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.removeAllContentTypeParsers();
      app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
      app.all('/*', { onRequest: fastifyGuard(...guards) }, async (request, reply) => {
        const { status = 200, headers = {}, body } = await handle(request.exchange, String(request.body ?? ''));
        return reply
          .code(status)
          .headers(headers)
          .send(isText(body) ? body : Readable.from(body ?? []));
      });
      const url = await app.listen({ host: '127.0.0.1', port: 0 });
      onTestFinished(() => app.close());
      return url;
    },
  ],
  ['Hono on Node', (guards, handle) => listening(createServer(getRequestListener(honoApp(guards, handle).fetch)))],
  [
    'Hono off Node',
    (guards, handle) => {
      const app = honoApp(guards, handle);
      const server = createServer((incoming, outgoing) => {
        void (async () => {
          const response = await app.fetch(await webRequest(incoming));
          outgoing.writeHead(response.status, Object.fromEntries(response.headers));
          if (response.body === null) outgoing.end();
          else await pipeline(Readable.fromWeb(response.body as NodeStream), outgoing).catch(() => undefined);
        })();
      });
      return listening(server);
    },
  ],
];

function honoApp(guards: readonly Guard[], handle: Handle): Hono {
  const app = new Hono();
  app.onError((_error, c) => c.text('broken', 500));
  app.all('*', honoGuard(...guards), async (c) =>
    webResponse(await handle(c.var.exchange, c.var.exchange.upload === undefined ? await c.req.text() : '')),
  );
  return app;
}

async function webRequest(incoming: IncomingMessage): Promise<Request> {
  const headers = new Headers(incoming.headers as Record<string, string>);
  const hasBody = incoming.method !== 'GET' && incoming.method !== 'HEAD';
  const body = hasBody ? Buffer.concat(await incoming.toArray()) : null;
  return new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method ?? 'GET',
    headers,
    body,
  });
}

/** What came back of a POST. */
export interface Posted {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly replayed: boolean;
  /** The code of a problem. */
  readonly code: string | undefined;
}

/** Sends a POST with an idempotency key, or without one for `undefined`. */
export async function post(
  url: string,
  key: string | undefined,
  body: RequestInit['body'] = '{"prompt":"a cat"}',
  options: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
    readonly method?: string;
  } = {},
): Promise<Posted> {
  const response = await fetch(url, {
    method: options.method ?? 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...options.headers,
    },
    body: body ?? null,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const text = await response.text();
  const isProblem = response.headers.get('content-type')?.includes('problem+json') === true;
  return {
    status: response.status,
    headers: response.headers,
    text,
    replayed: response.headers.get('idempotency-replayed') === 'true',
    code: isProblem ? (JSON.parse(text) as { code: string }).code : undefined,
  };
}
