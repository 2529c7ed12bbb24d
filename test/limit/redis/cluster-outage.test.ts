import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { slotOf } from '../../../src/limit/redis/cluster-slot.js';
import { redisKey } from '../../../src/limit/redis/layout.js';
import { admission } from '../../../src/limit/redis/operation.js';
import { OperationBatcher } from '../../../src/limit/redis/operation-batcher.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { useCluster } from '../../redis/suite.js';
import { expectOnlyLost, outcomeOf } from './outage-scene.js';
import { scriptOf } from './script-fixture.js';

const LIMIT = 1000;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];

/** What the connections of a Cluster hold. */
function heldBy(client: Cluster): number {
  const queues = (node: Redis) => node as unknown as Record<'commandQueue' | 'offlineQueue', { length: number }>;
  return client
    .nodes()
    .map(queues)
    .reduce((sum, { commandQueue, offlineQueue }) => sum + commandQueue.length + offlineQueue.length, 0);
}

describeRedis('redisStore in a Cluster, of which one node is away', () => {
  const cluster = useCluster();
  let client: Cluster;
  /** Keys of the node that goes away, and of the others. */
  let lost: readonly string[];
  let others: readonly string[];
  let prefixes = 0;
  let prefix = '';

  beforeAll(async () => {
    for (const node of cluster.nodes) {
      // The others go on, also after a while. There is no replica that could take over.
      await node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no');
      await node.cli('CONFIG', 'SET', 'cluster-node-timeout', '60000');
    }
    client = cluster.client();
  }, 60_000);
  afterAll(() => {
    for (const node of cluster.nodes) node.resume();
  }, 60_000);

  beforeEach(async () => {
    prefix = `node-${prefixes++}:`;
    await Promise.all(client.nodes().map((node) => node.ping()));
    const away = `127.0.0.1:${cluster.nodes[1]?.port}`;
    const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);
    const isLost = (key: string) => client.slots[slotOf(client, redisKey(prefix, key))]?.[0] === away;
    lost = keys.filter(isLost);
    others = keys.filter((key) => !isLost(key));
    expect([lost.length > 5, others.length > 10]).toEqual([true, true]);
  });

  function open(options: Partial<RedisStoreOptions> = {}) {
    const events: RedisStoreEvent['kind'][] = [];
    const store = redisStore({
      client,
      prefix,
      refusalCache: false,
      onEvent: ({ kind }) => events.push(kind),
      ...options,
    });
    const decide = (key: string) => outcomeOf(store.admit(policies, [key], [1]));
    return { store, events, decide };
  }

  it('decides about the keys of the others, reports it once, and corrects the rest afterwards', async () => {
    const { store, events, decide } = open();
    const receipts: Receipt[] = [];
    for (const key of lost) {
      const decision = await store.admit(policies, [key], [3]);
      if (decision.kind === 'admitted') receipts.push(decision.receipt);
    }
    expect(receipts).toHaveLength(lost.length);
    for (const key of others) expect(await decide(key)).toBe('admitted');
    cluster.nodes[1]?.pause();
    onTestFinished(() => cluster.nodes[1]?.resume());
    await until('it is noticed', async () => {
      await decide(lost[0] as string);
      return events.length > 0;
    });
    for (const receipt of receipts) void store.settle(receipt, [1]);
    const held = heldBy(client);
    let rounds = 0;
    for (const end = performance.now() + 2500; performance.now() < end; await delay(5)) {
      await expectOnlyLost(decide, { lost, others });
      rounds++;
    }
    // No request waits for the timeout: there would be ten rounds. And the client holds nothing but probes.
    expect(rounds).toBeGreaterThan(20);
    expect(heldBy(client) - held).toBeLessThan(30);
    expect(events).toEqual(['unavailable']);
    cluster.nodes[1]?.resume();
    await until('it is back', () => events.at(-1) === 'available');
    await until('all is corrected', async () => {
      const states = await Promise.all(lost.map((key) => store.peek(policies, [key]).catch(() => [])));
      return states.every(([state]) => state?.remaining === LIMIT - 1);
    });
    expect(events).toEqual(['unavailable', 'available']);
    store.close();
  }, 30_000);

  it('counts the keys of that node locally, and charges them afterwards', async () => {
    const { store, events, decide } = open({ onStoreFailure: 'local' });
    for (const key of [...lost, ...others]) await decide(key);
    cluster.nodes[1]?.pause();
    onTestFinished(() => cluster.nodes[1]?.resume());
    await until('it is noticed', async () => {
      await decide(lost[0] as string);
      return events.length > 0;
    });
    for (let i = 0; i < 3; i++) {
      expect(new Set(await Promise.all([...lost, ...others].map(decide)))).toEqual(new Set(['admitted']));
    }
    cluster.nodes[1]?.resume();
    await until('it is back', () => events.at(-1) === 'available');
    await until('all is charged', async () => {
      const states = await Promise.all(lost.slice(1).map((key) => store.peek(policies, [key]).catch(() => [])));
      return states.every(([state]) => state?.remaining === LIMIT - 4);
    });
    store.close();
  }, 30_000);

  it('decides although the clocks of its servers differ', async () => {
    const script = scriptOf(client, { prefix, timeout: 5000 });
    await script.probe(0);
    // What is known of the time comes from another server, whose clock is an hour behind.
    script.clock.latest = () => Date.now() - 3_600_000;
    const batcher = new OperationBatcher(script, () => undefined);
    for (const key of others) {
      expect((await batcher.run(admission(policies, [redisKey(prefix, key)], [1]))).status).toBe('admitted');
    }
  });
});
