import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { concurrency, dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { AheadOptions, RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { RedisProxy } from '../../redis/proxy.js';
import { startRedis } from '../../redis/server.js';
import { useRedis } from '../../redis/suite.js';

const LIMIT = 10_000;
/** 500 units at most, and one second. */
const AHEAD = { share: 0.05, maxAge: '1s' } as const;
const perMinute = [slidingWindow({ limit: LIMIT, window: '1m' })];
const perDay = [dailyQuota({ limit: LIMIT })];
/** In the middle of a tick of every window here. */
const START = Date.UTC(2026, 0, 1, 12, 0, 0, 100);

describe('the option `ahead`', () => {
  it.each<[string, unknown, string]>([
    ['a number', 0.01, 'redisStore "ahead" takes an object of options'],
    ['an unknown name', { part: 0.01 }, 'redisStore "ahead" has no option "part"'],
    ['nothing', { share: 0 }, 'redisStore "ahead" "share" must be a number above 0, at most 0.1, got 0'],
    ['too large a share', { share: 0.2 }, 'at most 0.1, got 0.2'],
    ['no number', { share: '1%' }, "got '1%'"],
    ['NaN', { share: Number.NaN }, 'got NaN'],
    ['too short a time', { maxAge: '10ms' }, `redisStore "ahead" "maxAge" must be at least '50ms', got '10ms'`],
    ['too long a time', { maxAge: '1m' }, 'redisStore "ahead" "maxAge"'],
    ['a time without a unit', { maxAge: 1000 }, 'redisStore "ahead" "maxAge"'],
  ])('is refused with %s', (_, ahead, message) => {
    const client = new Redis({ lazyConnect: true });
    const make = () => redisStore({ client, ahead: ahead as AheadOptions });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });
});

describeRedis('redisStore, which takes units of busy counters ahead', () => {
  const server = useRedis();

  let prefixes = 0;
  function scene(options: Partial<RedisStoreOptions> = {}) {
    const prefix = `ahead-${prefixes++}:`;
    const clock = new ManualClock(START);
    const stores: RedisStore[] = [];
    const open = (changes: Partial<RedisStoreOptions> = {}) => {
      const store = redisStore({
        client: server.client(),
        prefix,
        timeout: '10s',
        refusalCache: false,
        now: clock.now,
        ahead: AHEAD,
        ...options,
        ...changes,
      });
      stores.push(store);
      return store;
    };
    const observer = open({ ahead: undefined });
    onTestFinished(() => {
      for (const store of stores) store.close();
    });
    return {
      clock,
      open,
      /** What Redis has left. Units that a process has ahead are not left. */
      async remaining(policies: readonly QuotaPolicy[] = perMinute, key = 'key') {
        const [state] = await observer.peek(policies, [key]);
        return state?.remaining ?? Number.NaN;
      },
    };
  }

  /** Admits so many requests of one unit, one after another, and returns the receipts. */
  async function admit(store: RedisStore, count: number, policies: readonly QuotaPolicy[] = perMinute, key = 'key') {
    const receipts: Receipt[] = [];
    for (let i = 0; i < count; i++) {
      const decision = await store.admit(
        policies,
        policies.map(() => key),
        policies.map(() => 1),
      );
      if (decision.kind !== 'admitted') throw new Error(`refused after ${i}`);
      receipts.push(decision.receipt);
    }
    return receipts;
  }

  /** How many calls of the script `work` makes. */
  async function callsOf(work: () => Promise<unknown>): Promise<number> {
    await server.cli('CONFIG', 'RESETSTAT');
    await work();
    const stats = await server.cli('INFO', 'commandstats');
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it.each([
    ['a window', perMinute],
    ['a day', perDay],
  ] as const)('decides in memory about %s that is used often', async (_, policies) => {
    const { open, remaining } = scene();
    const store = open();
    await admit(store, 40, policies);
    const calls = await callsOf(() => admit(store, 1000, policies));
    expect(calls).toBeLessThan(100);
    store.close();
    await until('all is charged, and nothing else', async () => (await remaining(policies)) === LIMIT - 1040);
  });

  it('reports how much is left, and when more will be', async () => {
    const { open } = scene();
    const store = open();
    await admit(store, 200);
    const decision = await store.admit(perMinute, ['key'], [1]);
    const [state] = decision.states;
    expect(decision).toMatchObject({ kind: 'admitted', at: START });
    expect(state).toMatchObject({ name: perMinute[0]?.name, limit: LIMIT });
    // What was charged on the way is known with the next answer of Redis.
    expect(Math.abs((state?.remaining ?? 0) - (LIMIT - 201))).toBeLessThan(16);
    expect(state?.resetAt).toBeGreaterThan(START + 60_000);
    expect(state?.resetAt).toBeLessThan(START + 62_000);
  });

  it('asks Redis about a counter that is used rarely', async () => {
    const { open, clock } = scene();
    const store = open();
    const calls = await callsOf(async () => {
      for (let i = 0; i < 30; i++) {
        await admit(store, 1);
        clock.advance(100);
      }
    });
    expect(calls).toBe(30);
  });

  it('asks Redis if the share would be only a few units', async () => {
    const { open } = scene();
    const store = open();
    const small = [slidingWindow({ limit: 300, window: '1m' })];
    expect(await callsOf(() => admit(store, 100, small))).toBe(100);
  });

  it('asks Redis about a window that is too short to be exact', async () => {
    const { open } = scene();
    const store = open();
    const short = [slidingWindow({ limit: LIMIT, window: '400ms' })];
    expect(await callsOf(() => admit(store, 100, short))).toBe(100);
  });

  it('decides in memory about several policies if all are busy', async () => {
    const { open, remaining } = scene();
    const store = open();
    const both = [...perMinute, ...perDay];
    await admit(store, 40, both);
    expect(await callsOf(() => admit(store, 200, both))).toBeLessThan(60);
    store.close();
    await until('all is charged once', async () => (await remaining()) === LIMIT - 240);
    expect(await remaining(perDay)).toBe(LIMIT - 240);
  });

  describe('asks Redis only about the policies that are not busy,', () => {
    const own = slidingWindow({ limit: 5, window: '1m', name: 'own' });
    const mixed = [own, ...perMinute];
    const keysOf = (i: number) => [`own-${i}`, 'key'];

    it('and charges the busy one from what it has ahead', async () => {
      const { open, remaining } = scene();
      const store = open();
      await admit(store, 40);
      const before = await remaining();
      const calls = await callsOf(async () => {
        for (let i = 0; i < 20; i++) {
          const decision = await store.admit(mixed, keysOf(i), [2, 1]);
          expect(decision.states).toMatchObject([
            { name: 'own', remaining: 3 },
            { name: '60s', limit: LIMIT },
          ]);
        }
      });
      expect(calls).toBeLessThan(24);
      // What it has ahead was charged before.
      expect(before - (await remaining())).not.toBe(20);
      store.close();
      await until('all is charged once', async () => (await remaining()) === LIMIT - 60);
    });

    it('and charges all or none if they refuse', async () => {
      const { open, remaining } = scene();
      const store = open();
      await admit(store, 40);
      for (let i = 0; i < 5; i++) expect((await store.admit(mixed, keysOf(0), [1, 1])).kind).toBe('admitted');
      for (let i = 0; i < 50; i++) {
        const refused = await store.admit(mixed, keysOf(0), [1, 1]);
        expect(refused).toMatchObject({
          kind: 'refused',
          states: [{ name: 'own' }, { name: '60s' }],
          violations: [{ state: { name: 'own', remaining: 0 } }],
        });
      }
      store.close();
      await until('only what was admitted is charged', async () => (await remaining()) === LIMIT - 45);
    });

    it('and settles each policy in its place', async () => {
      const { open, remaining } = scene();
      const store = open();
      await admit(store, 40);
      const decision = await store.admit(mixed, keysOf(1), [3, 10]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      await store.settle(decision.receipt, [undefined, 4]);
      await store.settle(decision.receipt, [1, 7]);
      await expect(open().settle(decision.receipt, [1, 1])).rejects.toThrow(TypeError);
      store.close();
      await until('the busy one is corrected', async () => (await remaining()) === LIMIT - 44);
      expect(await remaining([own], 'own-1')).toBe(4);
    });

    it('and holds what they hold', async () => {
      const { open, remaining } = scene();
      const store = open();
      await admit(store, 40);
      const slots = concurrency({ limit: 2 });
      const policies = [...perMinute, slots];
      const take = () => store.admit(policies, ['key', 'slots'], [1, 1]);
      const first = await take();
      const second = await take();
      if (first.kind !== 'admitted' || second.kind !== 'admitted') throw new Error('refused');
      expect([first.holds, second.holds]).toMatchObject([
        [undefined, { slot: 0 }],
        [undefined, { slot: 1 }],
      ]);
      expect((await take()).kind).toBe('refused');
      expect(await store.renew(first.receipt)).toBe(true);
      await store.release(first.receipt);
      expect(await take()).toMatchObject({ kind: 'admitted', holds: [undefined, { slot: 0 }] });
      store.close();
      await until('only what was admitted is charged', async () => (await remaining()) === LIMIT - 43);
    });

    it('and keeps what it has ahead if they cannot be asked', async () => {
      const proxy = await RedisProxy.start(server);
      const { open, remaining } = scene({ now: undefined });
      const client = new Redis(proxy.port, '127.0.0.1');
      client.on('error', () => {});
      const ahead = { share: 0.05, maxAge: '10s' } as const;
      const store = open({ client, timeout: '250ms', ahead });
      onTestFinished(() => {
        client.disconnect();
        proxy.stop();
      });
      const long = [slidingWindow({ limit: LIMIT, window: '1h' })];
      await admit(store, 40, long);
      proxy.silence();
      for (let i = 0; i < 3; i++) {
        await expect(store.admit([own, ...long], keysOf(i), [1, 1])).rejects.toMatchObject({
          code: 'GATEWARDEN_STORE_UNAVAILABLE',
        });
      }
      client.disconnect(true);
      await until('it is back', () =>
        store.peek(long, ['key']).then(
          () => true,
          () => false,
        ),
      );
      store.close();
      await until('only what was admitted is charged', async () => (await remaining(long)) === LIMIT - 40);
    });

    it('and asks about all if the answer comes too late', async () => {
      const other = await startRedis();
      const { open, clock } = scene({ client: other.client() });
      const store = open();
      const observer = open({ ahead: undefined });
      onTestFinished(() => other.stop());
      await admit(store, 40);
      other.pause();
      const decision = store.admit(mixed, keysOf(0), [2, 3]);
      await delay(50);
      // What the process has ahead may not be used any more.
      clock.advance(1500);
      other.resume();
      expect((await decision).kind).toBe('admitted');
      store.close();
      await until('all is charged once', async () => {
        const states = await observer.peek(mixed, keysOf(0));
        return states[0]?.remaining === 3 && states[1]?.remaining === LIMIT - 43;
      });
      // It counts from the answer on, and the others have left the window by now.
      clock.set(START + 1500 + 59_990);
      expect(await observer.peek(mixed, keysOf(0))).toMatchObject([{ remaining: 3 }, { remaining: LIMIT - 3 }]);
    });
  });

  it('refuses an admission that names a counter twice, and units that are none', async () => {
    const { open } = scene();
    const store = open();
    await admit(store, 100);
    const twice = [...perMinute, ...perMinute];
    await expect(store.admit(twice, ['key', 'key'], [1, 1])).rejects.toThrow(RangeError);
    for (const units of [0, -1, 1.5, Number.NaN]) {
      await expect(store.admit(perMinute, ['key'], [units])).rejects.toThrow(RangeError);
    }
  });

  it('does not use units that were taken within another limit', async () => {
    const { open } = scene();
    const store = open();
    await admit(store, 100);
    const lower = [slidingWindow({ limit: 100, window: '1m' })];
    expect((await store.admit(lower, ['key'], [1])).kind).toBe('refused');
  });

  it('uses no unit after its time, and gives it back', async () => {
    const { open, clock, remaining } = scene();
    const store = open();
    await admit(store, 100);
    expect(await remaining()).toBeLessThan(LIMIT - 100);
    clock.advance(1000);
    expect(await callsOf(() => admit(store, 1))).toBeGreaterThan(0);
    store.close();
    await until('the rest is given back', async () => (await remaining()) === LIMIT - 101);
  });

  it('gives back what it does not use, although no request comes any more', async () => {
    const { open, remaining } = scene({ now: undefined });
    const store = open();
    await admit(store, 100);
    expect(await remaining()).toBeLessThan(LIMIT - 100);
    await until('the rest is given back', async () => (await remaining()) === LIMIT - 100, 4000);
  });

  it('does not count what it gives back against what clients may give back', async () => {
    const { open, clock, remaining } = scene();
    const store = open();
    const receipts: Receipt[] = [];
    // Many times as much as the limit is taken and given back.
    for (let i = 0; i < 20; i++) {
      receipts.push(...(await admit(store, 40)));
      clock.advance(1000);
    }
    for (const receipt of receipts) await store.settle(receipt, [0]);
    store.close();
    await until('all is given back', async () => (await remaining()) === LIMIT);
  });

  it('settles what it has admitted by itself, once and in the right place', async () => {
    const { open, clock, remaining } = scene();
    const store = open();
    const receipts = await admit(store, 200);
    await Promise.all(receipts.map((receipt, i) => store.settle(receipt, [i % 3])));
    for (const receipt of receipts) await store.settle(receipt, [100]);
    const used = receipts.reduce((sum, _receipt, i) => sum + (i % 3), 0);
    store.close();
    await until('it is corrected', async () => (await remaining()) === LIMIT - used);
    clock.advance(62_000);
    await until('it has left the window', async () => (await remaining()) === LIMIT);
  });

  it('gives clients back no more than the limit, also of what it has admitted by itself', async () => {
    const { open, remaining } = scene({ ahead: { share: 0.1 } });
    const store = open();
    const small = [slidingWindow({ limit: 400, window: '1h' })];
    let started = 0;
    for (let i = 0; i < 2000; i++) {
      const decision = await store.admit(small, ['key'], [1]);
      if (decision.kind !== 'admitted') continue;
      started++;
      await store.settle(decision.receipt, [0]);
    }
    // What is ahead of the last moment is refused early.
    expect(started).toBeLessThanOrEqual(800);
    expect(started).toBeGreaterThan(700);
    store.close();
    await until('the rest is there', async () => (await remaining(small)) === 800 - started);
  });

  it('forgets what it has ahead when the counter is reset', async () => {
    const { open, remaining } = scene();
    const store = open();
    await admit(store, 100);
    await store.reset(perMinute, ['key']);
    expect(await remaining()).toBe(LIMIT);
    await admit(store, 10);
    store.close();
    await until('only the new ones are charged', async () => (await remaining()) === LIMIT - 10);
  });

  it('admits the limit and no more, whichever store is asked', async () => {
    const { open } = scene();
    const stores = [open(), open(), open(), open({ ahead: undefined })];
    const admitted = await Promise.all(
      stores.map(async (store) => {
        let count = 0;
        for (let i = 0; i < LIMIT; i++) {
          const { kind } = await store.admit(perMinute, ['key'], [1]);
          if (kind === 'admitted') count++;
        }
        return count;
      }),
    );
    const all = admitted.reduce((sum, count) => sum + count, 0);
    expect(all).toBeLessThanOrEqual(LIMIT);
    // Each that asks to the end has used up its share.
    expect(all).toBeGreaterThanOrEqual(LIMIT * 0.95);
  }, 60_000);

  it('refuses at most five in a hundred early, under an even load of just the limit', async () => {
    const { open, clock } = scene({ ahead: {} });
    const stores = [open(), open(), open(), open()];
    const policies = [slidingWindow({ limit: 24_000, window: '1m' })];
    let asked = 0;
    let refused = 0;
    const calls = await callsOf(async () => {
      for (const end = clock.now() + 150_000; clock.now() < end; clock.advance(10)) {
        const isFull = clock.now() > START + 60_000;
        for (const store of stores) {
          const { kind } = await store.admit(policies, ['key'], [1]);
          if (isFull) asked++;
          if (kind === 'refused') refused++;
        }
      }
    });
    console.log(`${refused} of ${asked} were refused early; ${calls} calls`);
    expect(refused).toBeLessThan(0.05 * asked);
    expect(calls).toBeLessThan(asked / 2);
  }, 60_000);

  it('uses up what it has ahead during an outage, and then decides as it would without', async () => {
    const proxy = await RedisProxy.start(server);
    const events: RedisStoreEvent['kind'][] = [];
    const { open } = scene({ now: undefined, timeout: '250ms', ahead: { share: 0.05, maxAge: '10s' } });
    const client = new Redis(proxy.port, '127.0.0.1');
    client.on('error', () => {});
    const store = open({ client, onEvent: ({ kind }) => events.push(kind) });
    onTestFinished(() => {
      client.disconnect();
      proxy.stop();
    });
    const long = [slidingWindow({ limit: LIMIT, window: '1h' })];
    await admit(store, 300, long);
    proxy.silence();
    let admitted = 0;
    await until('it refuses', async () => {
      try {
        for (;;) {
          await store.admit(long, ['key'], [1]);
          admitted++;
        }
      } catch {
        return true;
      }
    });
    expect(admitted).toBeGreaterThan(50);
    expect(admitted).toBeLessThanOrEqual(500);
    await expect(store.admit(long, ['key'], [1])).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    await delay(300);
    expect(events).toContain('unavailable');
  });
});
