import { type GlideRedisClient, glidePort, isGlide } from './glide.js';
import { nodeRedisPort } from './node-redis.js';
import { isNodeRedis, type NodeRedisClient } from './node-redis-client.js';
import type { RedisPort } from './port.js';

/** A client of another package than ioredis: node-redis 5 (`redis`), or Valkey GLIDE 2 (`@valkey/valkey-glide`). */
export type OtherRedisClient = NodeRedisClient | GlideRedisClient;

/** What an error says about a client that is none of them. */
export const ACCEPTED_CLIENTS =
  'must be a client of ioredis (Redis, Cluster), of redis 5 (createClient, createCluster, createSentinel) or of ' +
  '@valkey/valkey-glide (GlideClient, GlideClusterClient)';

/**
 * The commands of a client, under the names of ioredis. What is not recognized is returned as it is: the caller checks that
 * it has the commands that it needs. Undefined: they have the same names, and do something else.
 */
export function portOf<Client extends object>(client: Client | OtherRedisClient): Client | RedisPort | undefined {
  if (typeof client !== 'object' || client === null) return undefined;
  const known = ports.get(client);
  if (known !== undefined) return known;
  if (isNodeRedis(client)) return remember(client, nodeRedisPort(client));
  if (isGlide(client)) return remember(client, glidePort(client));
  return isLookalike(client) ? undefined : client;
}

/** One for each client, so that two stores can tell that they have the same one. */
const ports = new WeakMap<object, RedisPort>();

function remember(client: object, port: RedisPort): RedisPort {
  ports.set(client, port);
  return port;
}

/**
 * Node-redis 4, or a pool. Its `set` ignores options as ioredis writes them, such as `NX`: every replay would be new.
 */
function isLookalike(client: object): boolean {
  const has = (name: string) => typeof Reflect.get(client, name) === 'function';
  return has('sendCommand') && !has('evalshaBuffer');
}
