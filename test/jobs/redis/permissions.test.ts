import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { JobStore } from '../../../src/jobs/index.js';
import { redisIdempotencyStore, redisJobStore } from '../../../src/redis.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';

const PAGE = readFileSync(new URL('../../../docs/limits-in-redis.md', import.meta.url), 'utf8');
const [basic = '', ...others] = [...PAGE.matchAll(/^ACL SETUSER gatewarden (.+)$/gm)].map(([, rules]) => rules);
const ofJobs = others.find((rules) => rules?.includes('+hset')) ?? '';
const ofListeners = others.find((rules) => rules?.includes('&gw:jobs:*')) ?? '';

describeRedis('the permissions that docs/limits-in-redis.md shows', () => {
  const server = useRedis();
  const user = { username: 'gatewarden', password: 'a-long-password' };

  const allow = async (...rules: readonly string[]) => {
    const words = rules.flatMap((line) => line.split(' '));
    expect(await server.cli('ACL', 'SETUSER', 'gatewarden', 'reset', ...words)).toBe('OK');
  };

  /** The life of a task, and of one that is adopted. */
  async function life(store: JobStore, id: string) {
    const task = { name: 'mesh', payload: '{}' };
    const job = { id, owner: 'principal:alice', holder: 'h1', lease: 30_000, ttl: 60_000, task };
    expect((await store.create(job)).kind).toBe('created');
    expect((await store.renew(id, 'h1', 1))?.state).toBe('queued');
    await expect.poll(async () => (await store.adopt?.(['mesh'], 'h2', 30_000))?.record.id).toBe(id);
    expect((await store.change(id, 'h2', { kind: 'start' }))?.state).toBe('running');
    expect((await store.cancel(id))?.cancelRequested).toBe(true);
    expect((await store.change(id, 'h2', { kind: 'end', state: 'cancelled' }))?.state).toBe('cancelled');
    expect((await store.read(id))?.state).toBe('cancelled');
  }

  it('suffice for jobs and idempotency keys', async () => {
    await allow(basic, ofJobs);
    const client = server.client(user);
    // Without the permission to publish, a change is made all the same, and found by polling.
    await life(redisJobStore({ client, timeout: '10s' }), 'a');
    const keys = redisIdempotencyStore({ client });
    const answer = { status: 200, headers: [], body: new Uint8Array([1]) };
    expect((await keys.begin('key', 'print', 'h1', 30_000)).kind).toBe('new');
    expect(await keys.renew('key', 'h1', 30_000)).toBe(true);
    await keys.finish('key', 'print', 'h1', answer as never, 60_000);
    expect((await keys.begin('key', 'print', 'h2', 30_000)).kind).toBe('answered');
    await keys.release('other', 'h1');
  });

  it('suffice for a subscriber, which hears of a change at once', async () => {
    await allow(basic, ofJobs, ofListeners);
    const client = server.client(user);
    const store = redisJobStore({ client, subscriber: server.client(user), pollInterval: '1h', timeout: '10s' });
    const job = { id: 'b', owner: 'principal:alice', holder: 'h1', lease: 30_000, ttl: 60_000, task: undefined };
    await store.create(job);
    let heard = 0;
    const unwatch = store.watch('b', () => heard++);
    await expect
      .poll(async () => {
        await store.change('b', 'h1', { kind: 'place', place: { position: 1, expectedStart: undefined } });
        return heard;
      })
      .toBeGreaterThan(0);
    unwatch();
  });
});
