import { Redis as Redis6 } from 'ioredis6';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { type RedisJobStoreOptions, redisJobStore } from '../../../src/redis.js';
import { jobStoreContract } from '../../contracts/jobs.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { prefixesOf, useAnyRedis, useCluster, useRedis } from '../../redis/suite.js';

const freshPrefix = prefixesOf('jobs');
const job = (id: string, parts = {}) => ({
  id,
  owner: 'principal:alice',
  holder: 'h1',
  lease: 30_000,
  ttl: 60_000,
  task: undefined,
  ...parts,
});
const TASK = { name: 'mesh', payload: '{}' };

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();

    jobStoreContract('redisJobStore', () => {
      const clock = new ManualClock(0);
      const store = redisJobStore({ client: target.client(), prefix: freshPrefix(), now: clock.now, timeout: '10s' });
      return { store, clock };
    });

    it('decides by the clock of the server, and lets Redis expire each key after its job', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      const store = redisJobStore({ client, prefix });
      const created = await store.create(job('a'));
      const [seconds] = await client.time();
      if (created.kind !== 'created') throw new Error(created.kind);
      expect(Math.abs(created.record.createdAt - Number(seconds) * 1000)).toBeLessThan(5000);
      const left = async () => (await client.pttl(`${prefix}a`)) / 1000;
      // The lease, the ttl that a lost job has after it, and a minute.
      expect(await left()).toBeGreaterThan(140);
      expect(await left()).toBeLessThanOrEqual(150);
      await store.change('a', 'h1', { kind: 'end', state: 'cancelled' });
      expect(await left()).toBeGreaterThan(110);
      expect(await left()).toBeLessThanOrEqual(120);
    });

    it('reports a job of a dead process as lost to any other one, by the clock of the server', async () => {
      const prefix = freshPrefix();
      const store = redisJobStore({ client: target.client(), prefix });
      const other = redisJobStore({ client: target.client(), prefix });
      await store.create(job('a', { lease: 100 }));
      await store.change('a', 'h1', { kind: 'start' });
      expect(await other.read('a')).toMatchObject({ state: 'running' });
      await until('the lease has ended', async () => (await other.read('a'))?.state === 'failed');
      expect(await other.read('a')).toMatchObject({ problem: { code: 'job-lost' } });
      expect(await store.change('a', 'h1', { kind: 'end', state: 'cancelled' })).toBeUndefined();
    });

    it('answers a command that the client sends twice as it did the first time', async () => {
      const client = target.client();
      const twice = {
        ...Object.fromEntries(
          ['incr', 'zadd', 'zrem', 'info'].map((name) => [name, Reflect.get(client, name).bind(client)]),
        ),
        eval: client.eval.bind(client),
        async evalsha(...args: [string, number, ...string[]]) {
          await client.evalsha(...args);
          return client.evalsha(...args);
        },
      };
      const store = redisJobStore({ client: twice as never, prefix: freshPrefix() });
      expect(await store.create(job('a', { task: TASK, lease: 1 }))).toMatchObject({ kind: 'created' });
      await until('the lease has ended', async () => (await store.adopt(['mesh'], 'h2', 30_000)) !== undefined);
      expect(await store.change('a', 'h2', { kind: 'start' })).toMatchObject({ state: 'running', version: 2 });
      const progress = { kind: 'progress', progress: { fraction: 0.5 } } as const;
      expect(await store.change('a', 'h2', progress)).toMatchObject({ version: 3 });
      expect(await store.cancel('a')).toMatchObject({ cancelRequested: true, version: 4 });
      const end = { kind: 'end', state: 'succeeded', result: '1', files: [] } as const;
      expect(await store.change('a', 'h2', end)).toMatchObject({ state: 'succeeded', version: 5 });
    });

    it('leaves nothing in the index of tasks for tasks that have started, ended or gone', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      const store = redisJobStore({ client, prefix });
      for (const id of ['a', 'b', 'c', 'd'])
        await store.create(job(id, { task: TASK, lease: id === 'd' ? 1 : 30_000 }));
      await store.change('a', 'h1', { kind: 'start' });
      await store.change('b', 'h1', { kind: 'end', state: 'cancelled' });
      await store.cancel('c');
      await client.del(`${prefix}d`);
      await until('only the forgotten one is left', async () => (await client.zcard(`${prefix}{tasks}:mesh`)) === 1);
      await until('its lease has ended', async () => {
        expect(await store.adopt(['mesh'], 'h2', 1000)).toBeUndefined();
        return (await client.exists(`${prefix}{tasks}:mesh`)) === 0;
      });
    });

    it.each([
      ['a subscriber', true],
      ['polling', false],
    ])('tells a process of the changes that another one makes, by %s', async (_how, subscribes) => {
      const prefix = freshPrefix();
      const store = redisJobStore({ client: target.client(), prefix });
      const subscriber = target.client();
      const other = redisJobStore({
        client: target.client(),
        prefix,
        ...(subscribes ? { subscriber, pollInterval: '1h' } : { pollInterval: '10ms' }),
      });
      await store.create(job('a'));
      let called = 0;
      const stop = other.watch('a', () => {
        called++;
      });
      if (subscribes)
        await until('it has subscribed', async () => (await target.cli('PUBSUB', 'CHANNELS', `${prefix}a`)) !== '');
      for (const change of [
        () => store.change('a', 'h1', { kind: 'start' }),
        () => store.cancel('a'),
        () => store.change('a', 'h1', { kind: 'end', state: 'cancelled' }),
      ]) {
        const before = called;
        await change();
        await until('the other process was told', () => called > before);
      }
      stop();
      if (subscribes)
        await until('it has unsubscribed', async () => (await target.cli('PUBSUB', 'CHANNELS', `${prefix}a`)) === '');
    });

    it('calls all who follow a job in the same process at once, and none who has stopped', async () => {
      const store = redisJobStore({ client: target.client(), prefix: freshPrefix(), pollInterval: '1h' });
      await store.create(job('a'));
      const called: string[] = [];
      const stops = ['one', 'two'].map((name) => store.watch('a', () => called.push(name)));
      await store.change('a', 'h1', { kind: 'start' });
      expect(called).toEqual(['one', 'two']);
      stops[0]?.();
      stops[0]?.();
      await store.cancel('a');
      expect(called).toEqual(['one', 'two', 'two']);
    });

    it('works with ioredis 6', async () => {
      const client = new Redis6(target.url);
      const store = redisJobStore({ client, prefix: freshPrefix() });
      try {
        expect(await store.create(job('a', { task: TASK }))).toMatchObject({ kind: 'created' });
        expect(await store.change('a', 'h1', { kind: 'start' })).toMatchObject({ state: 'running' });
      } finally {
        client.disconnect();
      }
    });
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();

  jobStoreContract('redisJobStore', () => {
    const clock = new ManualClock(0);
    const store = redisJobStore({ client: cluster.client(), prefix: freshPrefix(), now: clock.now, timeout: '10s' });
    return { store, clock };
  });
});

describeRedis('a Redis server in trouble', () => {
  const server = useRedis();

  it('that has no memory left is reported as full', async () => {
    const store = redisJobStore({ client: server.client(), prefix: freshPrefix() });
    await store.create(job('a'));
    await server.cli('CONFIG', 'SET', 'maxmemory', '1');
    expect(await store.create(job('b'))).toEqual({ kind: 'full' });
    expect(await store.create(job('c', { task: TASK }))).toEqual({ kind: 'full' });
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    expect(await store.create(job('b'))).toMatchObject({ kind: 'created' });
  });

  it('that stops is given up at the timeout', async () => {
    const client = server.client();
    await client.ping();
    const store = redisJobStore({ client, prefix: freshPrefix(), timeout: '50ms' });
    server.pause();
    try {
      await expect(store.read('a')).rejects.toThrow('Redis did not answer within 50 ms');
      await expect(store.create(job('a'))).rejects.toThrow('Redis did not answer within 50 ms');
    } finally {
      server.resume();
    }
  });
});

describe('redisJobStore', () => {
  const command = async () => 'x';
  const client = {
    evalsha: command,
    eval: command,
    info: command,
    incr: command,
    zadd: command,
    zrem: command,
  } as never;

  it.each([['x'], [[]], [['s', 'sleeping', 'o', 'me']], [[1]]])('throws if Redis answers %j', async (reply) => {
    const strange = { ...(client as object), evalsha: async () => reply } as never;
    await expect(redisJobStore({ client: strange }).read('a')).rejects.toThrow('that is no job');
  });

  it.each([
    ['a missing client', { client: undefined }, '"client"'],
    ['a URL instead of a client', { client: 'redis://:p4ssw0rd@host' }, '"client"'],
    ['a URL as a subscriber', { subscriber: 'redis://:p4ssw0rd@host' }, '"subscriber"'],
    ['a prefix that is not a string', { prefix: 1 }, '"prefix"'],
    ['a poll of a millisecond', { pollInterval: '1ms' }, '"pollInterval"'],
    ['a timeout of an hour', { timeout: '1h' }, '"timeout"'],
    ['a clock that is not a function', { now: 1 }, '"now"'],
    ['a misspelt option', { timeOut: '1s' }, '"timeOut"'],
  ])('refuses %s, and shows no password', (_what, options, named) => {
    const make = () => redisJobStore({ client, ...options } as RedisJobStoreOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    expect(make).not.toThrow('p4ssw0rd');
  });
});
