import { Redis } from 'ioredis';
import * as client from 'prom-client';
import { expect, it, onTestFinished } from 'vitest';
import { limit, sequence, slidingWindow } from '../../../src/index.js';
import { metrics } from '../../../src/observe/metrics/index.js';
import { redisStore } from '../../../src/redis.js';
import { worker } from '../../../src/worker/index.js';
import { testExchange } from '../../exchange-fixture.js';
import { startRedis } from '../../redis/server.js';
import { CLOSED_URL, sleepingWorker } from '../../worker/scene.js';

function measuring() {
  const register = new client.Registry();
  const lines = async () => (await register.metrics()).split('\n').filter((line) => line.startsWith('gatewarden_'));
  return { measured: metrics({ client, register }), lines };
}

it('shows an outage of a real Redis, the requests that it cost, and its end', async () => {
  const server = await startRedis();
  const redis = new Redis(server.url, { maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  const { measured, lines } = measuring();
  const store = redisStore({ client: redis, timeout: '100ms', onEvent: measured.storeEvents() });
  onTestFinished(async () => {
    store.close();
    redis.disconnect();
    await server.stop();
  });
  const guards = sequence(
    measured,
    limit({ by: () => 'k', store, policies: slidingWindow({ limit: 1000, window: '1m' }) }),
  );
  const ask = async () => {
    const { exchange } = testExchange();
    exchange.faultReporter = () => undefined;
    const reply = await guards(exchange);
    if (reply === undefined) exchange.end({ kind: 'completed', status: 200 });
    else exchange.end({ kind: 'refused', status: reply.status, code: reply.problem?.code });
    return reply?.problem?.code;
  };
  expect(await ask()).toBeUndefined();
  expect(await lines()).toContain('gatewarden_store_breaker_open{store="redis"} 0');
  server.pause();
  for (let i = 0; i < 3; i++) expect(await ask()).toBe('store-unavailable');
  expect(await lines()).toContain('gatewarden_store_breaker_open{store="redis"} 1');
  server.resume();
  await expect.poll(lines, { timeout: 5000 }).toContain('gatewarden_store_breaker_open{store="redis"} 0');
  await expect.poll(ask, { timeout: 5000 }).toBeUndefined();
  const after = await lines();
  expect(after).toContain('gatewarden_decisions_total{guard="limit",code="store-unavailable",route="none"} 3');
  expect(after).toContain('gatewarden_store_duration_seconds_count{operation="admit",result="error"} 3');
  expect(after).toContain('gatewarden_store_events_total{store="redis",event="available"} 1');
});

it('shows whether a real worker accepts jobs', async () => {
  const { measured, lines } = measuring();
  const scene = await sleepingWorker();
  const [up, down] = [
    worker({ url: scene.url, onEvent: measured.workerEvents('up') }),
    worker({ url: CLOSED_URL, onEvent: measured.workerEvents('down') }),
  ];
  for (const one of [up, down]) await one.status();
  expect((await lines()).filter((line) => line.startsWith('gatewarden_worker_ready'))).toEqual([
    'gatewarden_worker_ready{worker="up"} 1',
    'gatewarden_worker_ready{worker="down"} 0',
  ]);
});
