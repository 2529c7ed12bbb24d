import { describe, expect, it, vi } from 'vitest';
import { JobWatchers } from '../../../src/jobs/redis/job-watchers.js';
import { redisJobStore } from '../../../src/redis.js';
import { describeRedis } from '../../redis/describe.js';
import { useAnyRedis } from '../../redis/suite.js';

const job = {
  id: 'a',
  owner: 'principal:alice',
  holder: 'h1',
  lease: 30_000,
  ttl: 60_000,
  task: { name: 'mesh', payload: 'a prompt' },
};

describeRedis(
  'jobs in Redis',
  () => {
    const target = useAnyRedis();
    const prefix = `review-${process.pid}:`;

    it('are read once for all who look at the same moment, and again afterwards', async () => {
      const client = target.client();
      const store = redisJobStore({ client, prefix: `${prefix}reads:` });
      await store.create(job);
      await store.read('a');
      const sent = vi.spyOn(client, 'evalsha');
      const all = await Promise.all(Array.from({ length: 16 }, () => store.read('a')));
      expect(sent).toHaveBeenCalledTimes(1);
      expect(new Set(all.map((record) => JSON.stringify(record))).size).toBe(1);
      await store.change('a', 'h1', { kind: 'start' });
      expect(await store.read('a')).toMatchObject({ state: 'running', version: 2 });
      expect(sent).toHaveBeenCalledTimes(3);
    });

    it.each([
      ['starts', (store: ReturnType<typeof redisJobStore>) => store.change('a', 'h1', { kind: 'start' })],
      ['is cancelled', (store: ReturnType<typeof redisJobStore>) => store.cancel('a')],
    ])('keep the input of a task only until it %s, and never send it with the status', async (what, step) => {
      const client = target.client();
      const own = `${prefix}input:${what}:`;
      const store = redisJobStore({ client, prefix: own });
      await store.create(job);
      const sent = vi.spyOn(client, 'evalsha');
      await store.read('a');
      expect(JSON.stringify(await sent.mock.results[0]?.value)).not.toContain('a prompt');
      expect(await client.hget(`${own}a`, 'k')).toBe('a prompt');
      await step(store);
      expect(await client.hget(`${own}a`, 'k')).toBeNull();
    });
  },
  { anyServer: true },
);

describe('jobs that are polled', () => {
  it('are a bounded number at a time, each in its turn', () => {
    vi.useFakeTimers();
    const watchers = new JobWatchers(500, 'x:', undefined);
    const called = new Map<string, number>();
    const stops = Array.from({ length: 1200 }, (_, i) =>
      watchers.watch(`${i}`, () => called.set(`${i}`, (called.get(`${i}`) ?? 0) + 1)),
    );
    const total = () => [...called.values()].reduce((sum, n) => sum + n, 0);
    try {
      vi.advanceTimersByTime(500);
      expect(total()).toBe(500);
      vi.advanceTimersByTime(1000);
      expect(called.size).toBe(1200);
      vi.advanceTimersByTime(4500);
      expect([...called.values()].every((n) => n === 5)).toBe(true);
    } finally {
      for (const stop of stops) stop();
      expect(vi.getTimerCount()).toBe(0);
      vi.useRealTimers();
    }
  });
});
