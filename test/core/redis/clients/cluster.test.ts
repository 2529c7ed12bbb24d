import { setTimeout as delay } from 'node:timers/promises';
import calculateSlot from 'cluster-key-slot';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../../src/limit/policy.js';
import { redisKey } from '../../../../src/limit/redis/layout.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../../src/limit/redis/redis-store-options.js';
import { expectOnlyLost, outcomeOf } from '../../../limit/redis/outage-scene.js';
import { FOR_A_CLUSTER, type Opened } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { until } from '../../../redis/processes.js';
import type { RedisCluster } from '../../../redis/server.js';
import { useCluster } from '../../../redis/suite.js';

const LIMIT = 10;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];
const KEYS = Array.from({ length: 60 }, (_, i) => `key-${i}`);
const CLIENTS: readonly {
  readonly name: string;
  open(cluster: RedisCluster): Promise<Opened<RedisStoreOptions['client']>>;
}[] = [
  {
    name: 'ioredis',
    open: async (cluster) => {
      const client = cluster.client({ clusterRetryStrategy: () => 100 });
      await client.ping();
      return { client, close: () => client.disconnect() };
    },
  },
  ...FOR_A_CLUSTER.map(({ name, openCluster }) => ({ name, open: openCluster })),
];

describeRedis('redisStore in a Cluster', () => {
  const cluster = useCluster({ withReplica: true });
  let prefixes = 0;
  const setNodeTimeout = async (ms: number) => {
    for (const node of [...cluster.nodes, cluster.replica]) {
      await node?.cli('CONFIG', 'SET', 'cluster-node-timeout', String(ms));
    }
  };
  beforeAll(async () => {
    // The others go on while a node is away.
    for (const node of cluster.nodes) await node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no');
  }, 60_000);
  afterAll(() => {
    for (const node of cluster.nodes) node.resume();
  });

  async function open(openClient: (typeof CLIENTS)[number]['open']) {
    const prefix = `cluster-${prefixes++}:`;
    const { client, close } = await openClient(cluster);
    const events: string[] = [];
    const store = redisStore({ client, prefix, refusalCache: false, onEvent: ({ kind }) => events.push(kind) });
    onTestFinished(() => {
      store.close();
      close();
    });
    const decide = (key: string) => outcomeOf(store.admit(policies, [key], [1]));
    // Slots are divided evenly, in the order of the nodes.
    const isSecond = (key: string) => Math.floor((calculateSlot(redisKey(prefix, key)) * 3) / 16_384) === 1;
    const lost = KEYS.filter(isSecond);
    return { store, events, decide, lost, others: KEYS.filter((key) => !lost.includes(key)) };
  }

  it.each(CLIENTS)(
    'decides about the keys of other nodes while one is silent, with $name',
    async ({ open: its }) => {
      await setNodeTimeout(60_000);
      const { store, events, decide, lost, others } = await open(its);
      expect([lost.length > 5, others.length > 10]).toEqual([true, true]);
      for (const key of KEYS) expect(await decide(key)).toBe('admitted');
      cluster.nodes[1]?.pause();
      onTestFinished(() => cluster.nodes[1]?.resume());
      await until('it is noticed', async () => {
        await decide(lost[0] as string);
        return events.length > 0;
      });
      let rounds = 0;
      const end = performance.now() + 1000;
      for (; performance.now() < end && rounds < LIMIT - 1; await delay(5)) {
        await expectOnlyLost(decide, { lost, others });
        rounds++;
      }
      // No request waits for the timeout.
      expect([rounds, events]).toEqual([LIMIT - 1, ['unavailable']]);
      cluster.nodes[1]?.resume();
      await until('it is back', () => events.at(-1) === 'available');
      for (const key of lost) expect(await store.peek(policies, [key])).toMatchObject([{ remaining: LIMIT - 1 }]);
      for (const key of others) expect(await decide(key)).toBe('refused');
    },
    30_000,
  );

  it('decides by the replica of a node that was killed', async () => {
    await setNodeTimeout(2000);
    const all = await Promise.all(
      CLIENTS.map(async ({ name, open: its }) => ({ name, ...(await open(its)), backAfter: 0, hiccups: 0 })),
    );
    for (const { decide } of all) for (const key of KEYS) expect(await decide(key)).toBe('admitted');
    await delay(100);
    await cluster.nodes[1]?.kill();
    const killedAt = performance.now();
    for (let waiting = all; waiting.length > 0 && performance.now() - killedAt < 25_000; await delay(50)) {
      for (const one of waiting) {
        for (const key of one.others.slice(0, 3)) if ((await one.decide(key)) === 'failed') one.hiccups++;
        if ((await one.decide(one.lost[0] as string)) !== 'failed') one.backAfter = performance.now() - killedAt;
      }
      waiting = waiting.filter(({ backAfter }) => backAfter === 0);
    }
    console.log(all.map(({ name, backAfter }) => `${name} decides again after ${Math.round(backAfter)} ms`).join(', '));
    for (const { name, store, lost, events, backAfter, hiccups } of all) {
      expect([name, backAfter > 0]).toEqual([name, true]);
      // A client that reads the slots again on a busy machine may be late once. A breaker would refuse dozens.
      expect(hiccups, name).toBeLessThanOrEqual(3);
      await until(`${name} reports it`, () => events.at(-1) === 'available');
      for (const key of lost.slice(1)) {
        expect([name, ...(await store.peek(policies, [key]))]).toMatchObject([name, { remaining: LIMIT - 1 }]);
      }
    }
  }, 60_000);
});
