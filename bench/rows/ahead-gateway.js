// One gateway of rows/ahead.js: decides as fast as 50 callers ask.
import { slidingWindow } from 'gatewarden';
import { redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

const CALLERS = 50;
/** A caller leaves the event loop to others after so many decisions, or what was taken ahead could never arrive. */
const AT_ONCE = 8;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const { port, ahead } = JSON.parse(process.argv[2]);
const client = new Redis(port, '127.0.0.1');
const store = redisStore({ client, timeout: '5s', ...(ahead === undefined ? {} : { ahead }) });
const now = () => performance.timeOrigin + performance.now();

async function decide({ key, limit, calls }) {
  const policies = [slidingWindow({ limit, window: '1m' })];
  const keys = [key];
  const units = [1];
  const start = now();
  let left = calls;
  let admitted = 0;
  async function caller() {
    for (let calls = 1; left > 0; calls++) {
      left--;
      const pending = store.admit(policies, keys, units);
      const decision = pending instanceof Promise ? await pending : pending;
      if (decision.kind === 'admitted') admitted++;
      if (calls % AT_ONCE === 0) await nextTurn();
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
