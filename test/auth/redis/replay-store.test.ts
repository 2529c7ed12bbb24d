import { once } from 'node:events';
import { Redis as Redis6 } from 'ioredis6';
import { describe, expect, it } from 'vitest';
import { type RedisReplayStoreOptions, redisReplayStore } from '../../../src/auth/redis/replay-store.js';
import { OptionError } from '../../../src/core/option.js';
import { replayStoreContract } from '../../contracts/replay-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis, useCluster, useRedis } from '../../redis/suite.js';

const MINUTE = 60_000;
const freshPrefix = prefixesOf('replay');

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();

    replayStoreContract('redisReplayStore', () => {
      const prefix = freshPrefix();
      const now = Date.now();
      const open = () => redisReplayStore({ client: target.client(), prefix, now: () => now });
      return { store: open(), others: [open(), open(), open()], now };
    });

    replayStoreContract('redisReplayStore on ioredis 6', () => {
      const now = Date.now();
      const client = new Redis6(target.url);
      return {
        store: redisReplayStore({ client, prefix: freshPrefix(), now: () => now }),
        others: [],
        now,
        close: () => client.disconnect(),
      };
    });

    it('keeps a key for as long as asked, plus a minute for clocks that differ', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      const now = Date.now();
      const store = redisReplayStore({ client, prefix, now: () => now });
      await store.remember('a', now + 5 * MINUTE);
      const left = await client.pttl(`${prefix}a`);
      expect(left).toBeLessThanOrEqual(6 * MINUTE);
      expect(left).toBeGreaterThan(6 * MINUTE - 10_000);
    });

    it('keeps keys of two prefixes apart', async () => {
      const client = target.client();
      const until = Date.now() + MINUTE;
      const [one, other] = [freshPrefix(), freshPrefix()].map((prefix) => redisReplayStore({ client, prefix }));
      expect([await one?.remember('a', until), await other?.remember('a', until)]).toEqual(['new', 'new']);
    });
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();

  replayStoreContract('redisReplayStore', () => {
    const now = Date.now();
    const prefix = freshPrefix();
    const open = () => redisReplayStore({ client: cluster.client(), prefix, now: () => now, timeout: '5s' });
    return { store: open(), others: [open()], now };
  });
});

describeRedis('a Redis server in trouble', () => {
  const server = useRedis();

  async function connected() {
    const client = server.client();
    await client.ping();
    return client;
  }

  it('that has no memory left is reported as full, and no key as new', async () => {
    const store = redisReplayStore({ client: await connected(), prefix: freshPrefix() });
    const until = Date.now() + MINUTE;
    expect(await store.remember('a', until)).toBe('new');
    await server.cli('CONFIG', 'SET', 'maxmemory', '1');
    expect(await store.remember('b', until)).toBe('full');
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    expect([await store.remember('a', until), await store.remember('b', until)]).toEqual(['seen', 'new']);
  });

  it('that may evict keys causes one warning, and any other server none', async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on('warning', listen);
    const ask = async () => {
      const client = await connected();
      const store = redisReplayStore({ client, prefix: freshPrefix() });
      for (const key of ['a', 'b']) await store.remember(key, Date.now() + MINUTE);
      // PING is answered after INFO, on the same connection; warnings are emitted in the next turn.
      await client.ping();
      await new Promise(setImmediate);
    };
    await ask();
    expect(warnings).toEqual([]);
    await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl');
    await ask();
    expect(warnings).toEqual([]);
    await server.cli('CONFIG', 'SET', 'maxmemory', '100mb');
    await ask();
    expect(warnings).toEqual([
      'redisReplayStore: maxmemory-policy volatile-ttl may evict used nonces; set it to noeviction',
    ]);
    process.off('warning', listen);
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
  });

  it('that stops is given up at the timeout, and its late answer counts as seen', async () => {
    const client = await connected();
    const store = redisReplayStore({ client, prefix: freshPrefix(), timeout: '50ms' });
    const until = Date.now() + MINUTE;
    server.pause();
    try {
      await expect(store.remember('a', until)).rejects.toThrow('Redis did not answer within 50 ms');
      await expect(store.has('a')).rejects.toThrow('Redis did not answer within 50 ms');
    } finally {
      server.resume();
    }
    await client.ping();
    expect(await store.remember('a', until)).toBe('seen');
  });

  it('that is gone makes the store reject', async () => {
    const client = server.client({ retryStrategy: () => null, maxRetriesPerRequest: 0 });
    await client.ping();
    const store = redisReplayStore({ client, prefix: freshPrefix() });
    const closed = once(client, 'end');
    await server.kill();
    await closed;
    await expect(store.remember('a', Date.now() + MINUTE)).rejects.toThrow();
    await server.restart();
  });
});

describe('redisReplayStore', () => {
  const client = { set: async () => 'OK' as const, exists: async () => 0, info: async () => '' };

  it.each([undefined, '', 'QUEUED', true])('does not report a key as new if Redis answers %s', async (answer) => {
    const store = redisReplayStore({ client: { ...client, set: async () => answer as 'OK' } });
    expect(await store.remember('a', Date.now() + MINUTE)).toBe('seen');
  });

  it('passes on every failure but lack of memory', async () => {
    const set = async () => {
      throw new Error('ERR not an OOM of the server');
    };
    const store = redisReplayStore({ client: { ...client, set } });
    await expect(store.remember('a', Date.now() + MINUTE)).rejects.toThrow('not an OOM');
  });

  it.each([
    ['a missing client', { client: undefined }, '"client"'],
    ['a URL instead of a client', { client: 'redis://:p4ssw0rd@host' }, '"client"'],
    ['a prefix that is not a string', { prefix: 1 }, '"prefix"'],
    ['a timeout of an hour', { timeout: '1h' }, '"timeout"'],
    ['a clock that is not a function', { now: 1 }, '"now"'],
    ['a timeout without a unit', { timeout: 1 }, '"timeout" needs a unit'],
    ['a misspelt option', { timeOut: '1s' }, '"timeOut"'],
  ])('refuses %s, and shows no password', (_what, options, named) => {
    const make = () => redisReplayStore({ client, ...options } as RedisReplayStoreOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    expect(make).not.toThrow('p4ssw0rd');
  });
});
