// One gateway of simulate.js: decides as fast as its callers ask, over many keys.
import { dailyQuota, slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

const KEYS = 10_000;
const client = new Redis(Number(process.argv[2]), '127.0.0.1');
const store = redisStore({ client, timeout: '10s', refusalCache: false });
const policies = [slidingWindow({ limit: 60, window: '1m' }), dailyQuota({ limit: 1000 })];
const units = [1, 1];

async function decide({ callers, ms }) {
  const used = process.cpuUsage();
  const start = performance.now();
  let decisions = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() - start < ms) {
        const key = `10.0.${Math.floor(Math.random() * KEYS)}`;
        await store.admit(policies, [key, key], units);
        decisions++;
      }
    }),
  );
  const { user, system } = process.cpuUsage(used);
  return { decisions, ms: performance.now() - start, cpu: user + system };
}

process.on('message', (task) => {
  decide(task).then((result) => process.send(result));
});
process.on('disconnect', () => process.exit());
await client.ping();
process.send('ready');
