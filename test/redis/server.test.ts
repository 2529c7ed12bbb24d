import { expect, it } from 'vitest';
import { describeRedis } from './describe.js';
import { isAlive, until } from './processes.js';
import { startCluster, startRedis } from './server.js';

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
