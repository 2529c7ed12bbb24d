// One process of rows/sqlite.js: decides one request after the other for a while.
import { slidingWindow } from 'gatewarden';
import { sqliteStore } from 'gatewarden/sqlite';

const { file, ms } = JSON.parse(process.argv[2]);
const store = sqliteStore({ path: file, timeout: '10s' });
const policies = [slidingWindow({ limit: 500, window: '1m' })];

async function decide(keys) {
  let calls = 0;
  let slowest = 0;
  const begin = performance.now();
  for (let now = begin; now - begin < ms; ) {
    const pending = store.admit(policies, [`key-${(process.pid + calls) % keys}`], [1]);
    if (pending instanceof Promise) await pending;
    calls++;
    const end = performance.now();
    slowest = Math.max(slowest, end - now);
    now = end;
  }
  return { perSecond: (calls * 1000) / (performance.now() - begin), slowest };
}

process.on('message', ({ keys }) => {
  decide(keys).then(
    (result) => process.send(result),
    (error) => process.send({ error: error.message }),
  );
});
process.on('disconnect', () => {
  store.close();
  process.exit();
});
process.send({});
