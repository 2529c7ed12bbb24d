import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Redis as Redis6 } from 'ioredis6';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import type { IdempotencyStore } from '../../../src/jobs/idempotency/idempotency-store.js';
import { memoryIdempotencyStore } from '../../../src/jobs/idempotency/memory-idempotency-store.js';
import { type RedisIdempotencyStoreOptions, redisIdempotencyStore } from '../../../src/redis.js';
import { idempotencyStoreContract } from '../../contracts/idempotency-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis, useCluster, useRedis } from '../../redis/suite.js';

const RUNS = process.env.PROPERTY_RUNS === undefined ? 40 : 1000;

const freshPrefix = prefixesOf('idempotency');

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();

    idempotencyStoreContract('redisIdempotencyStore', () => {
      const prefix = freshPrefix();
      const open = () => redisIdempotencyStore({ client: target.client(), prefix });
      return { stores: [open(), open()], pass: (ms) => sleep(ms + 5) };
    });

    idempotencyStoreContract('redisIdempotencyStore on ioredis 6', () => {
      const client = new Redis6(target.url);
      const store = redisIdempotencyStore({ client, prefix: freshPrefix() });
      return { stores: [store], pass: (ms) => sleep(ms + 5), close: () => client.disconnect() };
    });

    it('decides as the store in memory does, whatever is asked in whatever order', async () => {
      const client = target.client();
      const verb = fc.constantFrom('begin', 'finish', 'renew', 'release');
      const step = fc.tuple(verb, fc.constantFrom('a', 'b'), fc.constantFrom('1', '2', '3'), fc.constantFrom('f', 'g'));
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
          const stores = [redisIdempotencyStore({ client, prefix: freshPrefix() }), memoryIdempotencyStore()];
          const ask = (store: IdempotencyStore, [verb, key, holder, fingerprint]: (typeof steps)[number]) => {
            const answer = { status: 200, headers: [['x-holder', holder]] as const, body: Buffer.from(holder) };
            if (verb === 'begin') return store.begin(key, fingerprint, holder, 60_000);
            if (verb === 'finish') return store.finish(key, fingerprint, holder, answer, 60_000);
            return verb === 'renew' ? store.renew(key, holder, 60_000) : store.release(key, holder);
          };
          const [inRedis, inMemory] = stores.map((store) => steps.map((one) => () => ask(store, one)));
          for (const [i, one] of steps.entries()) {
            const [got, expected] = [await inRedis?.[i]?.(), await inMemory?.[i]?.()];
            expect(got, String(one)).toEqual(expected);
          }
        }),
        { numRuns: RUNS },
      );
    });

    it('lets Redis expire each key, so that nothing is left', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      const store = redisIdempotencyStore({ client, prefix });
      await store.begin('a', 'f', '1', 30_000);
      expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(20_000);
      expect(await client.pttl(`${prefix}a`)).toBeLessThanOrEqual(30_000);
      await store.finish('a', 'f', '1', { status: 200, headers: [], body: new Uint8Array() }, 90_000);
      expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(80_000);
    });
  },
  { anyServer: true },
);

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();

  idempotencyStoreContract('redisIdempotencyStore', () => {
    const prefix = freshPrefix();
    const open = () => redisIdempotencyStore({ client: cluster.client(), prefix });
    return { stores: [open(), open()], pass: (ms) => sleep(ms + 5) };
  });
});

describeRedis('a Redis server in trouble', () => {
  const server = useRedis();

  it('that has no memory left is reported as full', async () => {
    const store = redisIdempotencyStore({ client: server.client(), prefix: freshPrefix() });
    expect(await store.begin('a', 'f', '1', 30_000)).toEqual({ kind: 'new' });
    await server.cli('CONFIG', 'SET', 'maxmemory', '1');
    expect(await store.begin('b', 'f', '1', 30_000)).toEqual({ kind: 'full' });
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    expect(await store.begin('b', 'f', '1', 30_000)).toEqual({ kind: 'new' });
  });
});

describe('redisIdempotencyStore', () => {
  const client = { evalsha: async () => 'x', eval: async () => 'x', info: async () => '' };

  it.each([['x'], [null], [[]], [['new ', 'f']], [['answered', 'f']], [['running']]])(
    'throws if Redis answers %j',
    async (reply) => {
      const store = redisIdempotencyStore({ client: { ...client, evalsha: async () => reply } });
      await expect(async () => store.begin('a', 'f', '1', 1)).rejects.toThrow(
        'an answer that its script does not give',
      );
    },
  );

  it.each([
    ['a missing client', { client: undefined }, '"client"'],
    ['a URL instead of a client', { client: 'redis://:p4ssw0rd@host' }, '"client"'],
    ['a prefix that is not a string', { prefix: 1 }, '"prefix"'],
    ['a misspelt option', { prefixx: '' }, '"prefixx"'],
  ])('refuses %s, and shows no password', (_what, options, named) => {
    const make = () => redisIdempotencyStore({ client, ...options } as RedisIdempotencyStoreOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    expect(make).not.toThrow('p4ssw0rd');
  });
});
