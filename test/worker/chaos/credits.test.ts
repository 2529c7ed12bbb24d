import { expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { Chaos, type ChaosOptions } from './scene.js';

const REQUESTS = 100;

describeRedis('three gateways on one Redis, and 100 requests at the same time', () => {
  it.each<[string, Partial<ChaosOptions>, string]>([
    ['slots', { slots: 5 }, 'capacity-exceeded'],
    ['requests', { credits: 'requests' }, 'quota-exceeded'],
    ['seconds of GPU time', { credits: 'gpu-time' }, 'quota-exceeded'],
  ])(
    'let exactly five jobs reach a worker that has more slots, for five %s',
    async (_what, options, code) => {
      const leaseMs = 10_000;
      const chaos = await Chaos.start({
        gateways: 3,
        slots: 500,
        workerSlots: 500,
        leaseMs,
        stopSeconds: 0,
        ...options,
      });
      const jobs = Array.from({ length: REQUESTS }, (_, i) => chaos.post(i % 3, 3000));
      const answers = await Promise.all(jobs.map(({ answer }) => answer));
      await until('nothing runs', () => chaos.running === 0);
      const count = (what: string) => answers.filter((answer) => answer.includes(what)).length;
      expect([count('200 done'), count(code)]).toEqual([5, REQUESTS - 5]);
      expect(chaos.reports.filter(({ kind }) => kind === 'start')).toHaveLength(5);
      expect(chaos.most).toEqual({ running: 5, inSlot: 1 });
    },
    60_000,
  );
});
