import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import { exited, findExecutable, startGuard, tail, until } from './processes.js';

const HOST = '127.0.0.1';
const SLOTS = 16_384;
const MASTERS = 3;
const START_WITHIN = 10_000;
/** Two seconds, unless the machine is busy. */
const START_CLUSTER_WITHIN = 30_000;
const ATTEMPTS = 10;

export type RedisAvailability =
  | { readonly available: true; readonly binary: string }
  | { readonly available: false; readonly why: string };

/** A Redis to test against. Each suite needs a key prefix of its own, since suites may share the server. */
export interface RedisTarget {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** A new client, disconnected by `stop()`. It has an `error` listener, so an outage is not printed. */
  client(options?: RedisOptions): Redis;
  /** One command over a connection of its own. The answer has a line for each element, as with `redis-cli`. */
  cli(command: string, ...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** A `redis-server` process of the suite's own. */
export interface RedisServer extends RedisTarget {
  /** Of the current process. It changes with `restart()`. */
  readonly pid: number;
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open, and nothing is answered until `resume()`. */
  pause(): void;
  resume(): void;
  /** Starts an empty server on the same port, after `kill()`; resolves when it answers. */
  restart(): Promise<void>;
}

/** Three masters that share the slots. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  /** A replica of the second master, if asked for. */
  readonly replica: RedisServer | undefined;
  /** A new client, disconnected by `stop()`. It has an `error` listener. */
  client(options?: ClusterOptions): Cluster;
  stop(): Promise<void>;
}

export interface RedisServerOptions {
  /** Default: a free port. */
  readonly port?: number;
  /** More arguments of redis-server, such as `['--maxmemory-policy', 'noeviction']`. */
  readonly args?: readonly string[];
}

/** Whether this machine can run Redis processes of the suite's own. */
export function redisAvailability(): RedisAvailability {
  const binary = findExecutable('redis-server') ?? findExecutable('valkey-server');
  return binary === undefined
    ? { available: false, why: 'there is no redis-server on the PATH' }
    : { available: true, binary };
}

/** For suites that can use any server: that of `REDIS_URL` if set, else a process of the suite's own. */
export async function openRedis(): Promise<RedisTarget> {
  const url = process.env.REDIS_URL;
  return url ? target(url) : startRedis();
}

/** Starts a `redis-server` that stores nothing on disk. Resolves when it answers PING. */
export async function startRedis({ port, args = [] }: RedisServerOptions = {}): Promise<RedisServer> {
  const redis = redisAvailability();
  if (!redis.available) throw new Error(`No Redis to start: ${redis.why}`);
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(redis.binary, port ?? (await freePort()), args);
    } catch (error) {
      // Another test process may have taken the port since it was found free.
      const taken = error instanceof Error && error.message.includes('already in use');
      if (!taken || port !== undefined || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Starts three masters. Resolves when each of them reports that the cluster is ok, which takes about two seconds. */
export async function startCluster({ withReplica = false } = {}): Promise<RedisCluster> {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-announce-ip', HOST];
  const started = await Promise.allSettled(Array.from({ length: MASTERS }, () => startRedis({ args })));
  const nodes = started.flatMap((node) => (node.status === 'fulfilled' ? [node.value] : []));
  const clients: Cluster[] = [];
  const stop = async () => {
    for (const client of clients.splice(0)) client.disconnect();
    await Promise.all([...nodes, ...(replica === undefined ? [] : [replica])].map((node) => node.stop()));
  };
  let replica: RedisServer | undefined;
  try {
    for (const node of started) if (node.status === 'rejected') throw node.reason;
    await joinUp(nodes);
    if (withReplica) {
      replica = await startRedis({ args });
      await follow(replica, nodes[1] as RedisServer);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    nodes,
    replica,
    client(options = {}) {
      const client = new Cluster(
        nodes.map(({ host, port }) => ({ host, port })),
        options,
      );
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
    stop,
  };
}

async function joinUp(nodes: readonly RedisServer[]): Promise<void> {
  const first = (index: number) => Math.floor((index * SLOTS) / nodes.length);
  await Promise.all(
    nodes.map(async (node, index) => {
      // An epoch for each node, as redis-cli does. Otherwise the nodes first have to find out whose slots are newer.
      await node.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      const slots = Array.from({ length: first(index + 1) - first(index) }, (_, offset) => first(index) + offset);
      // Not ADDSLOTSRANGE, which Redis 6.2 lacks.
      await node.cli('CLUSTER', 'ADDSLOTS', ...slots.map(String));
    }),
  );
  for (const node of nodes) {
    for (const peer of nodes) if (peer !== node) await node.cli('CLUSTER', 'MEET', HOST, String(peer.port));
  }
  await until(
    'a cluster whose state is ok on all nodes',
    async () => {
      const infos = await Promise.all(nodes.map((node) => node.cli('CLUSTER', 'INFO')));
      return infos.every(
        (info) => info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${MASTERS}`),
      );
    },
    START_CLUSTER_WITHIN,
  );
}

/** Makes an empty node the replica of a master. */
async function follow(node: RedisServer, master: RedisServer): Promise<void> {
  await node.cli('CLUSTER', 'MEET', HOST, String(master.port));
  const id = await master.cli('CLUSTER', 'MYID');
  await until('the node knows the master', async () => (await node.cli('CLUSTER', 'NODES')).includes(id));
  await node.cli('CLUSTER', 'REPLICATE', id);
  await until('the node is its replica', async () => {
    const [own, known] = await Promise.all([node.cli('INFO', 'replication'), master.cli('CLUSTER', 'REPLICAS', id)]);
    return own.includes('master_link_status:up') && known.includes(String(node.port));
  });
}

async function start(binary: string, port: number, args: readonly string[]): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-redis-'));
  const guard = startGuard(folder);
  const server = target(`redis://${HOST}:${port}`);
  const launch = async (): Promise<ChildProcess> => {
    const line = ['--port', String(port), '--bind', HOST, '--dir', folder, '--save', '', '--appendonly', 'no'];
    const child = spawn(binary, [...line, '--daemonize', 'no', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    guard.watch(child);
    try {
      await ready(child);
      await server.cli('PING');
      return child;
    } catch (error) {
      child.kill('SIGKILL');
      await exited(child);
      throw error;
    }
  };
  const removeAll = async () => {
    await guard.end();
    await rm(folder, { recursive: true, force: true });
  };

  let child: ChildProcess;
  try {
    child = await launch();
  } catch (error) {
    await removeAll();
    throw error;
  }
  const kill = async () => {
    child.kill('SIGKILL');
    await exited(child);
  };
  return {
    ...server,
    get pid() {
      return child.pid ?? Number.NaN;
    },
    kill,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async restart() {
      await kill();
      child = await launch();
    },
    async stop() {
      await server.stop();
      await kill();
      await removeAll();
    },
  };
}

function target(url: string): RedisTarget {
  const { hostname, port } = new URL(url);
  const clients: Redis[] = [];
  const connect = (options: RedisOptions) => {
    const client = new Redis(url, options);
    client.on('error', () => {});
    return client;
  };
  return {
    url,
    host: hostname,
    port: Number(port || 6379),
    client(options = {}) {
      const client = connect(options);
      clients.push(client);
      return client;
    },
    async cli(command, ...args) {
      const bounded = { connectTimeout: 5_000, commandTimeout: 5_000, retryStrategy: () => null };
      const client = connect({ ...bounded, lazyConnect: true, enableReadyCheck: false });
      try {
        await client.connect();
        return asText(await client.call(command, ...args));
      } finally {
        client.disconnect();
      }
    },
    async stop() {
      for (const client of clients.splice(0)) client.disconnect();
    },
  };
}

function asText(reply: unknown): string {
  if (Array.isArray(reply)) return reply.map(asText).join('\n');
  return reply === null ? '' : String(reply);
}

/** Resolves when the server's log says that it accepts connections. */
function ready(child: ChildProcess): Promise<void> {
  const log = tail(child.stdout, child.stderr);
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`redis-server ${why}\n${log()}`));
    const timer = setTimeout(() => fail(`did not start within ${START_WITHIN} ms`), START_WITHIN);
    child.stdout?.on('data', () => {
      if (!log().includes('Ready to accept connections')) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      fail(error.message);
    });
    // 'close', not 'exit': by then the whole log has arrived.
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      fail(`ended with ${code ?? signal}`);
    });
  });
}

/**
 * A port such that it and port + 10000 are free: a cluster node has its bus there (`cluster-port` needs Redis 7). It is
 * below the ephemeral ports. Otherwise a client of a dead server could be given the server's port and talk to itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_240 + Math.floor(Math.random() * 9_760);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });
}
