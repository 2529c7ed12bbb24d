import { setTimeout as delay } from 'node:timers/promises';
import { createSentinel } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../../src/limit/policy.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import { FOR_A_CLUSTER, type Opened, type OtherClient } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { startSentinels } from '../../../redis/sentinel.js';
import type { RedisServer } from '../../../redis/server.js';
import { useCluster } from '../../../redis/suite.js';

const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`);
const LIMIT = 20;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];

/** Decides without a pause while the connections to these servers are cut three times. Each request gets its answer. */
async function expectExact({ client, close }: Opened<OtherClient>, servers: readonly Pick<RedisServer, 'cli'>[]) {
  const store = redisStore({ client, prefix: `cut-${process.pid}:`, timeout: '10s', refusalCache: false });
  onTestFinished(() => {
    store.close();
    close();
  });
  const admitted = new Map(KEYS.map((key) => [key, 0]));
  let isOver = false;
  const callers = KEYS.map(async (key) => {
    for (let i = 0; i < 2 * LIMIT || !isOver; i++) {
      const { kind } = await store.admit(policies, [key], [1]);
      if (kind === 'admitted') admitted.set(key, (admitted.get(key) ?? 0) + 1);
    }
  });
  for (let i = 0; i < 8; i++) {
    await delay(20);
    for (const server of servers) await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  }
  isOver = true;
  await Promise.all(callers);
  expect([...admitted.values()]).toEqual(KEYS.map(() => LIMIT));
  for (const key of KEYS) expect(await store.peek(policies, [key])).toMatchObject([{ remaining: 0 }]);
}

describeRedis('redisStore, if its connections are cut,', () => {
  const cluster = useCluster();

  it.each(FOR_A_CLUSTER)(
    'decides exactly in a Cluster, with $name',
    async ({ openCluster }) => {
      for (const node of cluster.nodes) await node.cli('FLUSHALL');
      await expectExact(await openCluster(cluster), cluster.nodes);
    },
    30_000,
  );

  it('decides exactly behind sentinels, with redis 5', async () => {
    const redis = await startSentinels();
    onTestFinished(() => redis.stop());
    const client = createSentinel({
      name: redis.name,
      sentinelRootNodes: [...redis.sentinels],
      passthroughClientErrorEvents: true,
    });
    client.on('error', () => {});
    await client.connect();
    await expectExact({ client, close: () => client.destroy() }, [redis.primary]);
  }, 60_000);
});
