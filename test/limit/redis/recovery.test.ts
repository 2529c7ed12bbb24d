import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, type TestContext } from 'vitest';
import { dailyQuota, slidingWindow } from '../../../src/limit/policy.js';
import { LocalShare } from '../../../src/limit/redis/local-share.js';
import { admission, correction, peek, reset } from '../../../src/limit/redis/operation.js';
import { OperationBatcher } from '../../../src/limit/redis/operation-batcher.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { ScriptClient } from '../../../src/limit/redis/script-client.js';
import { SettleQueue } from '../../../src/limit/redis/settle-queue.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { type RedisCluster, type RedisServer, startCluster } from '../../redis/server.js';
import { type OpenStore, OutageScene, outageNoticed, receiptOf } from './outage-scene.js';
import { scriptOf } from './script-fixture.js';

const LIMIT = 10;
const policies = [slidingWindow({ limit: LIMIT, window: '1m' })];
const warmUp = [slidingWindow({ limit: 1, window: '1m', name: 'warm-up' })];

async function start(context: TestContext) {
  const scene = await OutageScene.start(context);
  // A store of its own: during an outage, a store that counts locally reports its own share.
  const { store: observer } = await scene.open({ timeout: '10s' });
  return {
    server: scene.server,
    open: (options?: Partial<RedisStoreOptions>) => scene.open(options),
    /** What Redis has left. */
    async remaining(of = policies): Promise<number | undefined> {
      const [state] = await observer.peek(of, ['key']);
      return state?.remaining;
    },
  };
}

function admitted({ store }: Pick<OpenStore, 'store'>, units = 1, of = policies): Promise<Receipt> {
  return receiptOf(store.admit(of, ['key'], [units]));
}

/** `timeout` in milliseconds. */
async function connectedScript(server: RedisServer, timeout: number): Promise<ScriptClient> {
  const client = server.client({ retryStrategy: () => 100 });
  await client.ping();
  return scriptOf(client, { timeout });
}

// Most of these tests wait for timeouts. Each has a server of its own, so they wait together.
describeRedis('redisStore, around an outage', () => {
  let clusterStart: Promise<RedisCluster>;
  beforeAll(() => {
    // A Cluster takes two seconds to start. Only the last test waits for it.
    clusterStart = startCluster();
    clusterStart.catch(() => undefined);
  });
  afterAll(async () => {
    const cluster = await clusterStart;
    for (const node of cluster.nodes) node.resume();
    await cluster.stop();
  }, 60_000);

  it.concurrent.for([
    ['without memory', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    // Nothing listens on port 1.
    ['that is a replica', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ] as const)(
    'reports once that a server %s is unavailable, and once that it is back',
    async ([_state, [leave, ...leaveArguments], [comeBack, ...comeBackArguments]], context) => {
      const { server, open } = await start(context);
      const one = await open();
      await admitted(one);
      await server.cli(leave, ...leaveArguments);
      const end = performance.now() + 1000;
      while (performance.now() < end) {
        const decision = one.store.admit(policies, ['key'], [1]);
        await expect(decision).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
        await delay(5);
      }
      await server.cli(comeBack, ...comeBackArguments);
      await until('it is back', () => one.kinds.includes('available'), 2000);
      await admitted(one);
      expect(one.kinds).toEqual(['unavailable', 'available']);
    },
  );

  it.concurrent('does not undo the report of local admissions when its answer is late', async (context) => {
    const { server, open, remaining } = await start(context);
    let pauses = 0;
    const one = await open({
      onStoreFailure: 'local',
      // The report is about to be sent. It reaches a server that is paused again.
      onEvent: ({ kind }) => void (kind === 'available' && pauses++ === 0 && server.pause()),
    });
    await admitted(one);
    server.pause();
    await outageNoticed(one);
    await admitted(one, 3);
    server.resume();
    await until('the server is paused again', () => pauses === 1);
    await delay(400);
    server.resume();
    await until('Redis has the report', async () => (await remaining()) === LIMIT - 4);
    await delay(700);
    expect(await remaining()).toBe(LIMIT - 4);
  });

  it.concurrent('corrects in Redis what was admitted locally and settled after the outage', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    server.pause();
    await outageNoticed(one);
    const refunded = await admitted(one, 3);
    const raised = await admitted(one, 2);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    // Over the connection on which the report was answered.
    await one.store.peek(policies, ['key']);
    expect(await remaining()).toBe(LIMIT - 5);
    await one.store.settle(refunded, [0]);
    expect(await remaining()).toBe(LIMIT - 2);
    await one.store.settle(raised, [4]);
    expect(await remaining()).toBe(LIMIT - 4);
    for (const receipt of [refunded, raised]) await one.store.settle(receipt, [1]);
    expect(await remaining()).toBe(LIMIT - 4);
  });

  it.concurrent('gives back in Redis what was given back before Redis came back', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    server.pause();
    await outageNoticed(one);
    const receipt = await admitted(one, 3);
    await one.store.settle(receipt, [0]);
    await admitted(one, 2);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    await until('Redis has both', async () => (await remaining()) === LIMIT - 2);
  });

  it.concurrent('gives back no more than the limit in all, before and after an outage', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    let started = 0;
    const provokeRefunds = async (requests: number) => {
      for (let i = 0; i < requests; i++) {
        const decision = await one.store.admit(policies, ['key'], [1]);
        if (decision.kind !== 'admitted') continue;
        started++;
        await one.store.settle(decision.receipt, [0]);
      }
    };
    server.pause();
    await outageNoticed(one);
    await provokeRefunds(3 * LIMIT);
    expect(started).toBe(2 * LIMIT);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    await until('Redis has all of it', async () => (await remaining()) === 0);
    await provokeRefunds(3 * LIMIT);
    expect(started).toBe(2 * LIMIT);
  });

  it.concurrent('charges in Redis what was admitted after a single failure, which is no outage', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    await admitted(one);
    server.pause();
    await admitted(one, 3);
    server.resume();
    await one.store.peek(policies, ['key']);
    await until('it is charged', async () => (await remaining()) === LIMIT - 4);
    expect(one.kinds).toEqual([]);
  });

  it.concurrent('reports what was admitted locally once, even if a second outage follows', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    server.pause();
    await outageNoticed(one);
    await admitted(one, 3);
    for (const recoveries of [1, 2]) {
      server.resume();
      await until('it is back', () => one.kinds.filter((kind) => kind === 'available').length === recoveries);
      await one.store.peek(policies, ['key']);
      expect(await remaining()).toBe(LIMIT - 3);
      if (recoveries === 1) {
        server.pause();
        await outageNoticed(one);
      }
    }
  });

  it.concurrent.for([
    ['once', 20],
    ['once, even if Redis leaves again before it answers', 700],
  ] as const)('corrects what is settled while its report is on its way, %s', async ([_case, pause], context) => {
    const { server, open, remaining } = await start(context);
    let pauses = 0;
    const one = await open({
      onStoreFailure: 'local',
      // The report is about to be sent. It reaches a server that is paused again.
      onEvent: ({ kind }) => void (kind === 'available' && pauses++ === 0 && server.pause()),
    });
    server.pause();
    await outageNoticed(one);
    const early = await admitted(one, 2);
    const receipt = await admitted(one, 5);
    await one.store.settle(early, [1]);
    server.resume();
    await until('the server is paused again', () => pauses === 1);
    await delay(pause);
    await one.store.settle(receipt, [2]);
    server.resume();
    await until('Redis has the correction', async () => (await remaining()) === LIMIT - 3);
    await delay(700);
    expect(await remaining()).toBe(LIMIT - 3);
  });

  it.concurrent('charges local admissions beyond the limit if others have used it up', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open({ onStoreFailure: 'local' });
    const two = await open({ timeout: '10s' });
    await admitted(two, 1, warmUp);
    server.pause();
    await outageNoticed(one);
    await admitted(one, 4);
    // Sent before the report, so the server answers it first.
    const filled = admitted(two, LIMIT);
    await delay(50);
    server.resume();
    const receipt = await filled;
    await until('it is back', () => one.kinds.includes('available'));
    await two.store.admit(policies, ['key'], [1]);
    await delay(100);
    await two.store.settle(receipt, [0]);
    await until('only the reported units are left', async () => (await remaining()) === LIMIT - 4);
  });

  it.concurrent('gives up a correction after its time, and reports it', async (context) => {
    const { server } = await start(context);
    const lost: unknown[] = [];
    const settles = new SettleQueue(await connectedScript(server, 150), (error) => lost.push(error), 1000);
    await settles.send(reset(policies, ['gw:key']));
    expect(lost).toEqual([]);
    server.pause();
    const sent = performance.now();
    await settles.send(reset(policies, ['gw:key']));
    expect(lost).toEqual([]);
    await until('it is given up', () => lost.length > 0, 5000);
    expect(performance.now() - sent).toBeGreaterThan(1000);
    expect(lost).toMatchObject([{ code: 'GATEWARDEN_STORE_UNAVAILABLE' }]);
    settles.stop();
  });

  it.concurrent('removes no more from a counter than it holds, even if the server lost a part', async (context) => {
    const { server } = await start(context);
    const batcher = new OperationBatcher(await connectedScript(server, 10_000), () => undefined);
    const both = [...policies, dailyQuota({ limit: LIMIT })];
    const keys = ['gw:key', 'gw:key'];
    const { charged } = await batcher.run(admission(both, keys, [2, 2]));
    await batcher.run(correction(both, keys, charged, [-3, -3]));
    expect((await batcher.run(peek(both, keys))).charged).toMatchObject([{ total: 0 }, { total: 0 }]);
    expect((await batcher.run(admission(both, keys, [LIMIT, LIMIT]))).status).toBe('admitted');
  });

  it.concurrent('charges nothing for a call that reaches the server after the timeout', async (context) => {
    const { server, open } = await start(context);
    const one = await open();
    await admitted(one, 1, warmUp);
    server.pause();
    const rejected = one.store.admit(policies, ['late'], [1]).catch((error: unknown) => error);
    // The call is in the socket, where the server will find it. No client is left to give the charge back.
    await delay(50);
    one.client.disconnect();
    one.store.close();
    await rejected;
    await delay(400);
    server.resume();
    await until('the server is back', async () => (await server.cli('PING')) === 'PONG');
    expect(await server.cli('EXISTS', 'gw:late')).toBe('0');
  });

  it.concurrent('does not charge afterwards what has left its window meanwhile', async (context) => {
    const { server, open } = await start(context);
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const one = await open({ onStoreFailure: 'local', now: clock.now });
    const perMinute = [slidingWindow({ limit: 4, window: '1m' })];
    const decide = async () => (await one.store.admit(perMinute, ['key'], [1])).kind;
    await decide();
    server.pause();
    await outageNoticed(one);
    let admittedLocally = 0;
    for (let windows = 0; windows < 3; windows++) {
      for (let i = 0; i < 6; i++) if ((await decide()) === 'admitted') admittedLocally++;
      clock.advance(60_000);
    }
    // One of the first four was admitted by Redis.
    expect(admittedLocally).toBe(3 + 4 + 4);
    server.resume();
    await until('it is back', () => one.kinds.includes('available'));
    expect((await one.store.admit(perMinute, ['key'], [4])).kind).toBe('admitted');
  });

  it.concurrent('waits no longer than the timeout for a correction, and makes it later', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open();
    const receipt = await admitted(one, 4);
    server.pause();
    const sent = performance.now();
    await one.store.settle(receipt, [1]);
    expect(performance.now() - sent).toBeLessThan(450);
    server.resume();
    await until('it is corrected', async () => (await remaining()) === LIMIT - 1);
    await delay(600);
    expect(await remaining()).toBe(LIMIT - 1);
  });

  it.concurrent('does not multiply attempts at corrections while Redis is away', async (context) => {
    const { server, open, remaining } = await start(context);
    const one = await open();
    const receipts: Receipt[] = [];
    for (let i = 0; i < 4; i++) receipts.push(await admitted(one));
    server.pause();
    for (const receipt of receipts) {
      void one.store.settle(receipt, [0]);
      await delay(5);
    }
    await outageNoticed(one);
    await delay(2000);
    server.resume();
    await until('all are corrected', async () => (await remaining()) === LIMIT);
    const stats = await server.cli('INFO', 'commandstats');
    const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    expect(calls).toBeLessThan(30);
  });

  it.concurrent('runs each of many calls in flight once if their replies are lost together', async (context) => {
    const { server, open, remaining } = await start(context);
    const many = [slidingWindow({ limit: 400, window: '1h' })];
    const { store, client } = await open({ timeout: '5s' });
    await admitted({ store }, 1, many);
    // The server reads and runs them all. Then the connection breaks before a reply is read.
    const decisions: Promise<unknown>[] = [];
    const id = await client.client('ID');
    server.pause();
    for (let i = 0; i < 150; i++) {
      decisions.push(store.admit(many, ['key'], [1]));
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
    await Promise.all(decisions);
    expect(await remaining(many)).toBe(400 - 151);
  });

  // The next two keep the processor busy, and so come apart from the tests that measure time.
  it('holds at most 10,000 corrections while Redis is away, and reports the others', async (context) => {
    const { server } = await start(context);
    const lost: unknown[] = [];
    const settles = new SettleQueue(await connectedScript(server, 50), (error) => lost.push(error));
    server.pause();
    await Promise.all(Array.from({ length: 10_001 }, () => settles.send(reset(policies, ['gw:key']))));
    // The last call, which holds one correction.
    expect(lost).toMatchObject([{ code: 'GATEWARDEN_STORE_UNAVAILABLE' }]);
    settles.stop();
  });

  it('remembers at most 10,000 local admissions, and counts the others', () => {
    const local = new LocalShare(1, () => 0);
    const many = [slidingWindow({ limit: 20_000, window: '1m' })];
    for (let i = 0; i < 10_003; i++) local.admit(many, ['gw:key'], [1 + (i % 2)]);
    const unreported = local.takeUnreported();
    expect([unreported.length, unreported[0]?.units]).toEqual([10_000, [2]]);
    expect([local.takeForgotten(), local.takeForgotten()]).toEqual([3, 0]);
  });

  it('answers every decision within the timeout, even if all nodes of a Cluster are away', async () => {
    const cluster = await clusterStart;
    const client = cluster.client();
    const store = redisStore({ client, refusalCache: false });
    const four = ['a', 'b', 'c', 'd'].map((name) => slidingWindow({ limit: LIMIT, window: '1h', name }));
    const keys = ['one', 'two', 'three', 'four'];
    // Connects to every node, without the timeout of the store.
    await Promise.all(client.nodes().map((node) => node.ping()));
    const patient = redisStore({ client, timeout: '10s' });
    await patient.admit(
      four,
      keys,
      four.map(() => 1),
    );
    patient.close();
    for (const node of cluster.nodes) node.pause();
    const sent = performance.now();
    await expect(
      store.admit(
        four,
        keys,
        four.map(() => 1),
      ),
    ).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    expect(performance.now() - sent).toBeLessThan(450);
    store.close();
  }, 60_000);
});
