import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import { describeRedis } from './describe.js';
import { isAlive, spawnWorker, until } from './processes.js';
import { openRedis, type RedisCluster, type RedisServer, startCluster, startRedis } from './server.js';

async function redis(context: TestContext): Promise<RedisServer> {
  const server = await startRedis();
  context.onTestFinished(() => server.stop());
  return server;
}

const folderOf = async (server: RedisServer) => (await server.cli('CONFIG', 'GET', 'dir')).split('\n')[1] ?? '';

// Each test has servers of its own, so they wait together.
describeRedis('a Redis server of the suite’s own', () => {
  let clusterStart: Promise<RedisCluster>;
  beforeAll(() => {
    // A Cluster takes two seconds to start. Only the last tests wait for it.
    clusterStart = startCluster();
    clusterStart.catch(() => undefined);
  });

  it.concurrent('starts, is killed, and starts again empty on the same port', async () => {
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

  it.concurrent('answers nothing while it is paused, and everything afterwards', async (context) => {
    const server = await redis(context);
    const client = server.client();
    expect(await client.ping()).toBe('PONG');
    server.pause();
    let answered = false;
    const pong = client.ping().then(() => {
      answered = true;
    });
    // The rest of this process continues meanwhile.
    await client.connect().catch(() => undefined);
    expect(answered).toBe(false);
    server.resume();
    await pong;
    expect(answered).toBe(true);
  });

  it.concurrent('leaves nothing after stop(), whether it is running, paused or killed', async (context) => {
    const servers = await Promise.all([redis(context), redis(context), redis(context)]);
    const [running, paused, killed] = servers;
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

  it.concurrent('leaves nothing when the process that started it is killed', async (context) => {
    const owner = spawnWorker(new URL('owner-worker.ts', import.meta.url));
    context.onTestFinished(() => owner.stop());
    const [port, folder] = JSON.parse(String(await owner.receive()));
    expect(existsSync(folder)).toBe(true);
    await expect(startRedis({ port })).rejects.toThrow('already in use');

    await owner.stop();
    // Not by its process id: in some containers no process reaps orphans, and they stay zombies.
    await until('the folder is gone', () => !existsSync(folder));
    await until('the port is free', async () => {
      const next = await startRedis({ port }).catch(() => undefined);
      await next?.stop();
      return next !== undefined;
    });
  });

  it.concurrent('says why it cannot start', async () => {
    const start = startRedis({ args: ['--no-such-option', '1'] });
    await expect(start).rejects.toThrow(/ended with 1\n[\s\S]*no-such-option/);
  });

  it.concurrent('says that its port is in use', async (context) => {
    const { port } = await redis(context);
    await expect(startRedis({ port })).rejects.toThrow('already in use');
  });

  describe('as a Cluster', () => {
    let cluster: RedisCluster;
    beforeAll(async () => {
      cluster = await clusterStart;
    }, 60_000);
    afterAll(() => cluster.stop());

    it('has three masters that share the keys', async () => {
      const client = cluster.client();
      for (let i = 0; i < 30; i++) await client.set(`key-${i}`, 'value');
      const sizes = await Promise.all(cluster.nodes.map(async (node) => Number(await node.cli('DBSIZE'))));
      expect(sizes.reduce((sum, size) => sum + size)).toBe(30);
      for (const size of sizes) expect(size).toBeGreaterThan(0);
    });

    it('leaves nothing after stop()', async () => {
      const pids = cluster.nodes.map(({ pid }) => pid);
      const client = cluster.client();
      await client.set('key', 'value');
      const ended = once(client, 'end');
      await cluster.stop();
      expect(pids.filter(isAlive)).toEqual([]);
      await ended;
    });
  });
});

describeRedis(
  'any server',
  () => {
    it('is that of REDIS_URL if set, else one of the suite’s own', async () => {
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
  it('has a host and a port, by default 6379', async () => {
    const before = process.env.REDIS_URL;
    onTestFinished(() => {
      if (before === undefined) delete process.env.REDIS_URL;
      else process.env.REDIS_URL = before;
    });
    process.env.REDIS_URL = 'redis://user:word@redis.example/2';
    expect(await openRedis()).toMatchObject({ host: 'redis.example', port: 6379 });
  });
});
