import { type Cluster as Cluster6, Redis as Redis6 } from 'ioredis6';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Exchange } from '../../../src/core/exchange.js';
import { OptionError } from '../../../src/core/option.js';
import { limit } from '../../../src/limit/limit.js';
import { dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import type { RedisClient } from '../../../src/limit/redis/client.js';
import { type RedisStoreEvent, type RedisStoreOptions, redisStore } from '../../../src/limit/redis/redis-store.js';
import { type Decision, StoreError } from '../../../src/limit/store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { type RedisServer, startRedis } from '../../redis/server.js';

const POLICIES = [slidingWindow({ limit: 60, window: '1m' }), dailyQuota({ limit: 1000 })];
const KEYS = ['key', 'key'];

/** A decision's kind, or the code of the failure. */
function outcomeOf(asked: Promise<Decision>): Promise<string> {
  return asked.then(
    ({ kind }) => kind,
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  );
}

describeRedis('redisStore', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'noeviction'] });
  });
  afterAll(() => server.stop());

  describe('fails, naming the key, and decides nothing', () => {
    it.each(['refuse', 'admit', 'local'] as const)('where a key holds another type (%s)', async (onStoreFailure) => {
      const store = redisStore({ client: server.client(), prefix: `typed-${onStoreFailure}:`, onStoreFailure });
      await server.cli('RPUSH', `typed-${onStoreFailure}:key`, 'x');
      for (const asked of [store.admit(POLICIES, KEYS, 1), store.peek(POLICIES, KEYS), store.reset(POLICIES, KEYS)]) {
        const error = await asked.catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(StoreError);
        expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
        expect(String(error)).toContain(`typed-${onStoreFailure}:key`);
      }
      expect(await server.cli('LRANGE', `typed-${onStoreFailure}:key`, '0', '-1')).toBe('x');
      store.close();
    });

    it.each(['refuse', 'admit', 'local'] as const)('where the script itself fails (%s)', async (onStoreFailure) => {
      const client = server.client();
      const store = redisStore({ client, prefix: `script-${onStoreFailure}:`, onStoreFailure });
      await store.admit(POLICIES, KEYS, 1);
      // Where the script looks for the reply to an earlier call it finds what it cannot read.
      const [marker = ''] = await client.keys(`script-${onStoreFailure}:{}:*`);
      for (let i = 0; i < 256; i++) await client.set(marker.replace(/r\d+$/, `r${i}`), '\xc1');
      const error = await store.admit(POLICIES, KEYS, 1).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      expect(String(error)).toContain(`script-${onStoreFailure}:key`);
      store.close();
    });

    it('where a charge is to be corrected, by an event', async () => {
      const events: RedisStoreEvent[] = [];
      const store = redisStore({ client: server.client(), prefix: 'correct:', onEvent: (event) => events.push(event) });
      const decision = await store.admit(POLICIES, KEYS, 1);
      if (decision.kind !== 'admitted') throw new Error('refused');
      await server.cli('SET', 'correct:key', 'something else');
      await store.settle(decision.receipt, 0);
      expect(events).toMatchObject([{ kind: 'correction-lost', error: { code: 'GATEWARDEN_STORE_DATA' } }]);
      expect(String((events[0] as { error: unknown }).error)).toContain('correct:key');
      expect(await server.cli('GET', 'correct:key')).toBe('something else');
      store.close();
    });

    it('where a charge is to be corrected over a client in subscriber mode, by an event and at once', async () => {
      const events: RedisStoreEvent[] = [];
      const client = server.client();
      const store = redisStore({ client, prefix: 'listening:', onEvent: (event) => events.push(event) });
      const decision = await store.admit(POLICIES, KEYS, 1);
      if (decision.kind !== 'admitted') throw new Error('refused');
      await client.subscribe('channel');
      await store.settle(decision.receipt, 0);
      expect(events).toMatchObject([{ kind: 'correction-lost', error: { code: 'GATEWARDEN_STORE_DATA' } }]);
      store.close();
    });

    it('where a value is of a foreign version, is garbage, or is cut short', async () => {
      const client = server.client();
      const store = redisStore({ client, prefix: 'bytes:', refusalCache: false });
      for (let i = 0; i < 3; i++) await store.admit(POLICIES, KEYS, 1);
      const value = await client.getBuffer('bytes:key');
      if (value === null) throw new Error('no value');
      const foreign = [Buffer.from([1, ...value.subarray(1)]), Buffer.from('garbage'), Buffer.alloc(0)];
      // Where it is cut between two counters, what is left is a whole value of fewer counters: that is not seen.
      const window = 1 + 12 + value.readUInt16BE(11) * 5;
      const short = Array.from({ length: value.length - 2 }, (_, i) => value.subarray(0, i + 2));
      for (const bytes of [...foreign, ...short.filter(({ length }) => length !== window)]) {
        await client.set('bytes:key', bytes);
        const error = await store.admit(POLICIES, KEYS, 1).catch((reason: unknown) => reason);
        expect(error, bytes.toString('hex')).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
        expect(await client.getBuffer('bytes:key')).toEqual(bytes);
      }
      store.close();
    });

    it('where the client is in subscriber mode', async () => {
      const client = server.client();
      await client.subscribe('channel');
      const store = redisStore({ client, prefix: 'subscriber:', onStoreFailure: 'admit' });
      await expect(store.admit(POLICIES, KEYS, 1)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      await expect(store.admit(POLICIES, KEYS, 1)).rejects.toThrow('subscriber:key');
      store.close();
    });
  });

  describe.each<[string, () => Promise<unknown>, () => Promise<unknown>]>([
    [
      'has no memory',
      () => server.cli('CONFIG', 'SET', 'maxmemory', '1'),
      () => server.cli('CONFIG', 'SET', 'maxmemory', '100mb'),
    ],
    // Port 1: nobody's master.
    ['is a replica', () => server.cli('REPLICAOF', '127.0.0.1', '1'), () => server.cli('REPLICAOF', 'NO', 'ONE')],
    [
      'lets nobody run scripts',
      () => server.cli('ACL', 'SETUSER', 'default', '-evalsha', '-eval'),
      () => server.cli('ACL', 'SETUSER', 'default', '+evalsha', '+eval'),
    ],
    [
      'is busy with a script of another',
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
  ])('takes a server for an outage that %s', (what, hinder, lift) => {
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
        for (let i = 0; i < 3; i++) outcomes.push(await outcomeOf(store.admit(policies, KEYS, 1)));
      } finally {
        store.close();
        await lift();
      }
      expect(outcomes).toEqual(expected);
      expect(await server.cli('EXISTS', `${prefix}key`)).toBe('0');
    });
  });

  it.each(['GET', 'SET', 'TIME'])('charges nothing where the script may not use %s', async (command) => {
    const store = redisStore({ client: server.client(), prefix: `no-${command}:` });
    await server.cli('ACL', 'SETUSER', 'default', `-${command.toLowerCase()}`);
    let outcome: unknown;
    try {
      outcome = await store.admit(POLICIES, KEYS, 1).catch((error: unknown) => error);
    } finally {
      store.close();
      await server.cli('ACL', 'SETUSER', 'default', `+${command.toLowerCase()}`);
    }
    // Some servers word it as a failure of the script, others as want of permission.
    expect(outcome).toBeInstanceOf(StoreError);
    expect(String(outcome)).toMatch(new RegExp(`no-${command}:key|NOPERM`));
    expect(await server.cli('EXISTS', `no-${command}:key`)).toBe('0');
  });

  it('warns once where the server may evict counters, and not where it does not', async () => {
    const events: RedisStoreEvent[] = [];
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    try {
      const calm = redisStore({ client: server.client(), prefix: 'calm:', onEvent: (event) => events.push(event) });
      await calm.admit(POLICIES, KEYS, 1);
      await calm.admit(POLICIES, KEYS, 1);
      expect(events).toEqual([]);
      await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      const store = redisStore({ client: server.client(), prefix: 'risky:', onEvent: (event) => events.push(event) });
      for (let i = 0; i < 3; i++) await store.admit(POLICIES, KEYS, 1);
      await until('it has warned', () => warnings.length > 0);
      expect(events).toEqual([{ kind: 'eviction-risk', maxmemoryPolicy: 'allkeys-lru' }]);
      expect(warnings.map(({ message }) => message)).toEqual([
        'redisStore: maxmemory-policy allkeys-lru may evict quota counters; set it to noeviction',
      ]);
      calm.close();
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

    it('is a 503 and a reported fault where a key is spoilt', async () => {
      await server.cli('RPUSH', 'spoilt:key', 'x');
      const { reply, faults } = await ask({ prefix: 'spoilt:', onStoreFailure: 'admit' });
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

      it('admits without headers that nobody knows', async () => {
        const { reply, headers } = await ask({ onStoreFailure: 'admit' });
        expect([reply, headers.size]).toEqual([undefined, 0]);
      });

      it('admits a share, and says so', async () => {
        const { reply, headers } = await ask({ onStoreFailure: 'local', instances: 2 });
        expect(reply).toBeUndefined();
        expect(headers.get('RateLimit')).toMatch(/^"60s";r=1;t=60$/);
      });
    });
  });

  describe('with ioredis 6', () => {
    let runs = 0;
    const clients: Redis6[] = [];
    afterAll(() => {
      for (const client of clients) client.disconnect();
    });
    limitStoreContract('redisStore', () => {
      const clock = new ManualClock(0);
      const client = new Redis6(server.url);
      clients.push(client);
      const store = redisStore({ client, now: clock.now, prefix: `six-${runs++}:` });
      return { store, clock, close: () => store.close() };
    });

    it('takes its Cluster by type, too', () => {
      const make = (client: Cluster6): RedisClient => client;
      expect(make).toBeTypeOf('function');
    });
  });

  describe('refuses the options', () => {
    it.each([
      [{ client: 'redis://:password@host' }, 'gatewarden: redisStore "client" must be an ioredis client'],
      [{ prefix: 'a{b}' }, 'gatewarden: redisStore "prefix" must be a string without braces, got \'a{b}\''],
      [{ timeout: 0 }, 'gatewarden: redisStore "timeout" must be a positive duration'],
      [{ timeout: '2m' }, 'gatewarden: redisStore "timeout" must be at most 60000 ms'],
      [{ onStoreFailure: 'open' }, 'gatewarden: redisStore "onStoreFailure" must be one of refuse, admit, local'],
      [{ instances: 0 }, 'gatewarden: redisStore "instances" must be a positive integer, got 0'],
      [{ refusalCache: true }, 'gatewarden: redisStore "refusalCache" must be a positive duration'],
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
