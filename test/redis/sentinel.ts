import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { exited, startGuard, tail, until } from './processes.js';
import { freePort, type RedisServer, redisAvailability, startRedis } from './server.js';

const HOST = '127.0.0.1';
const SENTINELS = 3;
const START_WITHIN = 10_000;

/** A primary with a replica, and three sentinels that watch them. */
export interface RedisSentinels {
  /** The name of the primary at the sentinels. */
  readonly name: string;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  /** The primary at the start, and its replica. */
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  /** The port of the primary, as a sentinel sees it now. */
  primaryPort(): Promise<number>;
  /** Resolves when the replica has all that the primary has written so far. */
  replicated(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts them. Resolves when each sentinel knows the replica and the other sentinels. A failover takes a few seconds. */
export async function startSentinels(): Promise<RedisSentinels> {
  const name = 'gatewarden';
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const primary = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
    stops.push(() => primary.stop());
    const replica = await startRedis({ args: ['--replicaof', HOST, String(primary.port)] });
    stops.push(() => replica.stop());
    const isSynced = async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up');
    await until('the replica follows the primary', isSynced);
    const sentinels: { readonly host: string; readonly port: number }[] = [];
    for (let i = 0; i < SENTINELS; i++) {
      const sentinel = await startSentinel(name, primary.port);
      stops.push(sentinel.stop);
      sentinels.push({ host: HOST, port: sentinel.port });
    }
    const ask = async (port: number, ...args: string[]): Promise<unknown> => {
      const client = new Redis(port, HOST, { enableReadyCheck: false, retryStrategy: () => null });
      client.on('error', () => {});
      try {
        return await client.call('SENTINEL', ...args);
      } finally {
        client.disconnect();
      }
    };
    const knows = async (port: number, what: string, count: number) => {
      const known = await ask(port, what, name);
      return Array.isArray(known) && known.length === count;
    };
    await until('the sentinels know each other', async () => {
      for (const { port } of sentinels) {
        if (!(await knows(port, 'sentinels', SENTINELS - 1)) || !(await knows(port, 'replicas', 1))) return false;
      }
      return true;
    });
    return {
      name,
      sentinels,
      primary,
      replica,
      async primaryPort() {
        const address = await ask(sentinels[0]?.port ?? 0, 'get-master-addr-by-name', name);
        return Number(Array.isArray(address) ? address[1] : Number.NaN);
      },
      async replicated() {
        const written = offsetOf(await primary.cli('INFO', 'replication'), 'master_repl_offset');
        const received = async () => offsetOf(await replica.cli('INFO', 'replication'), 'slave_repl_offset') >= written;
        await until('the replica has all', received);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function offsetOf(info: string, field: string): number {
  return Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1]);
}

async function startSentinel(name: string, primaryPort: number): Promise<{ port: number; stop: () => Promise<void> }> {
  const redis = redisAvailability();
  if (!redis.available) throw new Error(`No Redis to start: ${redis.why}`);
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-sentinel-'));
  const guard = startGuard(folder);
  const port = await freePort();
  const file = join(folder, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    `bind ${HOST}`,
    `dir ${folder}`,
    `sentinel monitor ${name} ${HOST} ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 3000`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const child = spawn(redis.binary, [file, '--sentinel'], { stdio: ['ignore', 'pipe', 'pipe'] });
  guard.watch(child);
  const stop = async () => {
    child.kill('SIGKILL');
    await exited(child);
    await guard.end();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await watching(child);
    return { port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves when the log of a sentinel says that it watches the primary. */
function watching(child: ChildProcess): Promise<void> {
  const log = tail(child.stdout, child.stderr);
  return new Promise((resolve, reject) => {
    const end = (why?: string) => {
      clearTimeout(timer);
      if (why === undefined) resolve();
      else reject(new Error(`the sentinel ${why}\n${log()}`));
    };
    const timer = setTimeout(() => end(`did not start within ${START_WITHIN} ms`), START_WITHIN);
    child.stdout?.on('data', () => log().includes('+monitor') && end());
    child.once('error', (error) => end(error.message));
    child.once('close', (code, signal) => end(`ended with ${code ?? signal}`));
  });
}
