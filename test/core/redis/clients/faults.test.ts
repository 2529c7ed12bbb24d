import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, type TestContext } from 'vitest';
import { slidingWindow } from '../../../../src/limit/policy.js';
import { redisStore } from '../../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../../src/limit/redis/redis-store-options.js';
import { admitsAgain, outcomeOf, receiptOf } from '../../../limit/redis/outage-scene.js';
import { FOR_ONE_SERVER, openNodeRedis } from '../../../redis/clients.js';
import { describeRedis } from '../../../redis/describe.js';
import { LossyProxy } from '../../../redis/lossy-proxy.js';
import { until } from '../../../redis/processes.js';
import { RedisProxy } from '../../../redis/proxy.js';
import { startRespServer } from '../../../redis/resp-server.js';
import { type RedisServer, startRedis } from '../../../redis/server.js';
import { useRedis } from '../../../redis/suite.js';

const LIMIT = 10;
const policies = [slidingWindow({ limit: LIMIT, window: '1h' })];

describeRedis('redisStore', () => {
  describe.each(FOR_ONE_SERVER)('with $name', ({ open }) => {
    async function scene({ onTestFinished }: TestContext, options: Partial<RedisStoreOptions> = {}) {
      const server: RedisServer = await startRedis();
      const { client, close } = await open(server);
      const kinds: RedisStoreEvent['kind'][] = [];
      const store = redisStore({
        client,
        refusalCache: false,
        onEvent: ({ kind }) => kinds.push(kind),
        ...options,
      });
      onTestFinished(async () => {
        store.close();
        close();
        server.resume();
        await server.stop();
      });
      const decide = (key = 'key') =>
        store.admit(policies, [key], [1]).then(
          ({ kind }) => kind,
          ({ code }: { code: unknown }) => String(code),
        );
      return { server, store, kinds, decide };
    }

    describe.each([
      ['killed', (server: RedisServer) => server.kill(), (server: RedisServer) => server.restart()],
      ['stopped', (server: RedisServer) => server.pause(), (server: RedisServer) => server.resume()],
    ] as const)('whose server is %s', (how, leave, comeBack) => {
      it('refuses within the timeout, and counts on when it is back', async (context) => {
        const { server, store, kinds, decide } = await scene(context);
        for (let i = 0; i < 4; i++) expect(await decide()).toBe('admitted');
        await leave(server);
        let slowest = 0;
        for (let i = 0; i < 20; i++) {
          const sent = performance.now();
          expect(await decide()).toBe('GATEWARDEN_STORE_UNAVAILABLE');
          slowest = Math.max(slowest, performance.now() - sent);
        }
        // 250 ms and a little more, if the machine is busy. The outage lasts longer.
        expect(slowest).toBeLessThan(1000);
        expect(kinds).toEqual(['unavailable']);
        await comeBack(server);
        await until('it is back', () => kinds.includes('available'));
        // A restarted server is empty.
        const used = how === 'killed' ? 0 : 4;
        expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: LIMIT - used }]);
        const more: string[] = [];
        for (let i = 0; i < LIMIT; i++) more.push(await decide());
        expect(more.filter((kind) => kind === 'admitted')).toHaveLength(LIMIT - used);
        expect(kinds).toEqual(['unavailable', 'available']);
      }, 30_000);

      it('counts locally, and charges it afterwards', async (context) => {
        const { server, store, kinds, decide } = await scene(context, { onStoreFailure: 'local' });
        for (let i = 0; i < 4; i++) await decide();
        await leave(server);
        const kindsAway: string[] = [];
        for (let i = 0; i < LIMIT; i++) kindsAway.push(await decide());
        expect(kindsAway.filter((kind) => kind === 'admitted')).toHaveLength(LIMIT - 4);
        expect(kinds).toEqual(['unavailable']);
        await comeBack(server);
        await until('it is back', () => kinds.includes('available'));
        await until('all is charged', async () => {
          const [state] = await store.peek(policies, ['key']).catch(() => []);
          return state?.remaining === (how === 'killed' ? 4 : 0);
        });
      }, 30_000);
    });

    it('corrects a charge after an outage, once', async (context) => {
      const { server, store, kinds, decide } = await scene(context);
      const receipt = await receiptOf(store.admit(policies, ['key'], [6]));
      server.pause();
      const settled = store.settle(receipt, [2]);
      await until('the outage is noticed', async () => {
        await decide('other');
        return kinds.includes('unavailable');
      });
      server.resume();
      await settled;
      await until('it is corrected', async () => {
        const [state] = await store.peek(policies, ['key']).catch(() => []);
        return state?.remaining === LIMIT - 2;
      });
      await delay(300);
      expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: LIMIT - 2 }]);
      expect(kinds).not.toContain('correction-lost');
    }, 30_000);

    it('gives back what the very first call charged too late', async (context) => {
      const { server, store } = await scene(context);
      server.pause();
      await expect(store.admit(policies, ['key'], [1])).rejects.toMatchObject({
        code: 'GATEWARDEN_STORE_UNAVAILABLE',
        message: 'gatewarden: Redis did not answer within 250 ms',
      });
      server.resume();
      await until('the unit is back', async () => {
        const [state] = await store.peek(policies, ['key']).catch(() => []);
        return state?.remaining === LIMIT;
      });
    }, 30_000);

    it('charges once, and returns the answer that was lost', async (context) => {
      const server = await startRedis();
      const proxy = await LossyProxy.start(server);
      const { client, close } = await open({ host: '127.0.0.1', port: proxy.port });
      const store = redisStore({ client, timeout: '5s', refusalCache: false });
      context.onTestFinished(async () => {
        store.close();
        close();
        proxy.stop();
        await server.stop();
      });
      const first = await receiptOf(store.admit(policies, ['key'], [1]));
      proxy.dropNext = true;
      expect(await store.admit(policies, ['key'], [3])).toMatchObject({ kind: 'admitted', states: [{ remaining: 6 }] });
      expect(proxy.dropped).toBe(1);
      proxy.dropNext = true;
      await store.settle(first, [0]);
      expect(proxy.dropped).toBe(2);
      expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 7 }]);
    }, 30_000);

    it('decides exactly even if its connections are cut', async (context) => {
      const { server, store } = await scene(context, { timeout: '10s' });
      const many = [slidingWindow({ limit: 200, window: '1h' })];
      let admitted = 0;
      const callers = Array.from({ length: 10 }, async () => {
        for (let i = 0; i < 30; i++) if ((await store.admit(many, ['key'], [1])).kind === 'admitted') admitted++;
      });
      for (let i = 0; i < 3; i++) {
        await delay(20);
        await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      }
      await Promise.all(callers);
      expect(admitted).toBe(200);
      expect(await store.peek(many, ['key'])).toMatchObject([{ remaining: 0 }]);
    }, 30_000);

    it.each([
      ["OOM command not allowed when used memory > 'maxmemory'.", 'UNAVAILABLE'],
      ["READONLY You can't write against a read only replica.", 'UNAVAILABLE'],
      ['LOADING Redis is loading the dataset in memory', 'UNAVAILABLE'],
      ["NOPERM User default has no permissions to run the 'evalsha' command", 'UNAVAILABLE'],
      ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", 'UNAVAILABLE'],
      ['ERR upstream failure: connection to the script server was lost', 'UNAVAILABLE'],
      ['WRONGTYPE Operation against a key holding the wrong kind of value', 'DATA'],
      ['ERR user_script:44: Bad data format in input. script: a757e2, on @user_script:44.', 'DATA'],
      ["CROSSSLOT Keys in request don't hash to the same slot", 'DATA'],
    ])('reports %j as the server sent it', async (reply, code) => {
      const server = await startRespServer((name, args) => {
        // GLIDE looks for the primary.
        if (name === 'info') return '$11\r\nrole:master\r\n';
        if (name === 'hello' && args[0] === '3') return '%1\r\n+proto\r\n:3\r\n';
        return name.startsWith('eval') ? `-${reply}\r\n` : '+OK\r\n';
      });
      const { client, close } = await open({ host: '127.0.0.1', port: server.port });
      const store = redisStore({ client, timeout: '10s' });
      try {
        const error: unknown = await store.admit(policies, ['key'], [1]).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: `GATEWARDEN_STORE_${code}` });
        expect(String(error)).toContain(reply);
        expect(server.commands.filter(([name]) => name?.startsWith('EVAL'))).toHaveLength(1);
      } finally {
        store.close();
        close();
        server.stop();
      }
    });
  });

  describe('over a connection that dies without a word', () => {
    const server = useRedis();

    // GLIDE keeps such a connection until the system gives it up.
    it('node-redis is asked for a new one, and is back within seconds', async () => {
      const proxy = await RedisProxy.start(server);
      const { client, close } = await openNodeRedis({ host: '127.0.0.1', port: proxy.port });
      const kinds: string[] = [];
      const store = redisStore({
        client,
        prefix: `silent-${proxy.port}:`,
        refusalCache: false,
        onEvent: ({ kind }) => kinds.push(kind),
      });
      const decide = () => outcomeOf(store.admit(policies, ['key'], [1]));
      try {
        expect(await decide()).toBe('admitted');
        let reconnections = 0;
        if (!('on' in client)) throw new Error('not node-redis');
        client.on('ready', () => {
          reconnections++;
        });
        proxy.silence();
        await admitsAgain(decide, 12_000);
        expect(kinds).toEqual(['unavailable', 'available']);
        expect(reconnections).toBe(1);
      } finally {
        store.close();
        close();
        proxy.stop();
      }
    }, 30_000);
  });
});
