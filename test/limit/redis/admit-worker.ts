/** A process that asks a shared limit: all at once, or as fast as it is answered for a while. */
import { Redis } from 'ioredis';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';

export interface Order {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
  readonly keys: readonly string[];
  /** So many requests at once, or callers that go on for `duration` milliseconds. */
  readonly parallel: number;
  readonly duration: number;
}

/** For each key the server's times of what was admitted, and how many requests were made. */
export interface Outcome {
  readonly admitted: Readonly<Record<string, readonly number[]>>;
  readonly requests: number;
}

const client = new Redis(process.env.WORKER_REDIS_URL ?? '');
// Every request goes to Redis. Many at once on a machine that runs other suites: the deadline is not what is tested here.
const store = redisStore({ client, prefix: process.env.WORKER_PREFIX ?? '', timeout: '10s', refusalCache: false });

async function obey({ limit, window, keys, parallel, duration }: Order): Promise<Outcome> {
  const policies = [slidingWindow({ limit, window: `${window}ms` })];
  const admitted: Record<string, number[]> = Object.fromEntries(keys.map((key) => [key, []]));
  let requests = 0;
  const ask = async (caller: number): Promise<void> => {
    const key = keys[(caller + requests) % keys.length] ?? '';
    requests++;
    const decision = await store.admit(policies, [key], 1);
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
  void obey(order).then((outcome) => process.send?.(outcome));
});
client.once('ready', () => process.send?.('ready'));
