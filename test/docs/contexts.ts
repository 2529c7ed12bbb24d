const EXPRESS = `
import express from 'express';
import { guard } from 'gatewarden/express';
const app = express();
const handler = (req, res) => res.json({ ok: true });
`;
const FASTIFY = `
import fastify from 'fastify';
import { gatewarden, guard } from 'gatewarden/fastify';
const app = fastify();
const handler = () => ({ ok: true });
`;
const HONO = `
import { Hono } from 'hono';
import { createGuard, guard } from 'gatewarden/hono';
const app = new Hono();
const handler = (c) => c.json({ ok: true });
`;
const GUARDS = `
const secret = authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY] }));
const perMinute = limit({ by: 'client-ip', policies: slidingWindow({ limit: 60, window: '1m' }) });
`;

const WEB = `${GUARDS}
const handler = (request, ...args) => Response.json({ ok: true });
`;
const NESTJS = `
import 'reflect-metadata';
import { Module } from '@nestjs/common';
class AppModule {}
Module({})(AppModule);
`;

/** What fragments of the documentation may take for granted, by the name in the comment before them. */
export const CONTEXTS: Readonly<Record<string, string>> = {
  nothing: '',
  'api-keys': `
const { record } = generateApiKey({ clientId: 'acme' });
const keySet = apiKeys({ keys: [record] });
`,
  database: `
const database = { findKeyRecord: async (digest, options) => undefined };
`,
  'cors-origins': `${EXPRESS}
const database = { findOrigin: async (origin) => undefined };
`,
  'with-keys': `${EXPRESS}
const { record } = generateApiKey({ clientId: 'acme' });
const records = [record];
`,
  /** The package is not installed here. Its pool is the one that Node's `fetch` uses. */
  undici: `
const undici = /** @type {any} */ ({ Agent: class {}, fetch: globalThis.fetch });
const { Agent, fetch } = undici;
`,
  jobs: `${EXPRESS}${GUARDS}
import { sendReply } from 'gatewarden/express';
const store = memoryJobStore();
const queue = jobs({ store });
`,
  'object-storage': `
import { Readable } from 'node:stream';
const storage = {
  upload: async (path, body) => undefined,
  download: async (path, range) => Readable.from([]),
  deleteAll: async (path) => undefined,
  folders: async function* () {},
};
`,
  /** With `REDIS_URL` of a server. */
  'with-redis': '',
  'redis-client': `
import { Redis } from 'ioredis';
const client = new Redis({ lazyConnect: true });
`,
  openai: `
import OpenAI from 'openai';
const openai = new OpenAI({ apiKey: 'sk-test', fetch: async () => Response.json({ data: [] }) });
`,
  web: `${GUARDS}`,
  'web-jobs': `${GUARDS}
const queue = jobs({ store: memoryJobStore() });
`,
  'web-next': `${GUARDS}`,
  bun: `${WEB}
const Bun = { serve: (options) => options };
`,
  deno: `${WEB}
const Deno = { serve: (options, handler) => handler };
`,
  'bun-upgrade': `
declare namespace Bun {
  interface Server {
    upgrade(request: Request): boolean;
  }
}
const Bun = { serve: (options: object) => options };
const secret = authenticate(sharedSecret({ secrets: [String(process.env.SECRET_KEY)] }));
`,
  worker: `
interface Env {
  readonly MODEL: string;
}
const secret = authenticate(sharedSecret({ secrets: [String(process.env.SECRET_KEY)] }));
`,
  upgrade: `${EXPRESS}`,
  'upgrade-server': `${GUARDS}
import { createServer } from 'node:http';
const server = createServer();
`,
  'fastify-websocket': `${FASTIFY}${GUARDS}`,
  /** Its types do not suit `exactOptionalPropertyTypes`. */
  'hono-websocket': `${HONO}${GUARDS}
import * as ws from 'ws';
const { WebSocketServer } = /** @type {any} */ (ws);
`,
  nestjs: `${NESTJS}${GUARDS}`,
  'nestjs-app': `${NESTJS}${GUARDS}
import { NestFactory } from '@nestjs/core';
const app = await NestFactory.create(AppModule);
`,
  ledger: `${EXPRESS}${GUARDS}
const ledger = memoryLedger();
`,
  'ledger-file': `${EXPRESS}${GUARDS}
import { createServer } from 'node:http';
const server = createServer(app);
`,
  'usage-redis': `
import { Redis } from 'ioredis';
const client = new Redis({ lazyConnect: true, enableOfflineQueue: false, retryStrategy: () => null });
client.on('error', () => undefined);
`,
  operator: `
const store = memoryOperatorStore();
const sink = (record) => console.log(record);
`,
  'operator-redis': `
import { Redis } from 'ioredis';
const redis = new Redis({ lazyConnect: true });
const sink = (record) => console.log(record);
`,
  'operator-worker': `${GUARDS}
const limits = memoryStore();
const store = memoryJobStore();
const controls = operatorControls({ store: memoryOperatorStore(), sink: (record) => console.log(record) });
const gpu = worker({ url: 'http://127.0.0.1:8090' });
`,
  /** Its application does not listen: the port is a fixed one. */
  'metrics-port': `
import newApplication from 'express';
import * as client from 'prom-client';
import { guard } from 'gatewarden/express';
const register = new client.Registry();
const express = () => Object.assign(newApplication(), { listen: (port, host) => undefined });
`,
  express: `${EXPRESS}${GUARDS}`,
  fastify: `${FASTIFY}${GUARDS}`,
  hono: `${HONO}${GUARDS}`,
};
