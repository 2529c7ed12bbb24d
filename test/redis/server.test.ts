import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { describeRedis } from './describe.js';
import { isAlive, spawnWorker, until } from './processes.js';
import { openRedis, type RedisServer, startCluster, startRedis } from './server.js';

describeRedis('a Redis of the suite’s own', () => {
  it('starts, is killed, and starts again empty on the same port', async () => {
    const server = await startRedis();
    try {
      expect(await server.cli('SET', 'key', 'value')).toBe('OK');
      const { pid } = server;
      await server.kill();
      expect(isAlive(pid)).toBe(false);
      await server.restart();
      expect(server.pid).not.toBe(pid);
      expect(await server.cli('GET', 'key')).toBe('');
    } finally {
      await server.stop();
    }
    expect(isAlive(server.pid)).toBe(false);
  });

  it('answers nothing while it is paused, and everything afterwards', async () => {
    const server = await startRedis();
    try {
      const client = server.client();
      expect(await client.ping()).toBe('PONG');
      server.pause();
      let answered = false;
      const pong = client.ping().then(() => {
        answered = true;
      });
      // Another process lives on meanwhile.
      await client.connect().catch(() => undefined);
      expect(answered).toBe(false);
      server.resume();
      await pong;
      expect(answered).toBe(true);
    } finally {
      server.resume();
      await server.stop();
    }
  });

  it('makes a cluster of three masters that share the keys', async () => {
    const cluster = await startCluster();
    try {
      const client = cluster.client();
      for (let i = 0; i < 30; i++) await client.set(`key-${i}`, 'value');
      const sizes = await Promise.all(cluster.nodes.map(async (node) => Number(await node.cli('DBSIZE'))));
      expect(sizes.reduce((sum, size) => sum + size)).toBe(30);
      for (const size of sizes) expect(size).toBeGreaterThan(0);
    } finally {
      await cluster.stop();
    }
    await until('all masters are gone', () => cluster.nodes.every(({ pid }) => !isAlive(pid)));
  }, 60_000);
});

async function redis(): Promise<RedisServer> {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  return server;
}

const folderOf = async (server: RedisServer) => (await server.cli('CONFIG', 'GET', 'dir')).split('\n')[1] ?? '';

describeRedis('what is left of a Redis', () => {
  it('is nothing after stop(), be it running, paused or killed', async () => {
    const [running, paused, killed] = await Promise.all([redis(), redis(), redis()]);
    const servers = [running, paused, killed];
    const folders = await Promise.all(servers.map(folderOf));
    const client = running.client();
    await client.ping();
    const ended = once(client, 'end');
    paused.pause();
    await killed.kill();

    await Promise.all(servers.map((server) => server.stop()));
    expect(servers.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(folders.filter(existsSync)).toEqual([]);
    await ended;
  });

  it('is nothing once the process that started it is killed', async () => {
    const owner = spawnWorker(new URL('owner-worker.ts', import.meta.url));
    onTestFinished(() => owner.stop());
    const [port, folder] = JSON.parse(String(await owner.receive()));
    expect(existsSync(folder)).toBe(true);
    await expect(startRedis({ port })).rejects.toThrow('already in use');

    await owner.stop();
    // Not by its process id: an orphan may stay a zombie where nothing takes in orphans, as in some containers.
    await until('the folder is gone', () => !existsSync(folder));
    await until('the port is free', async () => {
      const next = await startRedis({ port }).catch(() => undefined);
      await next?.stop();
      return next !== undefined;
    });
  });

  it('is nothing of a cluster after stop()', async () => {
    const cluster = await startCluster();
    const pids = cluster.nodes.map(({ pid }) => pid);
    const client = cluster.client();
    await client.set('key', 'value');
    const ended = once(client, 'end');
    await cluster.stop();
    expect(pids.filter(isAlive)).toEqual([]);
    await ended;
  }, 60_000);
});

describeRedis('a Redis that cannot start', () => {
  it('says why', async () => {
    await expect(startRedis({ args: ['--no-such-option', '1'] })).rejects.toThrow(
      /ended with 1\n[\s\S]*no-such-option/,
    );
  });

  it('says that its port is taken', async () => {
    const { port } = await redis();
    await expect(startRedis({ port })).rejects.toThrow('already in use');
  });
});

describeRedis(
  'any server',
  () => {
    it('is that of REDIS_URL where set, else one of the suite’s own', async () => {
      const server = await openRedis();
      onTestFinished(() => server.stop());
      if (process.env.REDIS_URL) expect(server.url).toBe(process.env.REDIS_URL);
      expect(await server.client().ping()).toBe('PONG');
      expect(await server.cli('ECHO', 'hello')).toBe('hello');
    });
  },
  { anyServer: true },
);

describe('the address in REDIS_URL', () => {
  it('is taken apart, with the default port where it names none', async () => {
    const before = process.env.REDIS_URL;
    onTestFinished(() => {
      if (before === undefined) delete process.env.REDIS_URL;
      else process.env.REDIS_URL = before;
    });
    process.env.REDIS_URL = 'redis://user:word@redis.example/2';
    expect(await openRedis()).toMatchObject({ host: 'redis.example', port: 6379 });
  });
});
