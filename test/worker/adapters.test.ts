import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden } from '../../src/adapters/fastify.js';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import {
  concurrency,
  type Exchange,
  type Guard,
  gpuTime,
  limit,
  type QuotaPolicy,
  renderReply,
  slidingWindow,
} from '../../src/index.js';
import { deadline, type JobResult, type WorkerEvent, worker } from '../../src/worker/index.js';
import { postJob } from './leaving-client.js';
import { listening, sleepingWorker } from './scene.js';

type Run = (exchange: Exchange, body: string) => Promise<JobResult>;
type Serve = (guards: readonly Guard[], run: Run) => Promise<string>;

/** A service that runs `POST /job` on a worker, and streams its answer, in each framework. */
const FRAMEWORKS: readonly (readonly [name: string, serve: Serve])[] = [
  [
    'Express',
    (guards, run) => {
      const app = express();
      app.post('/job', expressGuard(...guards), express.text(), async (req, res) => {
        const result = await run(req.exchange, req.body);
        if (result.kind !== 'done') {
          const { status, headers, body } = renderReply(result.reply, req.exchange);
          res.status(status).set(Object.fromEntries(headers)).send(body);
          return;
        }
        await pipeline(Readable.fromWeb(result.response.body as NodeStream), res).catch(() => undefined);
      });
      return listening(createServer(app));
    },
  ],
  [
    'Fastify',
    async (guards, run) => {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.post('/job', { preHandler: fastifyGuard(...guards) }, async (req, reply) => {
        const result = await run(req.exchange, String(req.body));
        if (result.kind === 'done') return reply.send(Readable.fromWeb(result.response.body as NodeStream));
        const { status, headers, body } = renderReply(result.reply, req.exchange);
        return reply.code(status).headers(Object.fromEntries(headers)).send(body);
      });
      const url = await app.listen({ host: '127.0.0.1', port: 0 });
      onTestFinished(() => app.close());
      return url;
    },
  ],
  [
    'Hono',
    (guards, run) => {
      const app = new Hono();
      app.post('/job', honoGuard(...guards), async (c) => {
        const result = await run(c.var.exchange, await c.req.text());
        if (result.kind === 'done') return new Response(result.response.body);
        const { status, headers, body } = renderReply(result.reply, c.var.exchange);
        return new Response(body ?? null, { status, headers: headers as [string, string][] });
      });
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
];

const codeIn = (answer: string) => /"code":"([\w-]+)"/.exec(answer)?.[1];

describe.each(FRAMEWORKS)('a worker behind %s', (_name, serve) => {
  /** The worker has one slot, and the service these policies besides. */
  async function start(options: Parameters<typeof sleepingWorker>[0] = {}, ...more: QuotaPolicy[]) {
    const scene = await sleepingWorker(options);
    const events: WorkerEvent[] = [];
    const gpu = worker({ url: scene.url, onEvent: (event) => events.push(event) });
    const guards = [
      gpu.ready(),
      limit({ by: 'global', policies: [...more, concurrency({ limit: 1 })] }),
      deadline({ max: '60s' }),
    ];
    const url = await serve(guards, (exchange, body) => gpu.run(exchange, { path: '/job', body }));
    return { ...scene, worker: scene.url, url, events };
  }

  it('answers, and never cancels a job that ends by itself', async () => {
    const { url, count } = await start();
    for (let i = 0; i < 20; i++) expect(await postJob(url, '1').answer).toBe('200 slept 1');
    expect(await postJob(url, 'fail').answer).toMatch(/^502 .*worker-failed/);
    expect(await postJob(url, 'bad').answer).toMatch(/^502 .*worker-failed/);
    expect([count('POST'), count('DELETE')]).toEqual([22, 0]);
  });

  it('cancels a job exactly once when its client leaves', async () => {
    const { url, count, seen } = await start();
    const client = postJob(url, '30000');
    await vi.waitFor(() => expect(seen.running).toBe(1));
    client.leave();
    await vi.waitFor(() => expect([seen.running, count('DELETE')]).toEqual([0, 1]), 5000);
    await vi.waitFor(async () => expect(await postJob(url, '1').answer).toBe('200 slept 1'), 5000);
    await sleep(100);
    expect(count('DELETE')).toBe(1);
  });

  it('starts the next job when the worker is done, not when the client has left', { timeout: 30_000 }, async () => {
    const { url, seen } = await start({ stopSeconds: 3 });
    const client = postJob(url, '30000');
    await vi.waitFor(() => expect(seen.running).toBe(1));
    client.leave();
    const left = performance.now();
    const refusals: unknown[] = [];
    for (;;) {
      const answer = await postJob(url, '1').answer;
      if (answer === '200 slept 1') break;
      refusals.push(codeIn(answer));
      await sleep(50);
    }
    const waited = performance.now() - left;
    expect(waited).toBeGreaterThan(2900);
    expect(waited).toBeLessThan(5500);
    expect(new Set(refusals)).toEqual(new Set(['capacity-exceeded']));
    expect([seen.most, seen.doubled]).toEqual([1, 0]);
  });

  it('leaves the slot to a job that ignores its cancel, and tells the operator', { timeout: 30_000 }, async () => {
    const { url, seen, events } = await start({ stopSeconds: Number.POSITIVE_INFINITY });
    const client = postJob(url, '7000');
    await vi.waitFor(() => expect(seen.running).toBe(1));
    client.leave();
    await vi.waitFor(() => expect(events.at(-1)?.kind).toBe('cancel-ignored'), 9000);
    expect(events.at(-1)).toMatchObject({ age: expect.any(Number), job: { slot: 0 } });
    expect(codeIn(await postJob(url, '1').answer)).toBe('capacity-exceeded');
    await vi.waitFor(async () => expect(await postJob(url, '1').answer).toBe('200 slept 1'), {
      timeout: 9000,
      interval: 50,
    });
    expect([seen.most, seen.doubled]).toEqual([1, 0]);
  });

  it('lets 20 clients that start and leave use up five jobs', { timeout: 30_000 }, async () => {
    const { url, seen, count } = await start({}, slidingWindow({ limit: 5, window: '1h' }));
    const refused: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      await vi.waitFor(() => expect(seen.running).toBe(0), 5000);
      const started = count('POST');
      const client = postJob(url, '30000');
      const code = await Promise.race([
        client.answer.then(codeIn),
        vi.waitFor(() => expect(count('POST')).toBeGreaterThan(started), { timeout: 5000, interval: 5 }),
      ]);
      client.leave();
      await client.answer;
      if (code === 'quota-exceeded') refused.push(code);
      // The slot of the one before was not free yet.
      else if (code === 'capacity-exceeded') i--;
    }
    expect([count('POST'), refused.length]).toEqual([5, 15]);
  });

  it('charges the GPU time of clients that leave', { timeout: 30_000 }, async () => {
    const gpu = gpuTime({ limit: '2s', window: '1h', estimate: '1ms' });
    const { url, seen } = await start({ stopSeconds: 0.5 }, gpu);
    let jobs = 0;
    for (; jobs < 20; jobs++) {
      const client = postJob(url, '30000');
      const code = await Promise.race([
        client.answer.then(codeIn),
        vi.waitFor(() => expect(seen.running).toBe(1), { timeout: 5000, interval: 5 }),
      ]);
      client.leave();
      if (code === 'quota-exceeded') break;
      await vi.waitFor(() => expect(seen.running).toBe(0), 5000);
      await sleep(300);
    }
    expect(jobs).toBeGreaterThanOrEqual(2);
    expect(jobs).toBeLessThanOrEqual(4);
  });
});
