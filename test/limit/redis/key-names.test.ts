import { expect, it } from 'vitest';
import { redisReplayStore } from '../../../src/auth/redis/replay-store.js';
import { redisIdempotencyStore } from '../../../src/jobs/redis/idempotency-store.js';
import { redisJobStore } from '../../../src/jobs/redis/job-store.js';
import { concurrency, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { redisOperatorStore } from '../../../src/operator/redis/operator-store.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';

const policies = [slidingWindow({ limit: 3, window: '1m' }), concurrency({ limit: 2 })];

describeRedis('a partition key that a client has chosen', () => {
  const server = useRedis();

  async function charge(...keys: readonly string[]): Promise<string[]> {
    const store = redisStore({ client: server.client() });
    const kinds: string[] = [];
    for (const key of keys) kinds.push((await store.admit(policies, [key, key], [1, 1])).kind);
    store.close();
    return kinds;
  }

  it('is never the key of another store', async () => {
    const client = server.client();
    const inUse = [
      'jobs:{tasks}',
      'jobs:{newest}',
      'jobs:a',
      'operator:measures',
      'replay:k1 nonce',
      'idempotency:once',
    ];
    // Before those stores have written anything.
    expect(await charge(...inUse)).toEqual(inUse.map(() => 'admitted'));
    const operator = redisOperatorStore({ client });
    expect(await operator.list()).toEqual([]);
    expect(await redisReplayStore({ client }).remember('k1 nonce', Date.now() + 60_000)).toBe('new');
    const jobs = redisJobStore({ client });
    const job = { owner: 'me', holder: 'h1', lease: 30_000, ttl: 60_000, task: undefined };
    for (const id of ['a', '{tasks}']) await jobs.create({ ...job, id });
    const idempotency = redisIdempotencyStore({ client });
    expect(await idempotency.begin('once', 'fingerprint', 'h1', 30_000)).toEqual({ kind: 'new' });
    // And after.
    expect(await charge(...inUse)).toEqual(inUse.map(() => 'admitted'));
  });

  it('is counted apart from all others', async () => {
    const keys = ['jobs:a', 'jobs:b', 'replay:a', 'a', 'operator:\ud800', 'operator:\ud801', '\ud800', '\ud801'];
    const store = redisStore({ client: server.client(), prefix: 'apart:' });
    const units = (i: number) => [(i % 3) + 1, 1];
    for (const [i, key] of keys.entries()) await store.admit(policies, [key, key], units(i));
    for (const [i, key] of keys.entries()) {
      expect(await store.peek(policies, [key, key]), key).toMatchObject([{ remaining: 2 - (i % 3) }, { remaining: 1 }]);
    }
    store.close();
  });
});
