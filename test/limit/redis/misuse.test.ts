import { type Cluster as Cluster6, Redis as Redis6 } from 'ioredis6';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Exchange } from '../../../src/core/exchange.js';
import { OptionError } from '../../../src/core/option.js';
import { limit } from '../../../src/limit/limit.js';
import { dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import type { RedisClient } from '../../../src/limit/redis/client.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { type Decision, StoreError } from '../../../src/limit/store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { useRedis } from '../../redis/suite.js';

const POLICIES = [slidingWindow({ limit: 60, window: '1m' }), dailyQuota({ limit: 1000 })];
const KEYS = ['key', 'key'];

/** A decision's kind, or the code of the failure. */
function outcomeOf(decision: Promise<Decision>): Promise<string> {
  return decision.then(
    ({ kind }) => kind,
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );
}

describeRedis('redisStore', () => {
  const server = useRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'noeviction'] });

  describe('fails, names the key, and decides nothing', () => {
    it.each(['refuse', 'admit', 'local'] as const)('if a key holds another type (%s)', async (onStoreFailure) => {
      const store = redisStore({ client: server.client(), prefix: `typed-${onStoreFailure}:`, onStoreFailure });
      await server.cli('RPUSH', `typed-${onStoreFailure}:key`, 'x');
      const calls = [store.admit(POLICIES, KEYS, [1, 1]), store.peek(POLICIES, KEYS), store.reset(POLICIES, KEYS)];
      for (const call of calls) {
        const error = await call.catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(StoreError);
        expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
        expect(String(error)).toContain(`typed-${onStoreFailure}:key`);
      }
      expect(await server.cli('LRANGE', `typed-${onStoreFailure}:key`, '0', '-1')).toBe('x');
      store.close();
    });

    it.each(['refuse', 'admit', 'local'] as const)('if the script itself fails (%s)', async (onStoreFailure) => {
      const client = server.client();
      const store = redisStore({ client, prefix: `script-${onStoreFailure}:`, onStoreFailure });
      await store.admit(POLICIES, KEYS, [1, 1]);
      // The script looks for the reply to an earlier call, and finds a value that it cannot read.
      const [marker = ''] = await client.keys(`script-${onStoreFailure}:{}:*`);
      for (let i = 0; i < 256; i++) await client.set(marker.replace(/r\d+$/, `r${i}`), '\xc1');
      const error = await store.admit(POLICIES, KEYS, [1, 1]).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      expect(String(error)).toContain(`script-${onStoreFailure}:key`);
      store.close();
    });

    it('if a charge is to be corrected, with an event', async () => {
      const events: RedisStoreEvent[] = [];
      const store = redisStore({ client: server.client(), prefix: 'correct:', onEvent: (event) => events.push(event) });
      const decision = await store.admit(POLICIES, KEYS, [1, 1]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      await server.cli('SET', 'correct:key', 'something else');
      await store.settle(decision.receipt, [0, 0]);
      expect(events).toMatchObject([{ kind: 'correction-lost', error: { code: 'GATEWARDEN_STORE_DATA' } }]);
      expect(String((events[0] as { error: unknown }).error)).toContain('correct:key');
      expect(await server.cli('GET', 'correct:key')).toBe('something else');
      store.close();
    });

    it('if a charge is to be corrected over a client in subscriber mode, with an event and at once', async () => {
      const events: RedisStoreEvent[] = [];
      const client = server.client();
      const store = redisStore({ client, prefix: 'listening:', onEvent: (event) => events.push(event) });
      const decision = await store.admit(POLICIES, KEYS, [1, 1]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      await client.subscribe('channel');
      await store.settle(decision.receipt, [0, 0]);
      expect(events).toMatchObject([{ kind: 'correction-lost', error: { code: 'GATEWARDEN_STORE_DATA' } }]);
      store.close();
    });

    it('if a value has another version, is garbage, or is truncated', async () => {
      const client = server.client();
      const store = redisStore({ client, prefix: 'bytes:', refusalCache: false });
      for (let i = 0; i < 3; i++) await store.admit(POLICIES, KEYS, [1, 1]);
      const value = await client.getBuffer('bytes:key');
      if (value === null) throw new Error('no value');
      const notOurs = [Buffer.from([1, ...value.subarray(1)]), Buffer.from('garbage'), Buffer.alloc(0)];
      const truncated = Array.from({ length: value.length - 1 }, (_, i) => value.subarray(0, i + 1));
      for (const bytes of [...notOurs, ...truncated]) {
        await client.set('bytes:key', bytes);
        const error = await store.admit(POLICIES, KEYS, [1, 1]).catch((reason: unknown) => reason);
        expect(error, bytes.toString('hex')).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
        expect(await client.getBuffer('bytes:key')).toEqual(bytes);
      }
      store.close();
    });

    it('if the client is in subscriber mode', async () => {
      const client = server.client();
      await client.subscribe('channel');
      const store = redisStore({ client, prefix: 'subscriber:', onStoreFailure: 'admit' });
      await expect(store.admit(POLICIES, KEYS, [1, 1])).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      await expect(store.admit(POLICIES, KEYS, [1, 1])).rejects.toThrow('subscriber:key');
      store.close();
    });
  });

  describe.each<[string, () => Promise<unknown>, () => Promise<unknown>]>([
    [
      'has no memory',
      () => server.cli('CONFIG', 'SET', 'maxmemory', '1'),
      () => server.cli('CONFIG', 'SET', 'maxmemory', '100mb'),
    ],
    // Nothing listens on port 1.
    ['is a replica', () => server.cli('REPLICAOF', '127.0.0.1', '1'), () => server.cli('REPLICAOF', 'NO', 'ONE')],
    [
      'forbids scripts',
      () => server.cli('ACL', 'SETUSER', 'default', '-evalsha', '-eval'),
      () => server.cli('ACL', 'SETUSER', 'default', '+evalsha', '+eval'),
    ],
    [
      'is busy with the script of another client',
      async () => {
        await server.cli('CONFIG', 'SET', 'lua-time-limit', '20');
        const endless = server.client().eval('while true do end', 0);
        endless.catch(() => undefined);
        await until('it says so', () =>
          server.cli('PING').then(
            () => false,
            (error: unknown) => String(error).includes('BUSY'),
          ),
        );
      },
      async () => {
        await server.cli('SCRIPT', 'KILL');
        await until('it has stopped', () =>
          server.cli('PING').then(
            () => true,
            () => false,
          ),
        );
      },
    ],
  ])('treats a server as away that %s', (what, hinder, unhinder) => {
    it.each([
      ['refuse', Array.from({ length: 3 }, () => 'GATEWARDEN_STORE_UNAVAILABLE')],
      ['admit', ['admitted', 'admitted', 'admitted']],
      // Two instances share a limit of four.
      ['local', ['admitted', 'admitted', 'refused']],
    ] as const)('(%s)', async (onStoreFailure, expected) => {
      const prefix = `${what}-${onStoreFailure}:`;
      const store = redisStore({ client: server.client(), prefix, onStoreFailure, instances: 2 });
      const policies = [slidingWindow({ limit: 4, window: '1m' }), dailyQuota({ limit: 1000 })];
      await store.peek(policies, KEYS);
      await hinder();
      const outcomes: string[] = [];
      try {
        for (let i = 0; i < 3; i++)
          outcomes.push(
            await outcomeOf(
              store.admit(
                policies,
                KEYS,
                policies.map(() => 1),
              ),
            ),
          );
      } finally {
        store.close();
        await unhinder();
      }
      expect(outcomes).toEqual(expected);
      expect(await server.cli('EXISTS', `${prefix}key`)).toBe('0');
    });
  });

  it.each(['GET', 'SET', 'TIME'])('charges nothing if the script may not use %s', async (command) => {
    const store = redisStore({ client: server.client(), prefix: `no-${command}:` });
    await server.cli('ACL', 'SETUSER', 'default', `-${command.toLowerCase()}`);
    let outcome: unknown;
    try {
      outcome = await store.admit(POLICIES, KEYS, [1, 1]).catch((error: unknown) => error);
    } finally {
      store.close();
      await server.cli('ACL', 'SETUSER', 'default', `+${command.toLowerCase()}`);
    }
    // Some servers report a failure of the script, others a missing permission.
    expect(outcome).toBeInstanceOf(StoreError);
    expect(String(outcome)).toMatch(new RegExp(`no-${command}:key|NOPERM`));
    expect(await server.cli('EXISTS', `no-${command}:key`)).toBe('0');
  });

  it('warns once if the server may evict counters, and never if it may not', async () => {
    const events: RedisStoreEvent[] = [];
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    try {
      const safe = redisStore({ client: server.client(), prefix: 'safe:', onEvent: (event) => events.push(event) });
      await safe.admit(POLICIES, KEYS, [1, 1]);
      await safe.admit(POLICIES, KEYS, [1, 1]);
      expect(events).toEqual([]);
      await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      const store = redisStore({ client: server.client(), prefix: 'risky:', onEvent: (event) => events.push(event) });
      for (let i = 0; i < 3; i++) await store.admit(POLICIES, KEYS, [1, 1]);
      await until('it warns', () => warnings.length > 0);
      expect(events).toEqual([{ kind: 'eviction-risk', maxmemoryPolicy: 'allkeys-lru' }]);
      expect(warnings.map(({ message }) => message)).toEqual([
        'redisStore: maxmemory-policy allkeys-lru may evict quota counters; set it to noeviction',
      ]);
      safe.close();
      store.close();
    } finally {
      process.off('warning', onWarning);
      await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    }
  });

  describe('behind limit', () => {
    async function ask(options: Partial<RedisStoreOptions>) {
      const client = server.client({ retryStrategy: () => 100, maxRetriesPerRequest: 0 });
      const store = redisStore({ client, refusalCache: false, ...options });
      const guard = limit({ store, by: () => 'key', policies: [slidingWindow({ limit: 4, window: '1m' })] });
      const headers = new Map<string, string>();
      const faults: unknown[] = [];
      const request = {
        method: 'GET',
        url: '/',
        remoteAddress: '127.0.0.1',
        encrypted: false,
        fieldLines: () => [],
      };
      const exchange = new Exchange(request, {
        get: (name) => headers.get(name),
        set: (name, value) => void headers.set(name, value),
        remove: (name) => void headers.delete(name),
        onHead: () => undefined,
      });
      exchange.faultReporter = (error) => faults.push(error);
      const reply = await guard(exchange);
      store.close();
      return { reply, headers, faults };
    }

    it('answers 503 and reports a fault if a key holds another type', async () => {
      await server.cli('RPUSH', 'typed:key', 'x');
      const { reply, faults } = await ask({ prefix: 'typed:', onStoreFailure: 'admit' });
      expect(reply).toMatchObject({ status: 503, problem: { code: 'store-unavailable' } });
      expect(faults).toMatchObject([{ code: 'GATEWARDEN_STORE_DATA' }]);
    });

    describe('while the server is stopped', () => {
      beforeAll(() => server.pause());
      afterAll(() => server.resume());

      it('refuses with 503 and Retry-After, and reports no fault', async () => {
        const { reply, faults } = await ask({ onStoreFailure: 'refuse' });
        expect(reply).toMatchObject({ status: 503, problem: { code: 'store-unavailable' } });
        expect(reply?.headers.map(([name]) => name)).toEqual(['Retry-After']);
        expect(faults).toEqual([]);
      });

      it('admits, without headers whose values are unknown', async () => {
        const { reply, headers } = await ask({ onStoreFailure: 'admit' });
        expect([reply, headers.size]).toEqual([undefined, 0]);
      });

      it('admits its share, and says so in the headers', async () => {
        const { reply, headers } = await ask({ onStoreFailure: 'local', instances: 2 });
        expect(reply).toBeUndefined();
        expect(headers.get('RateLimit')).toMatch(/^"60s";r=1;t=60$/);
      });
    });
  });

  describe('with ioredis 6', () => {
    let runs = 0;
    let client: Redis6;
    beforeAll(() => {
      client = new Redis6(server.url);
    });
    afterAll(() => client.disconnect());

    limitStoreContract('redisStore', () => {
      const clock = new ManualClock(0);
      const store = redisStore({ client, now: clock.now, prefix: `six-${runs++}:`, timeout: '10s' });
      return { store, clock, close: () => store.close() };
    });

    it('accepts its Cluster by type, too', () => {
      const make = (client: Cluster6): RedisClient => client;
      expect(make).toBeTypeOf('function');
    });
  });

  describe('refuses the options', () => {
    it.each([
      [
        { client: 'redis://:password@host' },
        'gatewarden: redisStore "client" must be a client of ioredis (Redis, Cluster), of redis 5',
      ],
      [{ prefix: 'a{b}' }, 'gatewarden: redisStore "prefix" must be a string without braces, got \'a{b}\''],
      [{ timeout: 0 }, "gatewarden: redisStore \"timeout\" needs a unit, got 0; write '0s' or '0ms'"],
      [{ timeout: '2m' }, "gatewarden: redisStore \"timeout\" must be at most '1m', got '2m'"],
      [{ onStoreFailure: 'open' }, 'gatewarden: redisStore "onStoreFailure" must be one of refuse, admit, local'],
      [{ instances: 0 }, 'gatewarden: redisStore "instances" must be a positive integer, got 0'],
      [{ refusalCache: true }, 'gatewarden: redisStore "refusalCache" must be a length of time'],
      [{ onEvent: 1 }, 'gatewarden: redisStore "onEvent" must be a function, got 1'],
      [{ now: 1 }, 'gatewarden: redisStore "now" must be a function, got 1'],
      [{ onFailure: 'admit' }, 'gatewarden: redisStore has no option "onFailure"'],
    ])('%o', (options, message) => {
      const client = server.client({ lazyConnect: true });
      const make = () => redisStore({ client, ...options } as unknown as RedisStoreOptions);
      expect(make).toThrow(OptionError);
      expect(make).toThrow(message);
      expect(() => redisStore({ client, ...options } as unknown as RedisStoreOptions)).not.toThrow('password');
    });
  });
});
