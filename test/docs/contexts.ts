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
  'redis-client': `
import { Redis } from 'ioredis';
const client = new Redis({ lazyConnect: true });
`,
  openai: `
import OpenAI from 'openai';
const openai = new OpenAI({ apiKey: 'sk-test', fetch: async () => Response.json({ data: [] }) });
`,
  express: `${EXPRESS}${GUARDS}`,
  fastify: `${FASTIFY}${GUARDS}`,
  hono: `${HONO}${GUARDS}`,
};
