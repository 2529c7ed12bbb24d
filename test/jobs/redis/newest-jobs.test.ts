import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { NewestJobs } from '../../../src/jobs/redis/newest-jobs.js';
import { describeRedis } from '../../redis/describe.js';
import { useAnyRedis } from '../../redis/suite.js';

describeRedis(
  'the newest jobs in Redis',
  () => {
    const redis = useAnyRedis();

    it('are 1000, however many there were, and expire', async () => {
      const client = redis.client();
      const prefix = `jobs-${randomUUID()}:`;
      const newest = new NewestJobs(client, prefix);
      for (let i = 0; i < 1100; i++) newest.add(`job-${i}`, 60_000);
      await expect.poll(async () => (await newest.list(1))[0]).toBe('job-1099');
      expect(await client.call('ZCARD', `${prefix}{newest}`)).toBe(1000);
      expect((await newest.list(5000)).length).toBe(1000);
      expect((await newest.list(3)).slice(0, 3)).toEqual(['job-1099', 'job-1098', 'job-1097']);
      expect(Number(await client.call('PTTL', `${prefix}{newest}`))).toBeGreaterThan(60_000);
      client.disconnect();
    });
  },
  { anyServer: true },
);
