import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import { LocalShare } from '../../../src/limit/redis/local-share.js';
import { admission, correction, forgetting, peek } from '../../../src/limit/redis/operation.js';
import {
  type RedisStore,
  type RedisStoreEvent,
  type RedisStoreOptions,
  redisStore,
} from '../../../src/limit/redis/redis-store.js';
import { ScriptBatch } from '../../../src/limit/redis/script-batch.js';
import { SettleQueue } from '../../../src/limit/redis/settle-queue.js';
import type { Receipt } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { type RedisServer, startCluster, startRedis } from '../../redis/server.js';

const LIMIT = 10;
const policies = [slidingWindow({ limit: LIMIT, window: '1m' })];

function pipeOf(server: RedisServer): ScriptBatch {
  return new ScriptBatch({
    client: server.client({ retryStrategy: () => 100 }),
    prefix: 'gw:',
    timeout: 50,
    now: undefined,
    onSuccess: () => undefined,
    onFailure: () => undefined,
    onLate: () => undefined,
  });
}

describeRedis('redisStore, around an outage', () => {
  let server: RedisServer;
  let observer: RedisStore;
  const stores: RedisStore[] = [];

  beforeEach(async () => {
    server = await startRedis();
    // Not the store in question: while Redis is away, one that counts locally answers for itself.
    observer = open({ timeout: '10s' }).store;
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) store.close();
    server.resume();
    await server.stop();
  });

  function open({ onEvent, ...options }: Partial<RedisStoreOptions> = {}) {
    const kinds: RedisStoreEvent['kind'][] = [];
    const client = server.client({ retryStrategy: () => 100 });
    const store = redisStore({
      client,
      refusalCache: false,
      onEvent: (event) => {
        kinds.push(event.kind);
        onEvent?.(event);
      },
      ...options,
    });
    stores.push(store);
    return { store, client, kinds };
  }

  async function admitted(store: RedisStore, units = 1, of = policies): Promise<Receipt> {
    const decision = await store.admit(of, ['key'], units);
    if (decision.kind !== 'admitted') throw new Error('refused');
    return decision.receipt;
  }

  /** What Redis has left. */
  async function remaining(of = policies): Promise<number | undefined> {
    const [state] = await observer.peek(of, ['key']);
    return state?.remaining;
  }

  async function outage({ store, kinds }: ReturnType<typeof open>): Promise<void> {
    await until('the breaker opens', async () => {
      await store.admit(policies, ['other'], 1).catch(() => undefined);
      return kinds.at(-1) === 'unavailable';
    });
  }

  describe.each([
    ['without memory', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    // Port 1: nobody's master.
    ['that is a replica', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ] as const)('of a server %s', (_what, [leave, ...how], [comeBack, ...again]) => {
    it('tells of it once, and once of its end', async () => {
      const { store, kinds } = open();
      await admitted(store);
      await server.cli(leave, ...how);
      const end = performance.now() + 1500;
      while (performance.now() < end) {
        await expect(store.admit(policies, ['key'], 1)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
        await delay(5);
      }
      await server.cli(comeBack, ...again);
      await until('it is back', () => kinds.includes('available'), 2000);
      await admitted(store);
      expect(kinds).toEqual(['unavailable', 'available']);
    });
  });

  it.each([
    ['OOM', 'ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not allowed'],
    ['READONLY', "ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -READONLY You can't write"],
  ])('takes %s for an outage also as Redis 6.2 words it', async (_what, line) => {
    // Not a Redis: it says to everything what a 6.2 says to a script that may not write.
    const says = createServer((socket) => socket.on('error', () => {}).on('data', () => socket.write(`-${line}\r\n`)));
    says.listen(0, '127.0.0.1');
    await once(says, 'listening');
    const address = says.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const client = new Redis(address.port, '127.0.0.1', { enableReadyCheck: false });
    client.on('error', () => {});
    const store = redisStore({ client });
    await expect(store.admit(policies, ['key'], 1)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    store.close();
    client.disconnect();
    says.close();
  });

  it('does not take back the report of local admissions because its answer came late', async () => {
    let pauses = 0;
    const one = open({
      onStoreFailure: 'local',
      // The report is about to go out: it reaches a server that stands still again.
      onEvent: ({ kind }) => void (kind === 'available' && pauses++ === 0 && server.pause()),
    });
    await admitted(one.store);
    server.pause();
    await outage(one);
    await admitted(one.store, 3);
    server.resume();
    await until('it stands still again', () => pauses === 1);
    await delay(400);
    server.resume();
    await until('Redis knows', async () => (await remaining()) === LIMIT - 4);
    await delay(700);
    expect(await remaining()).toBe(LIMIT - 4);
  });

  it('corrects in Redis what was admitted locally and settled after the outage', async () => {
    const one = open({ onStoreFailure: 'local' });
    server.pause();
    await outage(one);
    const refunded = await admitted(one.store, 3);
    const raised = await admitted(one.store, 2);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    // Over the connection on which the report was answered.
    await one.store.peek(policies, ['key']);
    expect(await remaining()).toBe(LIMIT - 5);
    await one.store.settle(refunded, 0);
    expect(await remaining()).toBe(LIMIT - 2);
    await one.store.settle(raised, 4);
    expect(await remaining()).toBe(LIMIT - 4);
    for (const receipt of [refunded, raised]) await one.store.settle(receipt, 1);
    expect(await remaining()).toBe(LIMIT - 4);
  });

  it('reports nothing of what was given back before Redis was there again', async () => {
    const one = open({ onStoreFailure: 'local' });
    server.pause();
    await outage(one);
    const receipt = await admitted(one.store, 3);
    await one.store.settle(receipt, 0);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    await one.store.peek(policies, ['key']);
    expect(await server.cli('EXISTS', 'gw:key')).toBe('0');
  });

  it('reports once what was admitted locally, also where a second outage follows', async () => {
    const one = open({ onStoreFailure: 'local' });
    server.pause();
    await outage(one);
    await admitted(one.store, 3);
    for (const backs of [1, 2]) {
      server.resume();
      await until('it is back', () => one.kinds.filter((kind) => kind === 'available').length === backs);
      await one.store.peek(policies, ['key']);
      expect(await remaining()).toBe(LIMIT - 3);
      if (backs === 1) {
        server.pause();
        await outage(one);
      }
    }
  });

  it.each([
    ['once', 20],
    ['once, though Redis goes again before it answers', 700],
  ])('corrects what is settled while its report is under way, %s', async (_, pause) => {
    let pauses = 0;
    const one = open({
      onStoreFailure: 'local',
      // The report is about to go out: it reaches a server that stands still again.
      onEvent: ({ kind }) => void (kind === 'available' && pauses++ === 0 && server.pause()),
    });
    server.pause();
    await outage(one);
    const early = await admitted(one.store, 2);
    const receipt = await admitted(one.store, 5);
    await one.store.settle(early, 1);
    server.resume();
    await until('it stands still again', () => pauses === 1);
    await delay(pause);
    await one.store.settle(receipt, 2);
    server.resume();
    await until('Redis knows', async () => (await remaining()) === LIMIT - 3);
    await delay(700);
    expect(await remaining()).toBe(LIMIT - 3);
  });

  it('charges what was admitted locally beyond the limit where others have used it up', async () => {
    const one = open({ onStoreFailure: 'local' });
    const two = open({ timeout: '10s' });
    await admitted(two.store, 1, [slidingWindow({ limit: 1, window: '1m', name: 'warm' })]);
    server.pause();
    await outage(one);
    await admitted(one.store, 4);
    // On its way before the report: the server answers it first.
    const filled = admitted(two.store, LIMIT);
    await delay(50);
    server.resume();
    const receipt = await filled;
    await until('it is back', () => one.kinds.includes('available'));
    await until('Redis knows', async () => {
      await two.store.admit(policies, ['key'], 1);
      return true;
    });
    await delay(100);
    await two.store.settle(receipt, 0);
    await until('only what was reported is left', async () => (await remaining()) === LIMIT - 4);
  });

  it('gives up a correction after its time, and tells of it', async () => {
    const lost: unknown[] = [];
    const settles = new SettleQueue(pipeOf(server), (error) => lost.push(error), 400);
    await settles.send(forgetting(policies, ['gw:key']));
    expect(lost).toEqual([]);
    server.pause();
    const start = performance.now();
    await settles.send(forgetting(policies, ['gw:key']));
    expect(lost).toEqual([]);
    await until('it is given up', () => lost.length > 0, 5000);
    expect(performance.now() - start).toBeGreaterThan(400);
    expect(lost).toMatchObject([{ code: 'GATEWARDEN_STORE_UNAVAILABLE' }]);
    settles.stop();
  });

  it('takes no more from a counter than it holds, though the server has lost part of it', async () => {
    const pipe = pipeOf(server);
    const both = [...policies, dailyQuota({ limit: LIMIT })];
    const keys = ['gw:key', 'gw:key'];
    const { charged } = await pipe.run(admission(both, keys, 2));
    await pipe.run(correction(both, keys, charged, -3));
    expect((await pipe.run(peek(both, keys))).charged).toMatchObject([{ total: 0 }, { total: 0 }]);
    expect((await pipe.run(admission(both, keys, LIMIT))).status).toBe('admitted');
  });

  it('holds so many corrections and no more while Redis is away, and tells of the rest', async () => {
    const lost: unknown[] = [];
    const settles = new SettleQueue(pipeOf(server), (error) => lost.push(error));
    server.pause();
    await Promise.all(Array.from({ length: 10_001 }, () => settles.send(forgetting(policies, ['gw:key']))));
    // The last call of them, which holds one.
    expect(lost).toMatchObject([{ code: 'GATEWARDEN_STORE_UNAVAILABLE' }]);
    settles.stop();
  });

  it('remembers so many local admissions and no more', () => {
    const local = new LocalShare(1, () => 0);
    const many = [slidingWindow({ limit: 20_000, window: '1m' })];
    for (let i = 0; i < 10_001; i++) local.admit(many, ['gw:key'], 1 + (i % 2));
    const reported = local.report();
    expect([reported.length, reported[0]?.units]).toEqual([10_000, 2]);
  });

  it('charges nothing by a call that reaches the server after its deadline, whoever may have gone by then', async () => {
    const { store, client } = open();
    await admitted(store, 1, [slidingWindow({ limit: 1, window: '1m', name: 'warm' })]);
    server.pause();
    const asked = store.admit(policies, ['late'], 1).catch((error: unknown) => error);
    // Written to the socket, where the server will find it; nobody is left to give it back.
    await delay(50);
    client.disconnect();
    store.close();
    await asked;
    await delay(400);
    server.resume();
    await until('the server is back', async () => (await server.cli('PING')) === 'PONG');
    expect(await server.cli('EXISTS', 'gw:late')).toBe('0');
  });

  it('does not charge afterwards what has left its window meanwhile', async () => {
    const short = [slidingWindow({ limit: 4, window: '600ms' })];
    const one = open({ onStoreFailure: 'local' });
    await one.store.admit(short, ['key'], 1);
    server.pause();
    await outage(one);
    const start = performance.now();
    let local = 0;
    while (performance.now() - start < 1500) {
      if ((await one.store.admit(short, ['key'], 1)).kind === 'admitted') local++;
      await delay(10);
    }
    expect(local).toBeGreaterThan(8);
    await delay(600);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    expect((await one.store.admit(short, ['key'], 4)).kind).toBe('admitted');
  });

  it('keeps nobody waiting for a correction beyond the deadline, and makes it later', async () => {
    const one = open();
    const receipt = await admitted(one.store, 4);
    server.pause();
    const start = performance.now();
    await one.store.settle(receipt, 1);
    expect(performance.now() - start).toBeLessThan(450);
    server.resume();
    await until('it is corrected', async () => (await remaining()) === LIMIT - 1);
    await delay(600);
    expect(await remaining()).toBe(LIMIT - 1);
  });

  it('does not pile up attempts at corrections while Redis is away', async () => {
    const one = open();
    const receipts: Receipt[] = [];
    for (let i = 0; i < 4; i++) receipts.push(await admitted(one.store));
    server.pause();
    for (const receipt of receipts) {
      void one.store.settle(receipt, 0);
      await delay(5);
    }
    await outage(one);
    await delay(2000);
    server.resume();
    await until('all are corrected', async () => (await remaining()) === LIMIT);
    const stats = await server.cli('INFO', 'commandstats');
    const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    expect(calls).toBeLessThan(30);
  });

  it('runs each of many calls in flight once where their replies are lost together', async () => {
    const many = [slidingWindow({ limit: 400, window: '1h' })];
    const { store, client } = open({ timeout: '5s' });
    await admitted(store, 1, many);
    // Held by the server until it has read and run them all; then the connection breaks before a reply is read.
    const asked: Promise<unknown>[] = [];
    const id = await client.client('ID');
    server.pause();
    for (let i = 0; i < 150; i++) {
      asked.push(store.admit(many, ['key'], 1));
      await new Promise((next) => setImmediate(next));
    }
    await delay(50);
    client.stream.pause();
    server.resume();
    await until('all have run', async () => {
      const stats = await server.cli('INFO', 'commandstats');
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0) >= 150;
    });
    await server.cli('CLIENT', 'KILL', 'ID', String(id));
    client.stream.destroy();
    await Promise.all(asked);
    expect(await remaining(many)).toBe(400 - 151);
  });
});

describeRedis('redisStore, while one node of a Cluster is away', () => {
  it('answers every decision within the deadline, however many slots it touches', async () => {
    const cluster = await startCluster();
    const client = cluster.client();
    try {
      const store = redisStore({ client, refusalCache: false });
      const three = ['a', 'b', 'c', 'd'].map((name) => slidingWindow({ limit: LIMIT, window: '1h', name }));
      const keys = ['one', 'two', 'three', 'four'];
      await store.admit(three, keys, 1);
      for (const node of cluster.nodes) node.pause();
      const start = performance.now();
      await expect(store.admit(three, keys, 1)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
      expect(performance.now() - start).toBeLessThan(450);
      store.close();
    } finally {
      for (const node of cluster.nodes) node.resume();
      await cluster.stop();
    }
  }, 60_000);
});
