/** A gateway in a process of its own: `POST /job` runs a job in one of the slots that all gateways share in Redis. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { Redis } from 'ioredis';
import { guard } from '../../../src/adapters/express.js';
import type { Duration } from '../../../src/core/duration.js';
import { concurrency, gpuTime, limit, type QuotaPolicy, renderReply, slidingWindow } from '../../../src/index.js';
import { redisStore } from '../../../src/redis.js';
import { deadline, JobError, worker } from '../../../src/worker/index.js';

const client = new Redis(process.env.CHAOS_REDIS ?? '');
client.on('error', () => undefined);
const gpu = worker({ url: process.env.CHAOS_WORKER ?? '', grace: '200ms', onEvent: () => undefined });
const lease = process.env.CHAOS_LEASE as Duration;
const slots = concurrency({ limit: Number(process.env.CHAOS_SLOTS), lease });
/** Five credits of a kind, besides the slots. */
const CREDITS: Readonly<Record<string, readonly QuotaPolicy[]>> = {
  requests: [slidingWindow({ limit: 5, window: '1h' })],
  'gpu-time': [gpuTime({ limit: '5s', window: '1h', estimate: '1s' })],
};
const policies = [...(CREDITS[process.env.CHAOS_CREDITS ?? ''] ?? []), slots];

const app = express();
app.post(
  '/job',
  guard(
    limit({ store: redisStore({ client, prefix: 'chaos:', timeout: '5s' }), by: 'global', policies }),
    deadline({ max: process.env.CHAOS_DEADLINE as Duration }),
  ),
  express.text(),
  async (req, res) => {
    let result = await gpu.run(req.exchange, { path: '/job', body: req.body });
    if (result.kind === 'done') {
      const text = await result.response.text().catch((error: unknown) => error);
      if (!(error(text) instanceof JobError)) return void res.send(text);
      result = (text as JobError).failure;
    }
    const { status, headers, body } = renderReply(result.reply, req.exchange);
    res.status(status).set(Object.fromEntries(headers)).send(body);
  },
);
const error = (value: unknown) => (value instanceof JobError ? value : undefined);
const server = createServer(app);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
