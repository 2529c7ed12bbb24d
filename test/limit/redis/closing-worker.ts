/** A process that closes its store and its client after an outage, and then has nothing more to do. */
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';

// A client that sends nothing again never answers what it had sent over its earlier connection.
const client = new Redis(process.env.WORKER_REDIS_URL ?? '', {
  autoResendUnfulfilledCommands: false,
  disconnectTimeout: 50,
  retryStrategy: () => 20,
});
client.on('error', () => {});
// The question whether a connection is alive may take four times as long.
const store = redisStore({ client, timeout: '1s' });
const policies = [slidingWindow({ limit: 10, window: '1m' })];

process.once('message', async () => {
  await store.admit(policies, ['key'], [1]).catch(() => undefined);
  client.disconnect(true);
  await once(client, 'ready');
  await store.admit(policies, ['key'], [1]);
  store.close();
  client.disconnect();
  process.send?.('closed');
  process.disconnect();
});

await store.admit(policies, ['key'], [1]);
process.send?.('ready');
