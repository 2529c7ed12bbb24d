import { afterAll, beforeAll } from 'vitest';
import type { Opened } from './clients.js';
import {
  openRedis,
  type RedisCluster,
  type RedisServer,
  type RedisServerOptions,
  type RedisTarget,
  startCluster,
  startRedis,
} from './server.js';

/** A Cluster takes about two seconds to start, and longer if the machine is busy. */
const CLUSTER_WITHIN = 60_000;

/** A `redis-server` of the suite's own. It starts before the first test of the suite and stops after the last one. */
export function useRedis(options?: RedisServerOptions): RedisServer {
  return startedForSuite(() => startRedis(options));
}

/** Like `useRedis()`, but the server of `REDIS_URL` if that is set. */
export function useAnyRedis(): RedisTarget {
  return startedForSuite(openRedis);
}

/** A Cluster of the suite's own. It starts before the first test of the suite and stops after the last one. */
export function useCluster(options?: { readonly withReplica?: boolean }): RedisCluster {
  return startedForSuite(() => startCluster(options), CLUSTER_WITHIN);
}

/** A Cluster that starts while the first tests run. Only a test that asks for it waits for it. */
export function useClusterLater(): () => Promise<RedisCluster> {
  let starting: Promise<RedisCluster> | undefined;
  const cluster = () => starting ?? Promise.reject(new Error('the suite has not begun'));
  beforeAll(() => {
    starting = startCluster();
    starting.catch(() => undefined);
  });
  afterAll(async () => (await cluster()).stop(), CLUSTER_WITHIN);
  return cluster;
}

/** A client that is opened before the first test of the suite and closed after the last one. */
export function useClient<Client>(open: () => Promise<Opened<Client>>): () => Client {
  let opened: Opened<Client> | undefined;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());
  return () => {
    if (opened === undefined) throw new Error('the client is used before the suite has begun');
    return opened.client;
  };
}

let prefixes = 0;

/** Makes key prefixes that no other suite and no other process has. */
export function prefixesOf(subject: string): () => string {
  return () => `${subject}-${process.pid}-${prefixes++}:`;
}

/** Stands for what the suite starts, and has its members once it has started. */
function startedForSuite<Started extends { stop(): Promise<void> }>(
  start: () => Promise<Started>,
  within?: number,
): Started {
  let started: Started | undefined;
  beforeAll(async () => {
    started = await start();
  }, within);
  afterAll(() => started?.stop(), within);
  return new Proxy({} as Started, {
    get(_, member) {
      if (started === undefined) throw new Error(`${String(member)} is used before the suite has begun`);
      return Reflect.get(started, member);
    },
  });
}
