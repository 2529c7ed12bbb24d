/** A gateway process: an Express service whose routes stand before one worker, each with a limit of its own. */
import type { AddressInfo } from 'node:net';
import express from 'express';
import { Redis } from 'ioredis';
import { guard } from '../../../src/adapters/express.js';
import { limit } from '../../../src/limit/limit.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { POLICIES } from './gateway-policies.js';

const client = new Redis(process.env.WORKER_REDIS_URL ?? '');
// Every request goes to Redis. The timeout is not tested here, and the machine may be busy with other suites.
const store = redisStore({ client, prefix: process.env.WORKER_PREFIX ?? '', timeout: '10s', refusalCache: false });
const worker = process.env.WORKER_URL ?? '';

const app = express();
for (const [kind, policies] of Object.entries(POLICIES)) {
  app.post(`/${kind}`, guard(limit({ store, by: 'global', policies })), async (req, res) => {
    const answer = await fetch(`${worker}/${kind}`, { method: 'POST' });
    // A busy machine must not decide how much is left.
    if (kind.startsWith('gpu-')) await req.exchange.admission?.settle(100);
    res.status(answer.status).send(await answer.text());
  });
}
const server = app.listen(0, '127.0.0.1', () => {
  client.ping().then(() => process.send?.((server.address() as AddressInfo).port));
});
