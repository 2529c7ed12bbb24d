// What one key costs in memory: in the process, and in Redis.
import { Ratelimit } from '@upstash/ratelimit';
import { MemoryStore } from 'express-rate-limit';
import { dailyQuota, memoryStore, slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';
import { RedisStore } from 'rate-limit-redis';
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible';
import { redisMissing, startRedis } from '../redis-server.js';
import { upstashOver } from '../upstash.js';

const LIMIT = 60;
const HOUR_MS = 3_600_000;
const window = slidingWindow({ limit: LIMIT, window: '1h' });
const quota = dailyQuota({ limit: 1_000_000 });

/** The text of an address, made anew: a service gets its keys from its requests. */
const key = (i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;

function inUse() {
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes a key of a limiter in this process, after `requests` of each of `keys` keys. */
function inProcess(name, guarantees, keys, requests, create) {
  return {
    name,
    guarantees,
    run: async () => {
      const before = inUse();
      const { admit, drop, held } = create();
      for (let request = 0; request < requests; request++) {
        for (let i = 0; i < keys; i++) {
          const pending = admit(key(i));
          if (pending instanceof Promise) await pending;
        }
      }
      const bytes = (inUse() - before) / keys;
      // Also keeps the limiter in use until here.
      if (held !== undefined && held() < keys) throw new Error(`${name} holds ${held()} of ${keys} keys`);
      await drop?.(keys);
      return bytes;
    },
  };
}

function ours(policies) {
  return () => {
    const store = memoryStore();
    return {
      admit: (name) => {
        const names = policies.map(() => name);
        const units = policies.map(() => 1);
        if (store.admit(policies, names, units).kind !== 'admitted') throw new Error('refused');
      },
      held: () => store.size,
    };
  };
}

function mapCounter() {
  const counts = new Map();
  return { admit: (name) => void counts.set(name, (counts.get(name) ?? 0) + 1), held: () => counts.size };
}

function expressRateLimit() {
  const store = new MemoryStore();
  store.init({ windowMs: HOUR_MS });
  return { admit: (name) => store.increment(name), drop: () => store.shutdown() };
}

function flexible() {
  const limiter = new RateLimiterMemory({ points: LIMIT, duration: HOUR_MS / 1000 });
  return {
    admit: (name) => limiter.consume(name),
    // Each key has a timer, which would keep it.
    drop: async (keys) => {
      for (let i = 0; i < keys; i++) await limiter.delete(key(i));
    },
  };
}

const COUNTER = 'a Map counter';
const SLIDING = 'sliding window, exact; bounded, least used forgotten first';

const inMemory = (name, about, keys, requests) => ({
  name,
  about,
  unit: 'bytes a key',
  better: 'lower',
  ratioTo: COUNTER,
  sides: [
    inProcess(COUNTER, 'counts, and forgets nothing', keys, requests, mapCounter),
    inProcess('gatewarden, window', SLIDING, keys, requests, ours([window])),
    inProcess('gatewarden, window and quota', `${SLIDING}; and a daily quota`, keys, requests, ours([window, quota])),
    inProcess('express-rate-limit', 'fixed window for each key; unbounded', keys, requests, expressRateLimit),
    inProcess('rate-limiter-flexible', 'fixed window for each key, a timer each; unbounded', keys, requests, flexible),
  ],
});

async function redisBytes(client) {
  return Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
}

/** Bytes a key in Redis. Scripts, and what is remembered of calls whatever their keys, are there before it is measured. */
function inRedis(name, guarantees, keys, requests, create) {
  return {
    name,
    guarantees,
    unavailable: redisMissing(),
    open: ({ port }) => ({ client: new Redis(port, '127.0.0.1') }),
    run: async (_round, { client }) => {
      await client.flushall();
      const { admit, close } = create(client);
      const all = async (count, text) => {
        for (let i = 0; i < count; i += 100) {
          await Promise.all(Array.from({ length: Math.min(100, count - i) }, (_, j) => admit(text(i + j))));
        }
      };
      for (let i = 0; i < 30; i++) await all(1000, (j) => `warm.${j}`);
      const before = await redisBytes(client);
      for (let request = 0; request < requests; request++) await all(keys, key);
      const bytes = ((await redisBytes(client)) - before) / keys;
      close?.();
      return bytes;
    },
    close: ({ client }) => client.disconnect(),
  };
}

const oursInRedis = (policies) => (client) => {
  const store = redisStore({ client, timeout: '5s' });
  const units = policies.map(() => 1);
  return {
    admit: async (name) => {
      const decision = await store.admit(
        policies,
        policies.map(() => name),
        units,
      );
      if (decision.kind !== 'admitted') throw new Error('refused');
    },
    close: () => store.close(),
  };
};

const set = (client) => ({ admit: (name) => client.set(`gw:${name}`, 'x', 'PX', HOUR_MS) });

function rateLimitRedis(client) {
  const store = new RedisStore({ sendCommand: (...command) => client.call(...command) });
  store.init({ windowMs: HOUR_MS });
  return { admit: (name) => store.increment(name) };
}

function flexibleRedis(client) {
  const limiter = new RateLimiterRedis({ storeClient: client, points: LIMIT, duration: HOUR_MS / 1000 });
  return { admit: (name) => limiter.consume(name) };
}

function upstash(client) {
  const limiter = new Ratelimit({
    redis: upstashOver(client),
    limiter: Ratelimit.slidingWindow(LIMIT, `${HOUR_MS} ms`),
    ephemeralCache: false,
  });
  return {
    admit: async (name) => {
      if (!(await limiter.limit(name)).success) throw new Error('refused');
    },
  };
}

const SET = 'SET key x PX';

const redisRow = (name, about, keys, requests, peers) => ({
  name,
  about,
  unit: 'bytes a key',
  better: 'lower',
  ratioTo: SET,
  open: () => startRedis(),
  close: (server) => server.stop(),
  sides: [
    [SET, 'holds one byte that expires; counts nothing', set],
    ['gatewarden, window', 'sliding window, exact', oursInRedis([window])],
    ['gatewarden, window and quota', 'the same, and a daily quota', oursInRedis([window, quota])],
    ...peers,
  ].map(([side, guarantees, create]) => inRedis(side, guarantees, keys, requests, create)),
});

const RATE_LIMIT_REDIS = ['rate-limit-redis', 'fixed window for each key', rateLimitRedis];
const PEERS = [
  RATE_LIMIT_REDIS,
  ['rate-limiter-flexible', 'fixed window for each key', flexibleRedis],
  ['@upstash/ratelimit', 'sliding window, estimated from two fixed ones; over ioredis, see upstash.js', upstash],
];

const REST = 'What does not depend on the number of keys is left out.';

export const rows = [
  inMemory('footprint: memory, one request of each key', '100,000 addresses with one request in the hour.', 100_000, 1),
  inMemory('footprint: memory, a full window', `10,000 addresses with ${LIMIT} requests in the hour.`, 10_000, LIMIT),
  redisRow(
    'footprint: Redis, one request of each key',
    `30,000 addresses with one request in the hour. ${REST}`,
    30_000,
    1,
    PEERS,
  ),
  redisRow(
    'footprint: Redis, a full window',
    `2,000 addresses with ${LIMIT} requests in the hour. ${REST}`,
    2000,
    LIMIT,
    // What the others need does not depend on how often a key was used.
    [RATE_LIMIT_REDIS],
  ),
];
