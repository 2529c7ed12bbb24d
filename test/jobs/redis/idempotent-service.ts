import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import type { Redis } from 'ioredis';
import { guard } from '../../../src/adapters/express.js';
import { idempotent } from '../../../src/jobs/idempotency/idempotent.js';
import { limit } from '../../../src/limit/limit.js';
import { slidingWindow } from '../../../src/limit/policies/sliding-window.js';
import { redisIdempotencyStore, redisStore } from '../../../src/redis.js';

export interface ServiceOptions {
  readonly client: Redis;
  readonly prefix: string;
  readonly join: 'process' | 'all';
}

/** The lease of its keys, in milliseconds. */
export const LEASE = 2000;

/**
 * A service whose handler counts its runs in Redis, by path, takes as many milliseconds as the query says, and answers with the
 * number of its run.
 */
export async function startService({ client, prefix, join }: ServiceOptions): Promise<{ url: string; server: Server }> {
  const app = express();
  const quota = limit({
    by: 'client-ip',
    policies: slidingWindow({ limit: 100_000, window: '1h' }),
    store: redisStore({ client, prefix: `${prefix}limit:` }),
  });
  const store = redisIdempotencyStore({ client, prefix: `${prefix}key:` });
  app.post(
    '/{*path}',
    guard(idempotent({ store, join, lease: `${LEASE}ms`, timeout: '10s' }), quota),
    async (req, res) => {
      const run = await client.incr(`${prefix}runs:${req.path}`);
      await client.incr(`${prefix}runs`);
      await sleep(Number(req.query.takes));
      res.send(`${req.path} run ${run}`);
    },
  );
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}
