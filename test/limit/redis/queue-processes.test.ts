import { afterAll, expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { type SpawnedWorker, spawnWorker, until } from '../../redis/processes.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import type { News, Order } from './queue-worker.js';

/** Between a change and its report, on a busy machine. */
const SLACK = 300;

describeRedis(
  'three processes with one queue',
  () => {
    const target = useAnyRedis();
    let workers: SpawnedWorker[] = [];
    const freshPrefix = prefixesOf('queue-processes');
    let news: News[] = [];

    afterAll(async () => {
      for (const worker of workers) await worker.stop();
    });

    async function spawn(): Promise<SpawnedWorker> {
      const worker = spawnWorker(new URL('queue-worker.ts', import.meta.url), { WORKER_REDIS_URL: target.url });
      expect(await worker.receive(30_000)).toBe('ready');
      const listen = async (): Promise<void> => {
        for (;;) {
          const one = (await worker.receive(90_000)) as News;
          news.push(one);
        }
      };
      listen().catch(() => undefined);
      return worker;
    }

    /** A queue of its own for three processes. */
    async function start(interval: number, subscribes = false) {
      const missing = Array.from({ length: 3 - workers.length }, spawn);
      workers = [...workers, ...(await Promise.all(missing))];
      const prefix = freshPrefix();
      const open: Order = { kind: 'open', prefix, interval, subscribes };
      news = [];
      for (const worker of workers) worker.send({ ...open });
      const has = (kind: News['kind'], id: number) => news.some((one) => one.kind === kind && one.id === id);
      const find = (kind: News['kind'], id: number) => news.find((one) => one.kind === kind && one.id === id)?.at ?? 0;
      await until('all queues are open', () => news.length === 3, 30_000);
      return {
        has,
        failures: () => news.filter(({ kind }) => kind === 'in vain' || kind === 'failed'),
        async kill(worker: number) {
          const [killed] = workers.splice(worker, 1);
          await killed?.stop();
        },
        /** The jobs that have started, in that order. */
        starts: () =>
          news
            .filter(({ kind }) => kind === 'started')
            .sort((a, b) => a.at - b.at)
            .map(({ id }) => id)
            .filter((id, i, all) => all.indexOf(id) === i),
        /** How long the slot was free between two jobs. */
        gap: (before: number, after: number) => find('started', after) - find('ended', before),
        async send(worker: number, order: Order) {
          workers[worker]?.send({ ...order });
          if (order.kind === 'join') {
            await until(`job ${order.id} waits`, () => has('waiting', order.id) || has('started', order.id), 30_000);
          }
        },
      };
    }

    it('serve in the order of the queue, whichever asks first', async () => {
      const { send, starts, has, failures } = await start(300, true);
      await send(0, { kind: 'join', id: 0, client: 'client-0', holds: null });
      const ids = Array.from({ length: 24 }, (_, i) => i + 1);
      for (const id of ids) await send(id % 3, { kind: 'join', id, client: `client-${id}`, holds: 5 });
      await send(0, { kind: 'end', id: 0 });
      await until('all jobs are done', () => ids.every((id) => has('ended', id)), 30_000);
      expect(starts()).toEqual([0, ...ids]);
      expect(failures()).toEqual([]);
    }, 90_000);

    it('leave a slot free for one interval at most, without a second connection', async () => {
      const interval = 400;
      const { send, gap, has } = await start(interval);
      await send(0, { kind: 'join', id: 0, client: 'client-0', holds: 100 });
      const ids = [1, 2, 3, 4, 5];
      for (const id of ids) await send(id % 3, { kind: 'join', id, client: `client-${id}`, holds: 100 });
      await until('all jobs are done', () => ids.every((id) => has('ended', id)), 30_000);
      const gaps = ids.map((id) => gap(id - 1, id));
      console.log(`an interval of ${interval} ms; the slot was free for ${gaps.join(', ')} ms`);
      expect(Math.max(...gaps)).toBeLessThanOrEqual(interval + SLACK);
    }, 90_000);

    it('pass over a process that was killed within four intervals, and lose no place of the others', async () => {
      const interval = 250;
      const { send, gap, has, starts, kill, failures } = await start(interval);
      await send(0, { kind: 'join', id: 0, client: 'client-0', holds: null });
      // The first that waits, and others, belong to the process that dies.
      for (const id of [1, 2, 3, 4, 5, 6, 7, 8]) {
        await send(id % 3, { kind: 'join', id, client: `client-${id}`, holds: 5 });
      }
      await kill(1);
      await send(0, { kind: 'end', id: 0 });
      const alive = [2, 3, 5, 6, 8];
      await until('all jobs of the others are done', () => alive.every((id) => has('ended', id)), 30_000);
      expect(starts()).toEqual([0, ...alive]);
      console.log(`an interval of ${interval} ms; with a dead head, the slot was free for ${gap(0, 2)} ms`);
      expect(gap(0, 2)).toBeLessThanOrEqual(4 * interval + SLACK);
      expect(failures()).toEqual([]);
    }, 90_000);

    it('free the slot of a process that was killed while it ran, once its lease has ended', async () => {
      const { send, has, kill } = await start(100);
      await send(0, { kind: 'join', id: 0, client: 'client-0', holds: null });
      await send(1, { kind: 'join', id: 1, client: 'client-1', holds: 5 });
      await kill(0);
      const killedAt = performance.now();
      await until('the job of the other is done', () => has('ended', 1), 30_000);
      // The lease is one second.
      expect(performance.now() - killedAt).toBeLessThan(1000 + 400 + 2 * SLACK);
    }, 90_000);
  },
  { anyServer: true },
);
