import { afterAll, expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { type SpawnedWorker, spawnWorker } from '../../redis/processes.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import type { Order } from '../admit-order.js';
import { fullestInterval } from '../reference-log.js';
import type { Outcome } from './admit-worker.js';

const LONG = Number(process.env.PROPERTY_RUNS ?? 0) > 10_000;
const HAMMER_MS = LONG ? 10_000 : 1_500;

describeRedis(
  'several processes over one redisStore',
  () => {
    const target = useAnyRedis();
    const workers: SpawnedWorker[] = [];
    const freshPrefix = prefixesOf('processes');

    afterAll(async () => {
      for (const worker of workers) await worker.stop();
    });

    async function run(processes: number, order: Order, env = {}): Promise<readonly Outcome[]> {
      const prefix = freshPrefix();
      const started = Array.from({ length: processes }, () =>
        spawnWorker(new URL('admit-worker.ts', import.meta.url), {
          WORKER_REDIS_URL: target.url,
          WORKER_PREFIX: prefix,
          ...env,
        }),
      );
      workers.push(...started);
      for (const worker of started) expect(await worker.receive(30_000)).toBe('ready');
      for (const worker of started) worker.send({ ...order });
      return Promise.all(started.map(async (worker) => (await worker.receive(60_000)) as Outcome));
    }

    it('admit exactly five of 300 parallel requests', async () => {
      const order = { limit: 5, window: 60_000, keys: ['key'], parallel: 100, duration: 0 };
      const outcomes = await run(3, order);
      expect(outcomes.reduce((sum, { requests }) => sum + requests, 0)).toBe(300);
      expect(outcomes.flatMap(({ admitted }) => admitted.key)).toHaveLength(5);
    }, 60_000);

    it('never admit more than the limit in any window, at full speed', async () => {
      const order = { limit: 20, window: 250, keys: ['a', 'b', 'c'], parallel: 16, duration: HAMMER_MS };
      const outcomes = await run(4, order);
      let admissions = 0;
      for (const key of order.keys) {
        const times = outcomes.flatMap(({ admitted }) => admitted[key] ?? []).sort((a, b) => a - b);
        admissions += times.length;
        const charges = times.map((at) => ({ at, units: 1 }));
        expect(fullestInterval(charges, order.window)).toBe(order.limit);
        // About `limit` are admitted in each window.
        expect(times.length).toBeGreaterThan((order.limit * HAMMER_MS) / order.window / 2);
      }
      const requests = outcomes.reduce((sum, outcome) => sum + outcome.requests, 0);
      console.log(`four processes, ${HAMMER_MS} ms: ${requests} requests, ${admissions} admitted`);
    }, 120_000);

    it('never admit more than the limit in any window, from units that each has taken ahead', async () => {
      const order = { limit: 4000, window: 1000, keys: ['key'], parallel: 16, duration: HAMMER_MS };
      const outcomes = await run(4, order, { WORKER_AHEAD: 'yes' });
      const times = outcomes.flatMap(({ admitted }) => admitted.key ?? []).sort((a, b) => a - b);
      // A process knows the server's time only roughly.
      const charges = times.map((at) => ({ at, units: 1 }));
      expect(fullestInterval(charges, order.window - 100)).toBeLessThanOrEqual(order.limit);
      expect(times.length).toBeGreaterThan((order.limit * HAMMER_MS) / order.window / 2);
    }, 120_000);
  },
  { anyServer: true },
);
