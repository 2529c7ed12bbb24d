import { GlideClient, GlideClusterClient, Logger } from '@valkey/valkey-glide';
import { createClient, createCluster, createSentinel } from 'redis';
import type {
  NodeRedisCluster,
  NodeRedisSentinel,
  NodeRedisSingle,
} from '../../src/core/redis/clients/node-redis-client.js';
import type { NodeRedisSubscriber } from '../../src/redis.js';
import type { RedisCluster, RedisTarget } from './server.js';

/** A client of node-redis or GLIDE for one server. It can be a subscriber too. */
export type SingleClient = (NodeRedisSingle & NodeRedisSubscriber) | GlideClient;

/** A client of node-redis or GLIDE, for all stores. */
export type OtherClient = SingleClient | NodeRedisCluster | NodeRedisSentinel | GlideClusterClient;

/** A connected client, and how to close it. */
export interface Opened<Client> {
  readonly client: Client;
  close(): void;
}

interface RedisUser {
  readonly username: string;
  readonly password: string;
}

/** How the tests open the clients of another package than ioredis. Without a user, as the default one. */
export interface ClientPackage {
  readonly name: string;
  open(target: Pick<RedisTarget, 'host' | 'port'>, user?: RedisUser): Promise<Opened<SingleClient>>;
  openCluster(cluster: Pick<RedisCluster, 'nodes'>, user?: RedisUser): Promise<Opened<OtherClient>>;
}

// GLIDE prints each error reply, also those that a script's first call always gets.
Logger.init('off');

/** A client waits longer than a store, and takes all that a contract sends at once. */
const GLIDE = { requestTimeout: 20_000, inflightRequestsLimit: 5000 };

function nodeRedis(RESP: 2 | 3): ClientPackage {
  return {
    name: `redis 5, RESP${RESP}`,
    async open({ host, port }, user) {
      const client = createClient({ ...user, RESP, socket: { host, port, reconnectStrategy: 100 } });
      client.on('error', () => {});
      await client.connect();
      return { client, close: () => void (client.isOpen && client.destroy()) };
    },
    async openCluster({ nodes }, user) {
      const rootNodes = nodes.map(({ url }) => ({ url }));
      const client = createCluster({ RESP, rootNodes, ...(user && { defaults: user }) });
      client.on('error', () => {});
      client.on('node-error', () => {});
      await client.connect();
      return { client, close: () => void (client.isOpen && client.destroy()) };
    },
  };
}

const glide: ClientPackage = {
  name: '@valkey/valkey-glide',
  async open({ host, port }, user) {
    const addresses = [{ host, port }];
    const client = await GlideClient.createClient({ addresses, ...GLIDE, ...(user && { credentials: user }) });
    return { client, close: () => client.close() };
  },
  async openCluster({ nodes }, user) {
    const addresses = nodes.map(({ host, port }) => ({ host, port }));
    const client = await GlideClusterClient.createClient({ addresses, ...GLIDE, ...(user && { credentials: user }) });
    return { client, close: () => client.close() };
  },
};

export const openNodeRedis = nodeRedis(2).open;

export const OTHER_CLIENTS: readonly ClientPackage[] = [nodeRedis(2), nodeRedis(3), glide];

/** Each package once, for suites that take long: node-redis over RESP2 asks one server, over RESP3 a Cluster. */
export const FOR_ONE_SERVER: readonly ClientPackage[] = [nodeRedis(2), glide];
export const FOR_A_CLUSTER: readonly ClientPackage[] = [nodeRedis(3), glide];

/** A client of node-redis that asks sentinels for the primary. */
export async function openNodeRedisSentinel(
  name: string,
  sentinels: readonly { readonly host: string; readonly port: number }[],
): Promise<Opened<NodeRedisSentinel>> {
  const client = createSentinel({
    name,
    sentinelRootNodes: sentinels.map(({ host, port }) => ({ host, port })),
    nodeClientOptions: { socket: { host: '127.0.0.1', port: 0, reconnectStrategy: 100 } },
    scanInterval: 500,
  });
  client.on('error', () => {});
  await client.connect();
  return { client, close: () => void (client.isOpen && client.destroy()) };
}
