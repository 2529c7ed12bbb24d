import 'reflect-metadata';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  Controller,
  Get,
  type INestApplication,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  Param,
  Post,
  Req,
  RequestMethod,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { guard } from '../../src/adapters/express.js';
import { guardUpgrade } from '../../src/adapters/upgrade.js';
import {
  type Exchange,
  type Guard,
  limit,
  memoryStore,
  principalOf,
  securityHeaders,
  slidingWindow,
} from '../../src/index.js';
import { BEARER, handshake, record, refused, secret } from '../contracts/upgrade.js';

interface Seen {
  readonly exchange?: Exchange;
  readonly raw?: { readonly exchange?: Exchange };
}

/** A module with two routes, of which one has guards of its own. Without the syntax of decorators, which tests do not have. */
function moduleWith(perRoute: readonly Guard[]): new () => NestModule {
  class Things {
    health(): object {
      return { ok: true };
    }

    generate(request: Seen, id: string): object {
      const exchange = request.exchange ?? request.raw?.exchange;
      if (exchange === undefined) throw new Error('there is no exchange');
      return { client: principalOf(exchange).id, id };
    }

    broken(): never {
      throw new Error('broken');
    }
  }
  const route = (name: 'health' | 'generate' | 'broken', decorator: MethodDecorator) =>
    decorator(Things.prototype, name, Object.getOwnPropertyDescriptor(Things.prototype, name) ?? {});
  route('health', Get('health'));
  route('generate', Post('generate/:id'));
  route('broken', Get('broken'));
  Req()(Things.prototype, 'generate', 0);
  Param('id')(Things.prototype, 'generate', 1);
  Controller()(Things);

  class AppModule implements NestModule {
    configure(consumer: MiddlewareConsumer): void {
      consumer.apply(guard(...perRoute)).forRoutes({ path: 'generate/:id', method: RequestMethod.POST });
    }
  }
  Module({ controllers: [Things] })(AppModule);
  return AppModule;
}

type Start = (module: new () => NestModule, everywhere: readonly Guard[]) => Promise<INestApplication>;

const PLATFORMS: readonly (readonly [platform: string, start: Start])[] = [
  [
    'Express',
    async (module, everywhere) => {
      const app = await NestFactory.create(module, new ExpressAdapter(), { logger: false });
      app.use(guard(...everywhere));
      return app;
    },
  ],
  [
    'Fastify',
    async (module, everywhere) => {
      const app = await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter(), { logger: false });
      app.use(guard(...everywhere));
      return app;
    },
  ],
];

describe.each(PLATFORMS)('NestJS on %s', (_platform, start) => {
  async function served(everywhere: readonly Guard[], perRoute: readonly Guard[]) {
    const app = await start(moduleWith(perRoute), everywhere);
    await app.listen(0, '127.0.0.1');
    onTestFinished(() => app.close());
    const server = app.getHttpServer() as Server;
    const { port } = server.address() as AddressInfo;
    const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
    return { ask, server, port };
  }

  it('guards every route, and one route with guards of its own, on one exchange', async () => {
    const { watch, outcomes, exchanges } = record();
    const perMinute = limit({
      by: 'principal',
      policies: slidingWindow({ limit: 1, window: '1h' }),
      store: memoryStore(),
    });
    const { ask } = await served([watch, securityHeaders()], [watch, secret(), perMinute]);

    const health = await ask('GET', '/health');
    expect([health.status, await health.json(), health.headers.get('x-content-type-options')]).toEqual([
      200,
      { ok: true },
      'nosniff',
    ]);

    const anonymous = await ask('POST', '/generate/7');
    expect([anonymous.status, anonymous.headers.get('content-type')]).toEqual([401, 'application/problem+json']);
    expect(await anonymous.json()).toMatchObject({ code: 'credentials-missing' });
    expect(anonymous.headers.get('x-content-type-options')).toBe('nosniff');

    const admitted = await ask('POST', '/generate/7', BEARER);
    expect([admitted.status, await admitted.json()]).toEqual([201, { client: 'shared-secret', id: '7' }]);
    expect(admitted.headers.get('ratelimit')).toContain('r=0');

    const spent = await ask('POST', '/generate/8', BEARER);
    expect([spent.status, await spent.json()]).toMatchObject([429, { code: 'quota-exceeded' }]);
    expect(spent.headers.get('retry-after')).toMatch(/^\d+$/);

    expect((await ask('GET', '/broken')).status).toBe(500);
    expect((await ask('GET', '/nowhere')).status).toBe(404);
    await expect.poll(() => outcomes.length).toBe(9);
    // Each of the three requests with guards of its own has one exchange, seen twice.
    expect(new Set(exchanges).size).toBe(6);
  });

  it('guards upgrades', async () => {
    const { server, port } = await served([securityHeaders()], [securityHeaders()]);
    guardUpgrade(server, secret());
    const webSocketServer = new WebSocketServer({ server });
    expect(await refused(port)).toMatchObject({ status: 401, body: { code: 'credentials-missing' } });
    const socket = await handshake(port, BEARER);
    expect(socket).toBeInstanceOf(WebSocket);
    for (const client of webSocketServer.clients) client.terminate();
    if (socket instanceof WebSocket) socket.terminate();
  });
});
