// One gateway of rows/ahead.js: decides as fast as 50 callers ask.
import { slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

const CALLERS = 50;
const { port, ahead } = JSON.parse(process.argv[2]);
const client = new Redis(port, '127.0.0.1');
const store = redisStore({ client, timeout: '5s', refusalCache: false, ...(ahead === undefined ? {} : { ahead }) });
const now = () => performance.timeOrigin + performance.now();

async function decide({ key, limit, calls }) {
  const policies = [slidingWindow({ limit, window: '1m' })];
  const keys = [key];
  const units = [1];
  const start = now();
  let left = calls;
  let admitted = 0;
  async function caller() {
    while (left > 0) {
      left--;
      const pending = store.admit(policies, keys, units);
      const decision = pending instanceof Promise ? await pending : pending;
      if (decision.kind === 'admitted') admitted++;
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return { start, end: now(), admitted, refused: calls - admitted };
}

process.on('message', (task) => {
  decide(task).then(
    (result) => process.send(result),
    (error) => process.send({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit());
await client.ping();
process.send({});
