import { startRedis } from '/work/main/test/redis/server.js';
import { redisStore } from '/work/main/src/limit/redis/redis-store.js';
import { memoryStore } from '/work/main/src/limit/memory/memory-store.js';
import { concurrency } from '/work/main/src/limit/policy.js';
import { it } from 'vitest';
const usec = (info: string) => { const m = /cmdstat_evalsha:calls=(\d+),usec=(\d+)/.exec(info); return [Number(m?.[1] ?? 0), Number(m?.[2] ?? 0)] as const; };
it('flood', async () => {
  const policy = concurrency({ limit: 1, by: 'global' });
  const req = (client: string) => ({ key: 'global', client, weight: 1, maxWait: 3_600_000, estimate: undefined, onPlace: undefined });
  for (const n of [100, 1000]) {
    const q = memoryStore().queue({ policy, maxWaiting: n });
    const r: any = q.join(req('run')); r.ticket.started(); r.ticket.ended();
    const r2: any = q.join(req('run')); r2.ticket.started();
    for (let i = 0; i < n; i++) q.join(req(`c${i % 50}`));
    let t = performance.now();
    for (let i = 0; i < 2000; i++) q.join(req('attacker'));
    console.log('memory', n, 'us/join full+refused or pushed', (performance.now() - t) / 2);
    t = performance.now();
    for (let i = 0; i < 2000; i++) { const j: any = q.join(req('att2')); j.ticket?.leave(); }
    console.log('memory', n, 'us/join+leave', (performance.now() - t) / 2);
  }
  const server = await startRedis();
  const client = server.client();
  for (const n of [100, 1000]) {
    const store = redisStore({ client, prefix: `f${n}:`, timeout: '10s' });
    const q = store.queue({ policy, maxWaiting: n });
    const r: any = await q.join(req('run')); r.ticket.started(); r.ticket.ended();
    const r2: any = await q.join(req('run')); r2.ticket.started();
    for (let i = 0; i < n; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => q.join(req(`c${j}`))));
    await client.config('RESETSTAT');
    await new Promise((d) => setTimeout(d, 3000));
    let [c, u] = usec(await client.info('commandstats'));
    console.log('redis', n, 'idle polls in 3 s:', c, 'us each', u / c);
    await client.config('RESETSTAT');
    // arrivals in separate turns of the event loop, 300, not awaited
    const t = performance.now();
    const all: Promise<unknown>[] = [];
    for (let i = 0; i < 300; i++) { all.push(Promise.resolve(q.join(req('attacker'))).catch((e) => String(e))); await new Promise((d) => setImmediate(d)); await new Promise((d) => setImmediate(d)); }
    await Promise.all(all);
    [c, u] = usec(await client.info('commandstats'));
    console.log('redis', n, '300 refused joins: calls', c, 'server us total', u, 'per call', u / c, 'wall ms', performance.now() - t);
    store.close();
  }
  await server.stop();
}, 120_000);
