import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { sequence } from '../../../src/index.js';
import { operatorControls } from '../../../src/operator/index.js';
import { redisOperatorStore } from '../../../src/redis.js';
import { measure, operatorStoreContract } from '../../contracts/operator-store.js';
import { ask, testExchange } from '../../exchange-fixture.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis, useCluster, useRedis } from '../../redis/suite.js';

const freshPrefix = prefixesOf('operator');
const ALICE = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'k1' };
const OLGA = { id: 'olga', scheme: 'test', scopes: ['admin'], credentialId: 'k2' };

describeRedis(
  'a Redis server',
  () => {
    const target = useAnyRedis();

    operatorStoreContract('redisOperatorStore', () =>
      redisOperatorStore({ client: target.client(), prefix: freshPrefix(), timeout: '10s' }),
    );

    it('takes effect in another process within a second, and stays through the restart of both', async () => {
      const prefix = freshPrefix();
      const process = () =>
        operatorControls({
          store: redisOperatorStore({ client: target.client(), prefix, timeout: '10s' }),
          sink: () => undefined,
        });
      const [one, other] = [process(), process()];
      expect((await ask(other, { principal: ALICE })).passed).toBe(true);
      const { exchange } = testExchange({ principal: OLGA });
      const startedAt = performance.now();
      expect(await one.act(exchange, { action: 'suspend', client: 'alice' })).toMatchObject({ result: 'done' });
      expect((await ask(one, { principal: ALICE })).status).toBe(403);
      await expect
        .poll(async () => (await ask(other, { principal: ALICE })).status, { timeout: 5000, interval: 10 })
        .toBe(403);
      expect(performance.now() - startedAt).toBeLessThan(1000);

      await one.act(exchange, { action: 'resume', client: 'alice' });
      await one.act(exchange, { action: 'allow', client: 'alice' });
      const allowed = async () => (await ask(other, { principal: ALICE })).exchange.exceedsQuotas;
      await expect.poll(allowed, { timeout: 5000, interval: 10 }).toBe(true);
      const restarted = process();
      expect((await ask(restarted, { principal: ALICE })).exchange.exceedsQuotas).toBe(true);
    });

    it('reads everything only after a change', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      const store = redisOperatorStore({ client, prefix });
      await store.add(measure());
      const replies: unknown[] = [];
      const evalsha = client.evalsha.bind(client) as (...args: unknown[]) => Promise<unknown>;
      vi.spyOn(client, 'evalsha').mockImplementation((async (...args: unknown[]) => {
        const reply = await evalsha(...args);
        replies.push(reply);
        return reply;
      }) as never);
      const lists = [await store.list(), await store.list(), await store.list()];
      expect(lists).toEqual([[measure()], [measure()], [measure()]]);
      expect(replies.slice(1)).toEqual(['same', 'same']);
    });

    it('writes its measures again if the server has lost them, and warns', async () => {
      const warned: string[] = [];
      vi.spyOn(process, 'emitWarning').mockImplementation((text) => void warned.push(String(text)));
      const client = target.client();
      const prefix = freshPrefix();
      const store = redisOperatorStore({ client, prefix, timeout: '10s' });
      await store.add(measure());
      await store.list();
      await client.del(`${prefix}measures`);
      expect(await store.list()).toEqual([measure()]);
      expect(await redisOperatorStore({ client: target.client(), prefix }).list()).toEqual([measure()]);
      expect(warned).toEqual([expect.stringContaining('redisOperatorStore: Redis has lost the measures of operators')]);
      vi.restoreAllMocks();
    });

    it('does not go on with what is no measure', async () => {
      const client = target.client();
      const prefix = freshPrefix();
      await client.hset(`${prefix}measures`, 'suspended:alice', '{"kind":"banned"}', 'v', '1');
      const controls = operatorControls({ store: redisOperatorStore({ client, prefix }), sink: () => undefined });
      const { status, body, faults } = await ask(sequence(controls), { principal: ALICE });
      expect([status, JSON.parse(body).code]).toEqual([503, 'controls-unavailable']);
      expect(String(faults)).toContain('redisOperatorStore got something from Redis that is no measure');
    });
  },
  { anyServer: true },
);

describeRedis('a Redis server of its own', () => {
  const server = useRedis();

  it('refuses every client while it does not answer, and serves again as soon as it does', async () => {
    const options = { retryStrategy: () => 50, maxRetriesPerRequest: 0 };
    const store = redisOperatorStore({ client: server.client(options), timeout: '300ms' });
    const controls = operatorControls({ store, sink: () => undefined, maxAge: '50ms' });
    expect((await ask(controls, { principal: ALICE })).passed).toBe(true);
    await server.kill();
    await expect.poll(async () => (await ask(controls, { principal: ALICE })).status).toBe(503);
    const { exchange } = testExchange({ principal: OLGA });
    expect(await controls.act(exchange, { action: 'suspend', client: 'alice' })).toMatchObject({ result: 'failed' });
    await server.restart();
    await expect
      .poll(async () => (await ask(controls, { principal: ALICE })).passed, { timeout: 10_000, interval: 50 })
      .toBe(true);
  });
});

describeRedis('the permissions that docs/operator.md shows', () => {
  const server = useRedis();

  it('suffice', async () => {
    const page = readFileSync(new URL('../../../docs/operator.md', import.meta.url), 'utf8');
    const commands = /needs `(\+evalsha [^`]+)`/.exec(page)?.[1]?.split(' ') ?? [];
    await server.cli('ACL', 'SETUSER', 'gw', 'on', '>a-long-password', '~gw:*', 'resetchannels', '-@all', ...commands);
    const store = redisOperatorStore({ client: server.client({ username: 'gw', password: 'a-long-password' }) });
    expect(await store.add(measure())).toBe('added');
    expect(await store.add(measure())).toBe('exists');
    expect(await store.list()).toEqual([measure()]);
    expect(await store.remove('suspended', 'alice')).toBe(true);
  });
});

describeRedis('a Redis Cluster', () => {
  const cluster = useCluster();

  operatorStoreContract('redisOperatorStore in a Cluster', () =>
    redisOperatorStore({ client: cluster.client(), prefix: freshPrefix(), timeout: '10s' }),
  );
});

describe('redisOperatorStore', () => {
  it.each([
    [{ client: 'redis://:c4n4ry@localhost' }, 'gatewarden: redisOperatorStore "client" must be a client of ioredis'],
    [
      { client: { evalsha() {}, eval() {} }, prefix: 1 },
      'gatewarden: redisOperatorStore "prefix" must be a string, got 1',
    ],
  ])('refuses bad options without showing a password', (options, message) => {
    expect(() => redisOperatorStore(options as never)).toThrow(message);
  });
});
