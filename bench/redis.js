// Decisions of a limiter in Redis over loopback, from one caller and from fifty, and the memory of 100,000 keys.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { dailyQuota, slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

const port = await freePort();
const server = spawn(
  'redis-server',
  ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
  { stdio: 'ignore' },
);
const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50 });
client.on('error', () => undefined);
await client.ping();

const keys = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
const window = slidingWindow({ limit: 60, window: '1m' });
const quota = dailyQuota({ limit: 1_000_000 });
const store = redisStore({ client, timeout: '5s', refusalCache: false });
const flexible = new RateLimiterRedis({ storeClient: client, points: 60, duration: 60 });

const contestants = [
  ['only INCR, without a limit', (key) => client.incr(`incr:${key}`)],
  ['gatewarden, sliding window 60', (key) => store.admit([window], [key], 1)],
  ['gatewarden, sliding window 60 and daily quota', (key) => store.admit([window, quota], [key, key], 1)],
  ['rate-limiter-flexible, fixed window', (key) => flexible.consume(key).catch(() => undefined)],
];

async function perSecond(decide, callers, decisions) {
  let best = 0;
  for (let round = 0; round < 3; round++) {
    let next = 0;
    const start = performance.now();
    await Promise.all(
      Array.from({ length: callers }, async () => {
        while (next < decisions) await decide(keys[next++ % keys.length]);
      }),
    );
    best = Math.max(best, (decisions / (performance.now() - start)) * 1000);
  }
  return best;
}

for (const [callers, decisions] of [
  [1, 5_000],
  [50, 50_000],
]) {
  console.log(`\n${callers} caller${callers === 1 ? '' : 's'}`);
  let base;
  for (const [name, decide] of contestants) {
    const rate = await perSecond(decide, callers, decisions);
    base ??= rate;
    console.log(`  ${name.padEnd(50)} ${rate.toFixed(0).padStart(8)} /s  ${(rate / base).toFixed(2).padStart(5)} x`);
  }
}

async function used() {
  return Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
}

await client.flushall();
const before = await used();
const policies = [slidingWindow({ limit: 60, window: '24h' }), quota];
const bytes = async () => ((await used()) - before) / 100_000;
async function everyKey() {
  for (let i = 0; i < 100_000; i += 50) {
    const admissions = Array.from({ length: 50 }, (_, j) => {
      const key = `10.${(i + j) >> 16}.${((i + j) >> 8) & 255}.${(i + j) & 255}`;
      return store.admit(policies, [key, key], 1);
    });
    await Promise.all(admissions);
  }
}
console.log('\nbytes per key: 100,000 keys, a window of 60 and a daily quota');
await everyKey();
console.log(`  one request   ${(await bytes()).toFixed(0)}`);
for (let i = 1; i < 60; i++) await everyKey();
console.log(`  window full   ${(await bytes()).toFixed(0)}`);
await client.flushall();
const empty = await used();
for (let i = 0; i < 100; i++) {
  const pipeline = client.pipeline();
  for (let j = 0; j < 1000; j++) pipeline.set(`gw:10.0.${i}.${j}`, 'x', 'PX', 86_400_000);
  await pipeline.exec();
}
console.log(`  for comparison, SET key x PX ...: ${(((await used()) - empty) / 100_000).toFixed(0)}`);

store.close();
client.disconnect();
server.kill();
