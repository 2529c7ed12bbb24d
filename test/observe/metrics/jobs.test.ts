import * as client from 'prom-client';
import { expect, it, onTestFinished } from 'vitest';
import { concurrency, gpuTime, limit, type Principal, sequence } from '../../../src/index.js';
import { jobs, memoryJobStore } from '../../../src/jobs/index.js';
import { adoptedExchange, payloadOf } from '../../../src/jobs/task-payload.js';
import { metrics } from '../../../src/observe/metrics/index.js';
import { worker } from '../../../src/worker/index.js';
import { testExchange } from '../../exchange-fixture.js';
import { sleepingWorker } from '../../worker/scene.js';

const alice: Principal = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'c' };

it('measures the work of a job that outlives its request, under the route of that request', async () => {
  const register = new client.Registry();
  const measured = metrics({ client, register });
  const scene = await sleepingWorker();
  const gpu = worker({ url: scene.url });
  const queue = jobs({ store: memoryJobStore() });
  onTestFinished(() => queue.close());
  const { exchange } = testExchange({ method: 'POST', principal: alice, routePattern: '/meshes' });
  await sequence(measured)(exchange);
  const answer = await queue.submit(exchange, {
    guards: [
      // Once more, as for a task that another process may run.
      measured,
      limit({
        by: 'global',
        policies: [concurrency({ limit: 1, name: 'slots' }), gpuTime({ limit: '1h', window: 'day', estimate: '1s' })],
      }),
    ],
    run: async ({ exchange: own }) => {
      const result = await gpu.run(own, { path: '/job', body: '50' });
      if (result.kind !== 'done') throw new Error(result.kind);
      await result.response.text();
      return { done: true };
    },
  });
  expect(answer.kind).toBe('accepted');
  exchange.end({ kind: 'completed', status: 202 });
  const lines = async () => (await register.metrics()).split('\n').filter((line) => line.startsWith('gatewarden_'));
  const has = async (line: string) => (await lines()).some((found) => found.startsWith(line));
  await expect.poll(() => has('gatewarden_job_duration_seconds_count{route="/meshes",end="completed"} 1')).toBe(true);
  await expect.poll(() => has('gatewarden_holds{policy="slots"} 0')).toBe(true);
  expect(await has('gatewarden_requests_total{route="/meshes",outcome="completed",status="202"} 1')).toBe(true);
  expect(await has('gatewarden_decisions_total{guard="limit",code="passed",route="/meshes"} 1')).toBe(true);
  expect(await has('gatewarden_gpu_seconds_total{route="/meshes"}')).toBe(true);
  expect(await has('gatewarden_requests_in_flight 0')).toBe(true);
});

it('knows the route of a task that another process has submitted', async () => {
  const register = new client.Registry();
  const { exchange } = testExchange({ method: 'POST', url: '/of/acme/meshes', routePattern: '/of/:tenant/meshes' });
  const { exchange: adopted } = adoptedExchange(payloadOf(exchange, {}));
  await sequence(metrics({ client, register }))(adopted);
  adopted.end({ kind: 'completed', status: 200 });
  const text = await register.metrics();
  expect(text).toContain('gatewarden_requests_total{route="/of/:tenant/meshes",outcome="completed",status="200"} 1');
});
