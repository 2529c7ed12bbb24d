// Decisions of limiters that count in Redis, over the loopback address: how many a second, and what they cost the server.
import { spawnSync } from 'node:child_process';
import { Ratelimit } from '@upstash/ratelimit';
import { dailyQuota, slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';
import { RedisStore } from 'rate-limit-redis';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { onCore } from '../load.js';
import { redisMissing, startRedis } from '../redis-server.js';
import { upstashOver } from '../upstash.js';

const MINUTE_MS = 60_000;
const KEYS = 10_000;
/** How long a round decides, in milliseconds. */
const ROUND_MS = 600;
/** Enough for every round, so that all limiters admit all the time. */
const LIMIT = 500;

const window = slidingWindow({ limit: LIMIT, window: '1m' });
const quota = dailyQuota({ limit: 1_000_000 });

/** The client has one core, and the server has the other. */
function pinned() {
  const [command, args] = onCore(0, 'true', []);
  if (command === 'taskset') spawnSync('taskset', ['-acp', '0', String(process.pid)]);
  return args;
}

function ours(policies) {
  return (client) => {
    // Keys of its own, as the keys of a service have the same policies.
    const prefix = `gatewarden-${policies.length}:`;
    const store = redisStore({ client, prefix, timeout: '5s', refusalCache: false });
    const units = policies.map(() => 1);
    return {
      decide: async (key) => {
        const keys = policies.map(() => key);
        if ((await store.admit(policies, keys, units)).kind !== 'admitted') throw new Error('refused');
      },
      close: () => store.close(),
    };
  };
}

const incr = (client) => ({
  decide: async (key) => {
    if ((await client.incr(key)) > LIMIT) throw new Error('refused');
  },
});

function rateLimitRedis(client) {
  const store = new RedisStore({ sendCommand: (command, ...args) => client.call(command, ...args) });
  store.init({ windowMs: MINUTE_MS });
  return {
    decide: async (key) => {
      if ((await store.increment(key)).totalHits > LIMIT) throw new Error('refused');
    },
  };
}

function flexible(client) {
  const limiter = new RateLimiterRedis({ storeClient: client, points: LIMIT, duration: MINUTE_MS / 1000 });
  // It rejects if the limit is reached.
  return { decide: (key) => limiter.consume(key) };
}

function upstash(client) {
  const limiter = new Ratelimit({
    redis: upstashOver(client),
    limiter: Ratelimit.slidingWindow(LIMIT, `${MINUTE_MS} ms`),
    ephemeralCache: false,
  });
  return {
    decide: async (key) => {
      if (!(await limiter.limit(key)).success) throw new Error('refused');
    },
  };
}

const SLIDING = 'sliding window, exact; one step with all policies; a call that is sent again runs once';
const FIXED = 'fixed window: twice the limit around its end; a call that is sent again counts twice';

const ESTIMATED =
  "sliding window, estimated from two fixed ones, by the process's clock; a call that is sent again counts twice";

const LIMITERS = [
  ['INCR', 'counts, and forgets nothing', incr],
  ['gatewarden, window', SLIDING, ours([window])],
  ['gatewarden, window and quota', `${SLIDING}; and a daily quota`, ours([window, quota])],
  ['rate-limit-redis', FIXED, rateLimitRedis],
  ['rate-limiter-flexible', FIXED, flexible],
  ['@upstash/ratelimit', `${ESTIMATED}; over ioredis instead of its HTTP client, see upstash.js`, upstash],
];

const keyOf = (round, i) => `10.${i >> 8}.${i & 255}.${round}`;

function sides(run) {
  return LIMITERS.map(([name, guarantees, create]) => ({
    name,
    guarantees,
    unavailable: redisMissing(),
    open: async ({ port }) => {
      pinned();
      const client = new Redis(port, '127.0.0.1');
      const limiter = create(client);
      return { client, ...limiter };
    },
    run,
    close: ({ client, close }) => {
      close?.();
      client.disconnect();
    },
  })).map(({ unavailable, ...side }) => (unavailable === undefined ? side : { ...side, unavailable }));
}

const server = {
  open: async () => {
    const { port, stop } = await startRedis({ core: 1 });
    return { port, stop };
  },
  close: ({ stop }) => stop(),
};

/** Decisions a second by so many callers, each of which waits for its answer before it asks again. */
function decisions(callers) {
  return async (round, { decide }) => {
    let done = 0;
    const start = performance.now();
    const end = start + ROUND_MS;
    await Promise.all(
      Array.from({ length: callers }, async () => {
        while (performance.now() < end) await decide(keyOf(round, done++ % KEYS));
      }),
    );
    return (done / (performance.now() - start)) * 1000;
  };
}

/** One caller: decisions a second, and the time within which 99 of 100 are made. */
async function oneCaller(round, { decide }) {
  const latencies = [];
  const start = performance.now();
  let now = start;
  for (let i = 0; now < start + ROUND_MS; i++) {
    await decide(keyOf(round, i % KEYS));
    const answered = performance.now();
    latencies.push(answered - now);
    now = answered;
  }
  latencies.sort((a, b) => a - b);
  return {
    figure: (latencies.length / (now - start)) * 1000,
    p99: latencies[Math.floor(latencies.length * 0.99)],
  };
}

async function busyMicroseconds(client) {
  const stats = await client.info('commandstats');
  let sum = 0;
  // What a script calls is part of its own time.
  for (const [, command, usec] of stats.matchAll(/cmdstat_(\w+):calls=\d+,usec=(\d+)/g)) {
    if (command === 'evalsha' || command === 'incr') sum += Number(usec);
  }
  return sum;
}

/** Microseconds for which one decision keeps the server busy, in calls of so many decisions. */
function serverTime(together) {
  return async (round, { client, decide }) => {
    await client.config('RESETSTAT');
    let decided = 0;
    for (const end = performance.now() + ROUND_MS / 2; performance.now() < end; decided += together) {
      await Promise.all(Array.from({ length: together }, (_, i) => decide(keyOf(round, (decided + i) % KEYS))));
    }
    return (await busyMicroseconds(client)) / decided;
  };
}

const BOTH = ['gatewarden, window', 'gatewarden, window and quota'];
const atLeast = (ratio) => BOTH.map((side) => ({ side, over: 'INCR', atLeast: ratio }));
const atMost = (us) => BOTH.map((side) => ({ side, atMost: us }));

// Instructions were counted with callgrind in redis-server 7.0, as no machine that is shared has steady times.
const LONE = [
  'Of the 94,000 instructions that a lone decision costs the server (106,000 before its latest changes), 22 % are EVALSHA',
  'itself with its input and output, 40 % its five commands (GET and SET of the counters and of the reply that is',
  'remembered, and TIME), and the rest is Lua. The script of rate-limit-redis, which counts in a fixed window, takes 30,000',
  'in all. Kept: SET with KEEPTTL for the remembered reply (5,600 instead of 10,700), and fewer figures in the answer (1,500',
  'instead of 2,700). Tried and left out: MGET of both keys (2,700 a key, GET takes 2,500, and MGET cannot tell a key of',
  'another type from none), and packing the whole reply at once (15 % more Lua).',
].join(' ');
const COLLECTOR =
  "Every 50th call of any script, Redis runs a step of Lua's garbage collector. With a script of this size that takes about " +
  '0.1 ms (LATENCY HISTOGRAM: 2.3 % of calls take 66 to 132 us), which is the p99. It depends on the size of the compiled ' +
  'script, not on the path that is taken, so a goal of 0.12 ms in all cannot be met by one script that knows every policy.';
const CALLS = [
  'Client and server work in turns, each on a call of 25 decisions while the other has the next. A decision costs the',
  'server 30,000 to 34,000 instructions (35,000 to 40,000 before), of which GET and SET are 12,000. Kept: one promise a',
  'decision instead of an asynchronous function around another (client 6.8 -> 4.7 us by `--cpu-prof`, as noisy as the machine),',
  'and one packed operation for all that differ only in their keys. Tried with 50 callers: calls of 9, 13, 17, 25 and 50',
  'decisions had 0.66, 0.87, 0.85, 0.81 and 0.97 of the rate of INCR while other work kept both cores busy. One call of 50',
  'costs least, but leaves each side idle while the other works, so 25 stay on a machine with idle cores.',
].join(' ');
const MANY = [
  'With 500 callers, garbage collection took 2.5 us a decision. V8 rebuilt the `Set` of calls that wait for a timeout again',
  'and again, and each old table kept the calls of the next one alive: 1.2 MB survived each scavenge. With a linked list,',
  'nothing survives. Each call has a fixed cost, so a call now carries an eighth of the decisions that wait, at least 25.',
  'The client then needs 1.07 instead of 1.28 times the processor time of INCR, and the server 12 % less. Most of what is',
  'left of the client is ioredis, which writes each key of a call as a separate argument.',
].join(' ');

const throughput = { unit: 'decisions/s', better: 'higher', ratioTo: 'INCR', ...server };

export const rows = [
  {
    name: 'redis: one caller',
    about: 'One decision after another, each awaited.',
    ...throughput,
    measures: { p99: { unit: 'ms', better: 'lower' } },
    goals: [...atLeast(0.7), ...BOTH.map((side) => ({ side, measure: 'p99', atMost: 0.12 }))],
    notes: `${LONE} ${COLLECTOR}`,
    sides: sides(oneCaller),
  },
  {
    name: 'redis: 50 callers',
    about: 'Fifty callers at once, each of which awaits its answer.',
    ...throughput,
    goals: atLeast(1.1),
    notes: CALLS,
    sides: sides(decisions(50)),
  },
  {
    name: 'redis: 500 callers',
    about: 'Five hundred callers at once, each of which awaits its answer.',
    ...throughput,
    goals: atLeast(1.25),
    notes: MANY,
    sides: sides(decisions(500)),
  },
  {
    name: 'redis: server time of a lone decision',
    about: 'How long a decision keeps the server busy, by its own account, if it is the only one of its call.',
    unit: 'us',
    better: 'lower',
    ratioTo: 'INCR',
    ...server,
    goals: atMost(8),
    notes: `${LONE} The collector of Lua's garbage, which runs with every 50th call, adds about 2 us to the mean.`,
    sides: sides(serverTime(1)),
  },
  {
    name: 'redis: server time of a decision among 25',
    about: 'The same with 25 decisions at once, which is one call for gatewarden and 25 for the others.',
    unit: 'us',
    better: 'lower',
    ratioTo: 'INCR',
    ...server,
    goals: atMost(3.5),
    sides: sides(serverTime(25)),
  },
];
