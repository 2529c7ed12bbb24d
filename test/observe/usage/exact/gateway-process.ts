/** A gateway in a process of its own: `POST /job` runs a job of the client that `X-Client` names. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { Redis } from 'ioredis';
import { guard } from '../../../../src/adapters/express.js';
import { concurrency, gpuTime, limit, meterUsage, renderReply, slidingWindow } from '../../../../src/index.js';
import { redisLedger, redisStore } from '../../../../src/redis.js';
import { deadline, JobError, worker } from '../../../../src/worker/index.js';
import { identify } from './identify.js';

const client = new Redis(process.env.USAGE_REDIS ?? '');
client.on('error', () => undefined);
const ledger = redisLedger({ client, prefix: 'exact-usage:', interval: '200ms' });
const store = redisStore({ client, prefix: 'exact:', timeout: '5s' });
const gpu = worker({ url: process.env.USAGE_WORKER ?? '', ledger, grace: '200ms', onEvent: () => undefined });

const app = express();
app.post(
  '/job',
  guard(
    meterUsage({ ledger }),
    identify,
    limit({
      store,
      by: 'principal-or-client-ip',
      policies: slidingWindow({ limit: 3, window: '1h', name: 'few' }),
      skip: ({ principal }) => principal?.id !== 'greedy',
    }),
    limit({
      store,
      by: 'principal-or-client-ip',
      policies: [
        concurrency({ limit: 2, by: 'global', lease: '1500ms' }),
        gpuTime({ limit: '60s', window: '1h', estimate: '200ms', lease: '1500ms' }),
        slidingWindow({ limit: 10_000, window: '1h' }),
      ],
      queue: { maxWait: '400ms', maxWaiting: 8 },
    }),
    deadline({ max: '800ms' }),
  ),
  express.text(),
  async (req, res) => {
    let result = await gpu.run(req.exchange, { path: '/job', body: req.body });
    if (result.kind === 'done') {
      const text = await result.response.text().catch((error: unknown) => error);
      if (!(text instanceof JobError)) return void res.send(text);
      result = text.failure;
    }
    const { status, headers, body } = renderReply(result.reply, req.exchange);
    res.status(status).set(Object.fromEntries(headers)).send(body);
  },
);
const server = createServer(app);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
