import { readFileSync } from 'node:fs';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { dailyQuota, slidingWindow } from '../../../../src/limit/policy.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import { FOR_ONE_SERVER, OTHER_CLIENTS } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { startRedis } from '../../../redis/server.js';
import { useCluster } from '../../../redis/suite.js';

const PAGE = readFileSync(new URL('../../../../docs/limits-in-redis.md', import.meta.url), 'utf8');
const BASIC = /^ACL SETUSER gatewarden (.+)$/m.exec(PAGE)?.[1]?.split(' ') ?? [];
/** What the page adds for the client of a Cluster. */
const OF_CLUSTER = /^ACL SETUSER gatewarden (\+cluster.+)$/m.exec(PAGE)?.[1]?.split(' ') ?? [];

const USER = { username: 'gatewarden', password: 'a-long-password' };

describeRedis('the permissions that docs/limits-in-redis.md shows', () => {
  const cluster = useCluster();
  beforeAll(async () => {
    for (const node of cluster.nodes) {
      expect(await node.cli('ACL', 'SETUSER', 'gatewarden', 'reset', ...BASIC, ...OF_CLUSTER)).toBe('OK');
    }
  }, 60_000);

  it.each(OTHER_CLIENTS)('suffice for $name in a Cluster', async ({ name, openCluster }) => {
    const { client, close } = await openCluster(cluster, USER);
    const store = redisStore({ client, prefix: `gw:${name}:`, timeout: '5s', refusalCache: false });
    onTestFinished(() => {
      store.close();
      close();
    });
    const policies = [slidingWindow({ limit: 2, window: '1m' }), dailyQuota({ limit: 5 })];
    for (let i = 0; i < 20; i++) {
      const kinds: string[] = [];
      for (let n = 0; n < 3; n++) kinds.push((await store.admit(policies, [`key-${i}`, `key-${i}`], [1, 1])).kind);
      expect(kinds).toEqual(['admitted', 'admitted', 'refused']);
    }
  });

  it.each(FOR_ONE_SERVER)('suffice for $name', async ({ open }) => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    expect(await server.cli('ACL', 'SETUSER', 'gatewarden', 'reset', ...BASIC)).toBe('OK');
    const { client, close } = await open(server, USER);
    const store = redisStore({ client, timeout: '5s', refusalCache: false });
    onTestFinished(() => {
      store.close();
      close();
    });
    const policies = [slidingWindow({ limit: 2, window: '1m' })];
    const kinds: string[] = [];
    for (let n = 0; n < 3; n++) kinds.push((await store.admit(policies, ['key'], [1])).kind);
    expect(kinds).toEqual(['admitted', 'admitted', 'refused']);
  });
});
