import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type * as openTelemetry from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import express from 'express';
import * as client from 'prom-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import {
  apiKeys,
  authenticate,
  clientIp,
  concurrency,
  type Guard,
  gpuTime,
  limit,
  type Outcome,
  problem,
  refuse,
  sequence,
  slidingWindow,
} from '../../../src/index.js';
import { type MetricsOptions, metrics, metricsEndpoint } from '../../../src/observe/metrics/index.js';
import { worker } from '../../../src/worker/index.js';
import { type TestExchangeOptions, testExchange } from '../../exchange-fixture.js';
import { sleepingWorker } from '../../worker/scene.js';
import { hasPromtool, promtool } from './promtool.js';

const DONE: Outcome = { kind: 'completed', status: 200 };

/** Metrics of a register of their own, and their samples as lines of text. */
function measuring(options: Partial<MetricsOptions> = {}) {
  const register = new client.Registry();
  const measured = metrics({ client, register, ...options });
  const lines = async () =>
    (await register.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return {
    register,
    measured,
    lines,
    /** The samples of one metric, without its name. */
    async samples(name: string): Promise<string[]> {
      const of = (await lines()).filter(
        (line) => line.startsWith(`gatewarden_${name}{`) || line.startsWith(`gatewarden_${name} `),
      );
      return of.map((line) => line.slice('gatewarden_'.length + name.length)).sort();
    },
  };
}

/** Runs guards on one exchange, and ends it. A refusal ends it as an adapter would. */
async function pass(guards: Guard, options: TestExchangeOptions = {}, outcome: Outcome = DONE) {
  const test = testExchange(options);
  const reply = await guards(test.exchange);
  if (reply?.problem == null) test.exchange.end(outcome);
  else test.exchange.end({ kind: 'refused', status: reply.status, code: reply.problem.code });
  return test;
}

const refuses: Guard = function refuses() {
  return refuse(problem('scope-insufficient'));
};

describe('metrics', () => {
  it('counts requests by route, outcome and status, and decisions by guard, code and route', async () => {
    const { measured, samples } = measuring();
    const open = sequence(measured, clientIp());
    await pass(open, { routePattern: '/jobs/:id', url: '/jobs/1' });
    await pass(open, { routePattern: '/jobs/:id', url: '/jobs/2' }, { kind: 'completed', status: 500 });
    await pass(open, { routePattern: '/jobs/:id' }, { kind: 'aborted' });
    await pass(sequence(measured, clientIp(), refuses), { url: '/wp-login.php' });
    expect(await samples('requests_total')).toEqual([
      '{route="/jobs/:id",outcome="aborted",status="none"} 1',
      '{route="/jobs/:id",outcome="completed",status="200"} 1',
      '{route="/jobs/:id",outcome="completed",status="500"} 1',
      '{route="none",outcome="refused",status="403"} 1',
    ]);
    expect(await samples('decisions_total')).toEqual([
      '{guard="clientIp",code="passed",route="/jobs/:id"} 3',
      '{guard="clientIp",code="passed",route="none"} 1',
      '{guard="refuses",code="scope-insufficient",route="none"} 1',
    ]);
    expect(await samples('request_duration_seconds_count')).toHaveLength(3);
    expect(await samples('guard_duration_seconds_count')).toEqual(['{guard="clientIp"} 4', '{guard="refuses"} 1']);
  });

  it('has buckets up to ten minutes', async () => {
    const { measured, samples } = measuring();
    await pass(sequence(measured, clientIp()));
    for (const name of ['request_duration_seconds_bucket', 'guard_duration_seconds_bucket']) {
      expect((await samples(name)).some((line) => line.startsWith('{le="600",'))).toBe(true);
    }
  });

  it('shows what is in flight, and nothing once all have ended, however they ended', async () => {
    const { measured, samples } = measuring();
    const inFlight = async () => (await samples('requests_in_flight'))[0];
    expect(await inFlight()).toBe(' 0');
    const open = testExchange().exchange;
    const twice = sequence(measured, sequence(measured));
    await twice(open);
    expect(await inFlight()).toBe(' 1');
    open.end(DONE);
    open.abort();
    const fails: Guard = () => {
      throw new Error('a fault');
    };
    const late: Guard = () => sleep(1, undefined);
    for (const next of [fails, late, refuses]) {
      const { exchange } = testExchange();
      const answered = sequence(twice, next)(exchange);
      exchange.abort();
      await answered;
    }
    const gone = testExchange().exchange;
    gone.abort();
    await twice(gone);
    expect(await inFlight()).toBe(' 0');
  });

  it('makes no more series for 10,000 clients than for ten', async () => {
    const { measured, lines, register } = measuring();
    const keys = Array.from({ length: 10 }, (_, i) => `key-of-client-${i}-0123456789abcdef0123456789`);
    const guards = sequence(
      measured,
      clientIp({ trust: ['loopback'] }),
      authenticate(apiKeys({ keys }), { optional: true }),
      limit({ by: 'principal-or-client-ip', policies: slidingWindow({ limit: 2, window: '1h' }) }),
    );
    const ask = (i: number) =>
      pass(guards, {
        url: `/of/client-${i}?key=${i}`,
        headers: [
          ['X-Forwarded-For', `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`],
          ...(i % 3 === 0 ? ([['Authorization', `Bearer ${keys[i % 10]}`]] as const) : []),
          ...(i % 7 === 0 ? ([['Authorization', 'Bearer wrong-for-once']] as const) : []),
        ],
      });
    // So that each kind of answer has come once: passed, refused by the limit, and bad credentials.
    for (let round = 0; round < 4; round++) for (let i = 0; i < 10; i++) await ask(i);
    const ofTen = (await lines()).map((line) => line.replace(/ [^ ]+$/, '')).sort();
    for (let i = 10; i < 10_000; i++) await ask(i);
    const ofAll = (await lines()).map((line) => line.replace(/ [^ ]+$/, '')).sort();
    expect(ofAll).toEqual(ofTen);
    const text = await register.metrics();
    for (const found of ['10.0.', 'client-1', 'key-of', '/of/']) expect(text).not.toContain(found);
  }, 60_000);

  it('shares one label among all routes after the first ones, and among codes beyond what a service has', async () => {
    const { measured, samples } = measuring({ maxRoutes: 2 });
    for (let i = 0; i < 5; i++) await pass(sequence(measured), { routePattern: `/r${i}/:id` });
    expect(await samples('requests_total')).toEqual([
      '{route="/r0/:id",outcome="completed",status="200"} 1',
      '{route="/r1/:id",outcome="completed",status="200"} 1',
      '{route="other",outcome="completed",status="200"} 3',
    ]);
    for (let i = 0; i < 150; i++) {
      const own = problem({ code: `own-${i}`, status: 400, title: 'Bad Request', detail: 'Of our own.' });
      await pass(
        sequence(measured, () => refuse(own)),
        { routePattern: '/r0/:id' },
      );
    }
    const codes = (await samples('decisions_total')).map((line) => /code="([^"]+)"/.exec(line)?.[1]);
    expect(codes).toHaveLength(101);
    expect(codes).toContain('other');
  });

  it('counts refused uploads by reason, without what was sent', async () => {
    const { measured, samples } = measuring();
    const refusing = (of: Parameters<typeof refuse>[0]): Guard => {
      return function upload() {
        return refuse(of);
      };
    };
    await pass(sequence(measured, refusing(problem('upload-too-large', { part: 'file', limit: 10 }))));
    await pass(sequence(measured, refusing(problem('upload-malformed', { reason: 'a file is empty' }))));
    const found = { found: 'text/secret', allowed: ['image/png'] };
    await pass(sequence(measured, refusing(problem('upload-type-unsupported', found as never))));
    expect(await samples('uploads_refused_total')).toEqual([
      '{code="upload-malformed",reason="a file is empty"} 1',
      '{code="upload-too-large",reason="file"} 1',
      '{code="upload-type-unsupported",reason="none"} 1',
    ]);
  });

  it('measures jobs at a worker: what they hold, what is running, how they end and the GPU time', async () => {
    const { measured, samples } = measuring();
    const scene = await sleepingWorker();
    const gpu = worker({ url: scene.url });
    const entrance = sequence(
      measured,
      limit({
        by: 'global',
        policies: [concurrency({ limit: 1, name: 'slots' }), gpuTime({ limit: '1h', window: 'day', estimate: '1s' })],
        queue: { by: () => 'client' },
      }),
    );
    const open = () => testExchange({ method: 'POST', routePattern: '/generate' }).exchange;
    const [first, second] = [open(), open()];
    await entrance(first);
    const waiting = entrance(second);
    const running = gpu.run(first, { path: '/job', body: '100' });
    while (scene.seen.running === 0) await sleep(2);
    expect(await samples('requests_waiting')).toEqual([' 1']);
    expect(await samples('holds')).toEqual(['{policy="gpu-time"} 1', '{policy="slots"} 1']);
    expect(await samples('jobs_running')).toEqual([' 1']);
    const result = await running;
    if (result.kind === 'done') await result.response.text();
    first.end(DONE);
    await waiting;
    const leaving = gpu.run(second, { path: '/job', body: '60000' });
    while (scene.seen.running === 0) await sleep(2);
    second.abort();
    expect(await leaving).toMatchObject({ kind: 'cancelled' });
    await expect.poll(() => samples('jobs_running')).toEqual([' 0']);
    await expect.poll(() => samples('holds')).toEqual(['{policy="gpu-time"} 0', '{policy="slots"} 0']);
    expect(await samples('requests_waiting')).toEqual([' 0']);
    expect(await samples('requests_in_flight')).toEqual([' 0']);
    expect(await samples('job_duration_seconds_count')).toEqual([
      '{route="/generate",end="aborted"} 1',
      '{route="/generate",end="completed"} 1',
    ]);
    const [gpuSeconds = ''] = await samples('gpu_seconds_total');
    expect(gpuSeconds).toMatch(/^\{route="\/generate"\} /);
    const seconds = Number(gpuSeconds.split(' ')[1]);
    expect(seconds).toBeGreaterThanOrEqual(0.1);
    expect(seconds).toBeLessThan(10);
    expect((await samples('store_duration_seconds_count')).join()).toContain('{operation="admit",result="ok"}');
  });

  it('shows whether a store answers and a worker accepts jobs', async () => {
    const { measured, samples } = measuring();
    const store = measured.storeEvents('limits');
    const gpu = measured.workerEvents();
    expect(await samples('store_breaker_open')).toEqual(['{store="limits"} 0']);
    // Nothing is known of a worker before the first probe.
    expect(await samples('worker_ready')).toEqual([]);
    store({ kind: 'unavailable' });
    store({ kind: 'unavailable' });
    gpu({ kind: 'state', state: 'ready' });
    gpu({ kind: 'state', state: 'busy' });
    expect(await samples('store_breaker_open')).toEqual(['{store="limits"} 1']);
    expect(await samples('worker_ready')).toEqual(['{worker="worker"} 1']);
    store({ kind: 'available' });
    gpu({ kind: 'state', state: 'dead' });
    gpu({ kind: 'hold-lost' });
    expect(await samples('store_breaker_open')).toEqual(['{store="limits"} 0']);
    expect(await samples('worker_ready')).toEqual(['{worker="worker"} 0']);
    expect(await samples('store_events_total')).toEqual([
      '{store="limits",event="available"} 1',
      '{store="limits",event="unavailable"} 2',
    ]);
    expect(await samples('worker_events_total')).toContain('{worker="worker",event="hold-lost"} 1');
  });

  it('refuses nothing if the library fails, and reports that', async () => {
    const broken = {
      createCounter: () => ({
        add: () => {
          throw new Error('no exporter');
        },
      }),
      createUpDownCounter: () => ({
        add: () => {
          throw new Error('no exporter');
        },
      }),
      createHistogram: () => ({
        record: () => {
          throw new Error('no exporter');
        },
      }),
    };
    const { exchange, faults } = testExchange();
    expect(await sequence(metrics({ meter: broken }), clientIp())(exchange)).toBeUndefined();
    exchange.end(DONE);
    expect(String(faults[0])).toContain('no exporter');
  });

  it('measures the same with OpenTelemetry', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const provider = new MeterProvider({ readers: [reader] });
    onTestFinished(() => provider.shutdown());
    const meter: openTelemetry.Meter = provider.getMeter('gatewarden');
    const measured = metrics({ meter });
    await pass(sequence(measured, clientIp(), refuses), { routePattern: '/jobs/:id' });
    await reader.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    const points = (name: string) =>
      all
        .filter(({ descriptor }) => descriptor.name === name)
        .flatMap(({ dataPoints }) => dataPoints as { attributes: object; value: unknown }[]);
    expect(points('gatewarden.requests').map(({ attributes, value }) => [attributes, value])).toEqual([
      [{ route: '/jobs/:id', outcome: 'refused', status: '403' }, 1],
    ]);
    expect(points('gatewarden.decisions').map(({ attributes, value }) => [attributes, value])).toEqual([
      [{ guard: 'clientIp', code: 'passed', route: '/jobs/:id' }, 1],
      [{ guard: 'refuses', code: 'scope-insufficient', route: '/jobs/:id' }, 1],
    ]);
    expect(points('gatewarden.requests.in.flight').map(({ value }) => value)).toEqual([0]);
    const duration = all.find(({ descriptor }) => descriptor.name === 'gatewarden.request.duration');
    expect(duration?.descriptor.unit).toBe('s');
    const [{ value } = { value: {} }] = points('gatewarden.request.duration');
    expect((value as { buckets: { boundaries: number[] } }).buckets.boundaries.at(-1)).toBe(600);
  });

  it.each<[string, object, string]>([
    ['no library', {}, 'metrics needs "client", the module prom-client, or "meter"'],
    ['two libraries', { client, meter: { createCounter() {} } }, 'and not both'],
    ['a module that is another', { client: {} }, 'metrics "client" must be the module \'prom-client\', got [Object]'],
    ['no meter', { meter: 5 }, 'metrics "meter" must be a meter of @opentelemetry/api, got 5'],
    [
      'a register for OpenTelemetry',
      { meter: { createCounter() {} }, register: {} },
      '"register" is only for "client"',
    ],
    ['a register that is none', { client, register: {} }, 'metrics "register" must be a registry of prom-client'],
    ['no route', { client, maxRoutes: 0 }, 'metrics "maxRoutes" must be a positive integer, got 0'],
    ['a misspelt option', { client, maxRoute: 5 }, 'metrics has no option "maxRoute". Did you mean "maxRoutes"?'],
  ])('refuses %s', (_what, options, message) => {
    expect(() => metrics(options as MetricsOptions)).toThrow(message);
  });

  it('refuses a register that has its metrics already', () => {
    const register = new client.Registry();
    metrics({ client, register });
    expect(() => metrics({ client, register })).toThrow('metrics was called twice with one register');
  });
});

describe('metricsEndpoint', () => {
  it('answers a scrape with what promtool accepts, behind Express', async () => {
    const { register, measured } = measuring();
    const app = express();
    app.use(guard(measured, clientIp()));
    app.get('/metrics', guard(metricsEndpoint({ register })));
    app.get('/things/:id', (_request, response) => void response.json({ ok: true }));
    app.get('/closed', guard(refuses), () => undefined);
    measured.storeEvents();
    measured.workerEvents();
    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const path of ['/things/1', '/things/2', '/closed', '/secret-path']) await (await fetch(origin + path)).text();
    const answer = await fetch(`${origin}/metrics`);
    const text = await answer.text();
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('cache-control')]).toEqual([
      200,
      register.contentType,
      'no-store',
    ]);
    expect(text).toContain('gatewarden_requests_total{route="/things/:id",outcome="completed",status="200"} 2');
    expect(text).toContain('gatewarden_requests_total{route="none",outcome="completed",status="404"} 1');
    expect(text).toContain('gatewarden_requests_in_flight 1');
    expect(text).not.toContain('secret-path');
    if (hasPromtool) expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, printed: '' });
  });

  it('refuses what is no register', () => {
    expect(() => metricsEndpoint({ register: {} as never })).toThrow(
      'metricsEndpoint "register" must be a registry of prom-client',
    );
  });
});
