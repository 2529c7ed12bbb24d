/** A process that sends requests to a shared limit: all at once, or for a while as fast as they are answered. */
import { Redis } from 'ioredis';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { Order } from '../admit-order.js';

/** For each key, when requests were admitted by the server's clock; and how many requests were sent. */
export interface Outcome {
  readonly admitted: Readonly<Record<string, readonly number[]>>;
  readonly requests: number;
}

const ahead = process.env.WORKER_AHEAD === undefined ? undefined : { share: 0.05 };
const client = new Redis(process.env.WORKER_REDIS_URL ?? '');
// Every request goes to Redis, unless units are taken ahead. The timeout is not tested here, and the machine may be busy with other suites.
const store = redisStore({
  client,
  prefix: process.env.WORKER_PREFIX ?? '',
  timeout: '10s',
  refusalCache: false,
  ahead,
});

async function carryOut({ limit, window, keys, parallel, duration }: Order): Promise<Outcome> {
  const policies = [slidingWindow({ limit, window: `${window}ms` })];
  const admitted: Record<string, number[]> = Object.fromEntries(keys.map((key) => [key, []]));
  let requests = 0;
  const ask = async (caller: number): Promise<void> => {
    const key = keys[(caller + requests) % keys.length] ?? '';
    requests++;
    const decision = await store.admit(policies, [key], [1]);
    if (decision.kind === 'admitted') admitted[key]?.push(decision.at);
  };
  const until = Date.now() + duration;
  await Promise.all(
    Array.from({ length: parallel }, async (_, caller) => {
      do await ask(caller);
      while (Date.now() < until);
    }),
  );
  return { admitted, requests };
}

process.on('message', (order: Order) => {
  void carryOut(order).then((outcome) => process.send?.(outcome));
});
client.once('ready', () => process.send?.('ready'));
