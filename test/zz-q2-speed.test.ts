import { it } from 'vitest';
import { startRedis } from '/work/main/test/redis/server.js';
import { redisStore } from '/work/main/src/limit/redis/redis-store.js';
import { concurrency } from '/work/main/src/limit/policy.js';
it('speed', async () => {
  const server = await startRedis();
  for (const n of [10, 100, 1000]) {
    for (const clients of [5, n]) {
    const client = server.client();
    const store = redisStore({ client, prefix: `s${n}-${clients}:`, timeout: '10s' , queueInterval: '10s'});
    const queue = store.queue({ policy: concurrency({ limit: 4 }), maxWaiting: 1000 });
    const r = (c: string) => queue.join({ key: 'k', client: c, weight: 1, maxWait: 1e9, estimate: undefined, onPlace: undefined });
    const first = await r('x'); if (first.kind==='turn') { first.ticket.started(); await new Promise(f=>setTimeout(f,20)); first.ticket.ended(); }
    await client.call('CONFIG','RESETSTAT');
    const t = performance.now();
    await Promise.all(Array.from({ length: n + 4 }, async (_, i) => { const j = await r(`c${i % clients}`); if (j.kind==='turn') j.ticket.started(); }));
    const all = performance.now() - t;
    const s1 = String(await client.info('commandstats')).match(/cmdstat_evalsha:.*/)?.[0];
    await client.call('CONFIG','RESETSTAT');
    const t2 = performance.now();
    for (let i = 0; i < 20; i++) { const j = await r(`new${i}`); if (j.kind === 'waiting') j.ticket.leave(); }
    const one = (performance.now() - t2) / 20;
    const s2 = String(await client.info('commandstats')).match(/cmdstat_evalsha:.*/)?.[0];
    const [key=''] = await client.keys(`s${n}-${clients}:*`);
    console.log(n, clients, `burst ${all.toFixed(1)} ms`, s1, `one join ${one.toFixed(2)} ms`, s2, 'bytes', await client.strlen(key));
    store.close();
    }
  }
  await server.stop();
}, 60000);
