import { once } from 'node:events';
import { createServer, request, type Server, type ServerResponse } from 'node:http';
import sharp from 'sharp';
import { afterEach, describe, expect, it } from 'vitest';
import { openCounters } from '../../examples/counters.js';
import { createGateway } from '../../examples/point-e/gateway.js';
import { ModelFiles } from '../../examples/point-e/model-files.js';
import { readSettings } from '../../examples/point-e/settings.js';
import { textLogger } from '../../examples/text-logger.js';
import { createStandIn } from '../../examples/workers/point-e-stand-in.js';
import type { WorkerOptions } from '../../examples/workers/worker-server.js';
import { OptionError } from '../../src/index.js';
import { describeRedis } from '../redis/describe.js';
import { startRedis } from '../redis/server.js';
import { contractWorker } from './contract-worker.js';
import { rawRequest } from './raw-host.js';

const SECRET = 'c4n4ry-secret-of-the-main-server-0123456789';
const PREVIOUS = 'previous-secret-of-the-main-server-0123456789';
const USER = '123.45.67.89';

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

interface Body {
  readonly [member: string]: unknown;
  readonly used: number;
  readonly detail: { readonly loc?: unknown; readonly reset_time: number } & readonly { readonly loc: unknown }[];
  readonly download_url: string;
  readonly file_url: string;
}

/** A body whose members the test asserts one by one. */
async function json(response: Response): Promise<Body> {
  return (await response.json()) as Body;
}

/** Starts the gateway in front of the stand-in, both on free ports, as `npm start` does. */
async function start(environment: Record<string, string> = {}, standIn: WorkerOptions = {}) {
  const jobs: string[] = [];
  let onJobLogged: (() => void) | undefined;
  const workerUrl = await listen(
    createStandIn({
      log: (line) => {
        jobs.push(line);
        onJobLogged?.();
      },
      ...standIn,
    }),
  );
  const files = await ModelFiles.create();
  closers.push(() => files.close());
  const settings = readSettings({ POINT_E_SECRET_KEY: SECRET, WORKER_URL: workerUrl, ...environment });
  let printed = '';
  const logger = textLogger((line) => {
    printed += line;
  });
  const counters = openCounters(settings.redisUrl, 'point-e:', logger);
  closers.push(() => counters.close());
  const url = await listen(
    createServer(createGateway(settings, settings.workerUrl ?? workerUrl, files, counters.store, logger)),
  );
  const authorization = { Authorization: `Bearer ${SECRET}` };

  const generate = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${url}/generate/text`, {
      method: 'POST',
      headers: { ...authorization, 'Content-Type': 'application/json', 'X-Forwarded-For': USER, ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const usage = async (ip = USER) => json(await fetch(`${url}/usage/${ip}`, { headers: authorization }));
  const jobLogged = () =>
    new Promise<void>((resolve) => {
      onJobLogged = resolve;
    });
  const runningJobs = async () => {
    const { jobs } = (await (await fetch(`${workerUrl}/jobs`)).json()) as { jobs: unknown[] };
    return jobs.length;
  };
  return { url, authorization, generate, usage, jobs, jobLogged, runningJobs, printed: () => printed };
}

describe('the Point-E gateway', () => {
  it('admits five generations a day per forwarded address, then responds with the 429 of the guide', async () => {
    const { generate, usage, jobs } = await start();
    for (let i = 1; i <= 5; i++) {
      const response = await generate({ prompt: 'a red sports car', user_id: 'user123', grid_size: 32 });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({
        success: true,
        message: expect.any(String),
        file_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/files\/[\w-]+\.ply$/),
        download_url: expect.stringMatching(/\/files\/[\w-]+\.ply\?download=1$/),
        user_id: 'user123',
        vertices: 1986,
        faces: 3968,
        expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      });
      expect(await usage()).toMatchObject({ ip: USER, used: i, limit: 5, remaining: 5 - i, window_seconds: 86_400 });
    }
    const before = Date.now();
    const refused = await generate({ prompt: 'a red sports car' });
    expect(refused.status).toBe(429);
    const { detail } = await json(refused);
    const midnight = (Math.floor(before / 86_400_000) + 1) * 86_400;
    expect(detail).toEqual({
      error: 'rate_limit_exceeded',
      message: expect.stringContaining('5 generations'),
      limit: 5,
      remaining: 0,
      reset_time: midnight,
    });
    const wait = Number(refused.headers.get('Retry-After'));
    expect(before / 1000 + wait).toBeGreaterThanOrEqual(midnight - 5);
    expect(wait).toBeLessThanOrEqual(midnight - before / 1000 + 1);
    expect(jobs).toHaveLength(5);
    expect((await generate({ prompt: 'a red sports car' }, { 'X-Forwarded-For': '123.45.67.90' })).status).toBe(200);
  });

  it('serves the model at its download_url, only with the secret', async () => {
    const { generate, authorization, url } = await start();
    const { download_url, file_url } = await json(await generate({ prompt: 'a green chair', grid_size: 8 }));
    const downloaded = await fetch(download_url, { headers: authorization });
    expect(downloaded.headers.get('Content-Disposition')).toMatch(/^attachment/);
    const ply = Buffer.from(await downloaded.arrayBuffer());
    expect(ply.toString('latin1')).toMatch(/^ply\nformat binary_little_endian 1\.0\n/);
    expect(Buffer.from(await (await fetch(file_url, { headers: authorization })).arrayBuffer())).toEqual(ply);
    expect((await fetch(download_url)).status).toBe(401);
    // `fetch` would resolve the last of these names.
    for (const name of ['nothing.ply', '..%2f..%2fpackage.json', '%2e%2e']) {
      expect((await rawRequest(url, `/files/${name}`, 'localhost', { headers: authorization })).status).toBe(404);
    }
  });

  it.each([
    ['no credentials', {}, 'Bearer realm="api"'],
    ['a wrong secret', { Authorization: `Bearer ${SECRET}x` }, 'Bearer realm="api", error="invalid_token"'],
    ['a malformed header', { Authorization: `Bearer: ${SECRET}` }, 'Bearer realm="api", error="invalid_request"'],
  ])('responds with 401 to %s', async (_name, headers: Record<string, string>, challenge) => {
    const { url, jobs } = await start();
    for (const path of ['/generate/text', '/usage/1.2.3.4', '/files/x.ply']) {
      const response = await fetch(`${url}${path}`, { method: path === '/generate/text' ? 'POST' : 'GET', headers });
      expect(response.status).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toBe(challenge);
      expect(await response.json()).toEqual({ detail: expect.any(String) });
    }
    expect(jobs).toEqual([]);
  });

  it('accepts the current and the previous secret during a rotation', async () => {
    const { url } = await start({ POINT_E_PREVIOUS_SECRET_KEY: PREVIOUS });
    for (const secret of [SECRET, PREVIOUS]) {
      const response = await fetch(`${url}/usage/${USER}`, { headers: { Authorization: `Bearer ${secret}` } });
      expect(response.status).toBe(200);
    }
  });

  it.each([
    ['X-Real-IP', { 'X-Real-IP': '5.6.7.8' }],
    ['X-Original-IP', { 'X-Original-IP': '5.6.7.8' }],
  ])('also counts by %s', async (_name, header) => {
    const { url, authorization, usage } = await start();
    await fetch(`${url}/generate/text`, {
      method: 'POST',
      headers: { ...authorization, ...header, 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: 'a lamp', grid_size: 8 }),
    });
    expect(await usage('5.6.7.8')).toMatchObject({ used: 1 });
    expect(await usage('127.0.0.1')).toMatchObject({ used: 0 });
  });

  it('counts two addresses of one IPv6 network as one user', async () => {
    const { generate, usage } = await start();
    await generate({ prompt: 'a lamp', grid_size: 8 }, { 'X-Forwarded-For': '2001:db8::1' });
    await generate({ prompt: 'a lamp', grid_size: 8 }, { 'X-Forwarded-For': '2001:db8::2' });
    expect(await usage('2001:db8::3')).toMatchObject({ used: 2 });
  });

  it.each([
    ['an empty prompt', { prompt: '  ' }, 'prompt'],
    ['a prompt of 1,001 characters', { prompt: 'x'.repeat(1001) }, 'prompt'],
    ['no prompt', {}, 'prompt'],
    ['grid_size 7', { prompt: 'x', grid_size: 7 }, 'grid_size'],
    ['grid_size 129', { prompt: 'x', grid_size: 129 }, 'grid_size'],
    ['grid_size 32.5', { prompt: 'x', grid_size: 32.5 }, 'grid_size'],
    ['grid_size as text', { prompt: 'x', grid_size: '32' }, 'grid_size'],
    ['text that is not JSON', '{"prompt": ', undefined],
    ['an array', '[]', undefined],
  ])('responds with 422 to %s, charges nothing and does not call the worker', async (_name, body, field) => {
    const { generate, usage, jobs } = await start();
    const response = await generate(body);
    expect(response.status).toBe(422);
    const { detail } = await json(response);
    if (field !== undefined) expect(detail[0]?.loc).toEqual(['body', field]);
    expect(await usage()).toMatchObject({ used: 0 });
    expect(jobs).toEqual([]);
  });

  it('responds with 413 to a body larger than 64 KB', async () => {
    const { generate } = await start();
    expect((await generate({ prompt: 'x', user_id: 'y'.repeat(70_000) })).status).toBe(413);
  });

  it('responds with 503 and Retry-After while the worker loads, and charges nothing', async () => {
    let now = 0;
    const { url, generate, usage } = await start({}, { readyAfterMs: 30_000, now: () => now });
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: 'loading', models_ready: false });
    const ready = await fetch(`${url}/ready`);
    expect([ready.status, ready.headers.get('Retry-After')]).toEqual([503, '30']);
    const response = await generate({ prompt: 'x', grid_size: 8 });
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '30']);
    expect(await usage()).toMatchObject({ used: 0 });
    now = 30_000;
    await expect.poll(async () => (await generate({ prompt: 'x', grid_size: 8 })).status).toBe(200);
  });

  it('is healthy and ready, without credentials, once the worker is', async () => {
    const { url } = await start();
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: 'healthy', models_ready: true });
    expect((await fetch(`${url}/ready`)).status).toBe(200);
  });

  it('refunds a generation that fails in the worker, or for which there is no worker', async () => {
    const { generate, usage } = await start();
    expect((await generate({ prompt: 'a car [fail]', grid_size: 8 })).status).toBe(502);
    expect(await usage()).toMatchObject({ used: 0 });
    const [stopWorker] = closers.splice(0, 1);
    await stopWorker?.();
    expect((await generate({ prompt: 'a car', grid_size: 8 })).status).toBe(503);
    expect(await usage()).toMatchObject({ used: 0 });
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ['never responds', () => {}],
    ['starts a model but never ends it', (response) => void response.writeHead(200).write('ply\n')],
  ])('responds with 504 if the worker %s, and refunds the charge', async (_what, answer) => {
    const workerUrl = await listen(contractWorker((_request, response) => answer(response)));
    const { generate, usage } = await start({ WORKER_URL: workerUrl, MAX_GPU_TIME_SECONDS: '1' });
    const late = await generate({ prompt: 'a car', grid_size: 8 });
    expect([late.status, await late.json()]).toEqual([504, { detail: 'The generation took too long.' }]);
    expect(await usage()).toMatchObject({ used: 0 });
  });

  it('stops the worker when the client disconnects, and keeps the charge', async () => {
    const { url, authorization, usage, jobs, jobLogged, runningJobs } = await start();
    const logged = jobLogged();
    const client = request(`${url}/generate/text`, {
      method: 'POST',
      headers: { ...authorization, 'Content-Type': 'application/json', 'X-Forwarded-For': USER },
    });
    client.on('error', () => undefined);
    client.end(JSON.stringify({ prompt: 'a car [slow]', grid_size: 128 }));
    await expect.poll(runningJobs).toBe(1);
    client.destroy();
    await logged;
    expect(jobs[0]).toMatch(/client disconnected|cancelled/);
    await expect.poll(runningJobs).toBe(0);
    expect(await usage()).toMatchObject({ used: 1 });
  });

  it('starts the next generation when the worker has stopped the one whose client left', async () => {
    const { url, authorization, generate, usage, runningJobs } = await start(
      { MAX_WAIT_SECONDS: '0' },
      { stopSeconds: 1 },
    );
    const client = request(`${url}/generate/text`, {
      method: 'POST',
      headers: { ...authorization, 'Content-Type': 'application/json', 'X-Forwarded-For': '5.6.7.8' },
    });
    client.on('error', () => undefined);
    client.end(JSON.stringify({ prompt: 'a car [slow]', grid_size: 128 }));
    await expect.poll(runningJobs).toBe(1);
    client.destroy();
    const left = performance.now();
    const busy = await generate({ prompt: 'x', grid_size: 8 });
    expect([busy.status, busy.headers.get('Retry-After'), await busy.json()]).toEqual([
      503,
      '1',
      { detail: 'All GPUs are in use. Try again later.' },
    ]);
    expect(await usage()).toMatchObject({ used: 0 });
    await expect
      .poll(async () => (await generate({ prompt: 'x', grid_size: 8 })).status, { interval: 50, timeout: 5000 })
      .toBe(200);
    expect(performance.now() - left).toBeGreaterThan(900);
  });

  it('runs as many generations at the same time as the worker has slots', async () => {
    const { generate } = await start({ GPU_SLOTS: '2', MAX_WAIT_SECONDS: '0' }, { slots: 2, seconds: 1 });
    const answers = await Promise.all([1, 2, 3].map(() => generate({ prompt: 'x', grid_size: 8 })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503]);
  });

  it('lets generations wait for a slot, and serves each user before the backlog of another', async () => {
    const { generate, runningJobs } = await start({}, { seconds: 0.3 });
    const order: string[] = [];
    const ask = async (name: string, ip: string) => {
      const response = await generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': ip });
      order.push(name);
      return [response.status, response.headers.get('Queue-Position')];
    };
    const first = ask('first', USER);
    await expect.poll(runningJobs).toBe(1);
    const backlog = ['second', 'third', 'fourth'].map((name) => ask(name, USER));
    const light = ask('of another user', '5.6.7.8');
    const answers = await Promise.all([first, ...backlog, light]);
    expect(answers.map(([status]) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(order.indexOf('of another user')).toBeLessThan(3);
    expect(answers[0]?.[1]).toBeNull();
    expect(Number(answers[2]?.[1])).toBeGreaterThan(0);
  });

  it('answers as in the guide if a generation waited too long', async () => {
    const { generate, runningJobs, usage } = await start({ MAX_WAIT_SECONDS: '1' }, { seconds: 3 });
    const first = generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': '5.6.7.8' });
    await expect.poll(runningJobs).toBe(1);
    const late = await generate({ prompt: 'x', grid_size: 8 });
    expect([late.status, await late.json()]).toEqual([
      503,
      { detail: 'The request waited too long for its turn. Try again later.' },
    ]);
    expect(Number(late.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await usage()).toMatchObject({ used: 0 });
    expect((await first).status).toBe(200);
  });

  describe('asked for events', () => {
    const EVENTS = { Accept: 'text/event-stream' };

    async function eventsOf(response: Response): Promise<[event: string, data: Record<string, unknown>][]> {
      expect([response.status, response.headers.get('Content-Type')]).toEqual([
        200,
        'text/event-stream; charset=utf-8',
      ]);
      return (await response.text())
        .trimEnd()
        .split('\n\n')
        .map((text) => {
          const [, event = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(text) ?? [];
          return [event, JSON.parse(data) as Record<string, unknown>];
        });
    }

    it('sends the place in the queue, that the job runs, and the model', async () => {
      const { generate, runningJobs, usage } = await start({}, { seconds: 1.2 });
      const first = generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': '5.6.7.8' });
      await expect.poll(runningJobs).toBe(1);
      const second = generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': '5.6.7.9', ...EVENTS });
      const events = await eventsOf(await generate({ prompt: 'x', grid_size: 8, user_id: 'user123' }, EVENTS));
      expect((await first).status).toBe(200);
      await second;
      expect(events[0]).toEqual([
        'queue',
        { state: 'waiting', position: expect.any(Number), expected_wait_seconds: null },
      ]);
      expect(events.filter(([event]) => event === 'progress').length).toBeGreaterThan(1);
      expect(events.find(([event]) => event === 'progress')).toEqual([
        'progress',
        { state: 'running', elapsed_seconds: 0 },
      ]);
      expect(events.at(-1)).toMatchObject([
        'done',
        { success: true, user_id: 'user123', vertices: expect.any(Number) },
      ]);
      expect(await usage()).toMatchObject({ used: 1 });
    });

    it('answers with a status if it is refused before the first event', async () => {
      const { generate } = await start({ RATE_LIMIT_PER_IP: '1' });
      expect((await eventsOf(await generate({ prompt: 'x', grid_size: 8 }, EVENTS))).at(-1)?.[0]).toBe('done');
      const refused = await generate({ prompt: 'x', grid_size: 8 }, EVENTS);
      expect([refused.status, refused.headers.get('Content-Type')]).toEqual([429, 'application/json; charset=utf-8']);
    });

    it('sends what went wrong after the first event, and refunds a failed generation', async () => {
      const { generate, usage } = await start();
      const events = await eventsOf(await generate({ prompt: 'a car [fail]', grid_size: 8 }, EVENTS));
      expect(events).toEqual([
        ['progress', { state: 'running', elapsed_seconds: 0 }],
        ['error', { detail: 'The generation failed.' }],
      ]);
      expect(await usage()).toMatchObject({ used: 0 });
    });

    it('frees the place of a client that leaves the stream', async () => {
      const { generate, runningJobs, url, authorization, jobs } = await start({ MAX_WAITING: '1' }, { seconds: 1 });
      const first = generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': '5.6.7.8' });
      await expect.poll(runningJobs).toBe(1);
      const leaving = new AbortController();
      const stream = await fetch(`${url}/generate/text`, {
        method: 'POST',
        headers: { ...authorization, ...EVENTS, 'Content-Type': 'application/json', 'X-Forwarded-For': '5.6.7.9' },
        body: JSON.stringify({ prompt: 'x', grid_size: 8 }),
        signal: leaving.signal,
      });
      expect(stream.status).toBe(200);
      leaving.abort();
      await expect
        .poll(async () => (await generate({ prompt: 'x', grid_size: 8 })).status, { interval: 50, timeout: 5000 })
        .toBe(200);
      expect((await first).status).toBe(200);
      expect(jobs).toHaveLength(2);
    });
  });

  it('limits the GPU seconds of a user in a day', async () => {
    const { generate, usage } = await start({ GPU_SECONDS_PER_DAY: '3' }, { seconds: 1 });
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await generate({ prompt: 'x', grid_size: 8 })).status);
    expect(statuses).toEqual([200, 200, 429]);
    const refused = await json(await generate({ prompt: 'x', grid_size: 8 }));
    expect(refused.detail).toMatchObject({
      error: 'rate_limit_exceeded',
      message: expect.stringContaining('GPU time'),
    });
    expect(await usage()).toMatchObject({ used: 2, limit: 5 });
    expect((await generate({ prompt: 'x', grid_size: 8 }, { 'X-Forwarded-For': '5.6.7.8' })).status).toBe(200);
  });

  it('uses a sliding window unless the window is a day', async () => {
    const { generate, usage } = await start({ RATE_LIMIT_WINDOW: '60', RATE_LIMIT_PER_IP: '1' });
    const before = Date.now() / 1000;
    expect((await generate({ prompt: 'x', grid_size: 8 })).status).toBe(200);
    const { detail } = await json(await generate({ prompt: 'x', grid_size: 8 }));
    expect(detail.reset_time).toBeGreaterThanOrEqual(Math.floor(before + 60));
    expect(detail.reset_time).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000 + 60));
    expect(await usage()).toMatchObject({ used: 1, window_seconds: 60 });
  });

  it('responds with 422 to a usage path that is not an address', async () => {
    const { url, authorization } = await start();
    for (const ip of ['everyone', '1.2.3', '010.8.8.8']) {
      expect((await fetch(`${url}/usage/${ip}`, { headers: authorization })).status).toBe(422);
    }
  });
});

describe('the Point-E gateway on this machine', () => {
  it('says on / what it is, without the secret', async () => {
    const { url } = await start();
    const response = await fetch(url);
    expect([response.status, await response.json()]).toEqual([
      200,
      expect.objectContaining({ service: 'Point-E gateway', endpoints: expect.arrayContaining(['GET /health']) }),
    ]);
  });

  it('serves the hosts of this machine, or those that are set', async () => {
    const first = await start();
    const second = await start({ TRUSTED_HOSTS: 'point-e.example' });
    const statuses: (number | undefined)[] = [];
    for (const [{ url }, host] of [
      [first, '[::1]:8080'],
      [first, 'evil.example'],
      [second, 'point-e.example'],
      [second, '127.0.0.1'],
    ] as const) {
      statuses.push((await rawRequest(url, '/health', host)).status);
    }
    expect(statuses).toEqual([200, 400, 200, 400]);
  });

  it('believes the main server behind a tunnel of Cloudflare', async () => {
    const { generate, usage } = await start({ TRUSTED_PROXIES: 'cloudflared' });
    const response = await generate({ prompt: 'x', grid_size: 8 }, { 'CF-Connecting-IP': '203.0.113.9' });
    expect(response.status).toBe(200);
    expect(await usage()).toMatchObject({ used: 1 });
    expect(await usage('203.0.113.9')).toMatchObject({ used: 0 });
  });
});

describeRedis('the Point-E gateway with REDIS_URL', () => {
  const prompt = { prompt: 'x', grid_size: 8 };

  it('shares one limit between two gateways', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const settings = { REDIS_URL: server.url, RATE_LIMIT_PER_IP: '2' };
    const [first, second] = [await start(settings), await start(settings)];
    const statuses: number[] = [];
    for (const { generate } of [first, second, first, second]) statuses.push((await generate(prompt)).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    expect([await first.usage(), await second.usage()]).toMatchObject([{ used: 2 }, { used: 2 }]);
    expect(await second.usage('192.0.2.7')).toMatchObject({ used: 0 });
  });

  it('keeps the counts over a restart', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const first = await start({ REDIS_URL: server.url, RATE_LIMIT_WINDOW: '3600' });
    expect((await first.generate(prompt)).status).toBe(200);
    const second = await start({ REDIS_URL: server.url, RATE_LIMIT_WINDOW: '3600' });
    expect(await second.usage()).toMatchObject({ used: 1, window_seconds: 3600 });
  });

  it('refuses generations and questions about usage while Redis is unavailable, and logs the outage and its end', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const url = server.url.replace('://', '://default:c4n4ry@');
    await server.cli('ACL', 'SETUSER', 'default', '>c4n4ry');
    const gateway = await start({ REDIS_URL: url });
    expect((await gateway.generate(prompt)).status).toBe(200);
    await server.kill();
    const unavailable = [503, '5', { detail: 'The quota cannot be checked right now. Try again later.' }];
    const answer = async (response: Response) => [
      response.status,
      response.headers.get('Retry-After'),
      await response.json(),
    ];
    const question = () => fetch(`${gateway.url}/usage/${USER}`, { headers: gateway.authorization });
    expect(await answer(await gateway.generate(prompt))).toEqual(unavailable);
    expect(await answer(await question())).toEqual(unavailable);
    // The store reports an outage after several failures, not after one.
    await expect
      .poll(async () => [(await gateway.generate(prompt)).status, gateway.printed()], { timeout: 10_000 })
      .toEqual([503, expect.stringMatching(/ERROR - Redis is unavailable/)]);
    expect(gateway.jobs).toHaveLength(1);
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
    await server.restart();
    await server.cli('ACL', 'SETUSER', 'default', '>c4n4ry');
    await expect.poll(async () => (await gateway.generate(prompt)).status, { timeout: 10_000 }).toBe(200);
    await expect.poll(gateway.printed).toMatch(/INFO - Redis is available again/);
    expect(gateway.printed()).not.toContain('c4n4ry');
    expect(gateway.printed()).not.toContain('unhandled error');
  });
});

describe('the log of the Point-E gateway', () => {
  it('reports a missing and a wrong secret, and shows no secret', async () => {
    const { generate, url, printed } = await start();
    await fetch(`${url}/usage/${USER}`);
    await generate({ prompt: 'x' }, { Authorization: 'Bearer c4n4ry-of-another-server-0123456789-0123456789' });
    await generate({ prompt: 'x' }, { Authorization: `Bearer: ${SECRET}` });
    await expect.poll(printed).toContain('credentials-malformed');
    const line = (what: string, code: string) =>
      new RegExp(`WARNING - \\[[^\\]]+\\] ${what} 401 .*code="credentials-${code}".*ip="127\\.0\\.0\\.1"`);
    expect(printed()).toMatch(line(`GET /usage/${USER}`, 'missing'));
    expect(printed()).toMatch(line('POST /generate/text', 'invalid'));
    expect(printed()).toMatch(line('POST /generate/text', 'malformed'));
    expect(printed()).not.toContain('c4n4ry');
  });

  it("reports a refused generation by the user's address", async () => {
    const { generate, printed } = await start({ RATE_LIMIT_PER_IP: '1' });
    await generate({ prompt: 'x', grid_size: 8 });
    await generate({ prompt: 'x', grid_size: 8 });
    await expect
      .poll(printed)
      .toMatch(/WARNING - .* POST \/generate\/text 429 .*code="quota-exceeded".*ip="123\.45\.67\.89"/);
    expect(printed()).toMatch(/INFO - .* POST \/generate\/text 200 .*principal="main-server"/);
    expect(printed()).not.toContain('c4n4ry');
  });

  it('contains neither health checks nor queries', async () => {
    const { url, authorization, printed } = await start();
    for (const path of ['/health', '/health?x=1', '/ready']) await fetch(`${url}${path}`);
    await fetch(`${url}/usage/${USER}?key=${SECRET}`, { headers: authorization });
    await expect.poll(printed).toContain(`GET /usage/${USER} 200`);
    expect(printed().trimEnd().split('\n')).toHaveLength(1);
    expect(printed()).not.toContain('c4n4ry');
  });

  it('reports a failed generation by the id of its request', async () => {
    const { generate, printed } = await start();
    await generate({ prompt: 'a car [fail]', grid_size: 8 }, { 'X-Request-ID': 'r-1' });
    await expect.poll(printed).toMatch(/ERROR - \[r-1\] POST \/generate\/text 502 /);
  });
});

describe('the settings', () => {
  it('report all mistakes at once, by name, and show no secret', () => {
    const secret = 'too-short-secret';
    const read = () =>
      readSettings({
        POINT_E_SECRET_KEY: secret,
        RATE_LIMIT_PER_IP: '0',
        RATE_LIMIT_WINDOW: 'a day',
        PORT: '99999',
        WORKER_URL: 'ftp://worker',
        TRUSTED_PROXIES: '10/8',
      });
    expect(read).toThrow(OptionError);
    try {
      read();
    } catch (error) {
      const message = String(error);
      for (const name of [
        'POINT_E_SECRET_KEY',
        'RATE_LIMIT_PER_IP',
        'RATE_LIMIT_WINDOW',
        'PORT',
        'WORKER_URL',
        'TRUSTED_PROXIES',
      ]) {
        expect(message).toContain(name);
      }
      expect(message).not.toContain(secret);
    }
  });

  it.each(['60', '60s', '1m'])('accept %j as the window', async (window) => {
    const { usage } = await start({ RATE_LIMIT_WINDOW: window });
    expect(await usage()).toMatchObject({ window_seconds: 60 });
  });

  it.each<[string, RegExp]>([
    ['0', /must be at least '1ms', got '0s'/],
    ['500ms', /it must be whole seconds from 1s to 365d/],
    ['1500ms', /it must be whole seconds from 1s to 365d/],
    ['366d', /365d/],
    ['a day', /must be a length of time .*got 'a day'/],
    ['1.5', /must be a length of time .*got '1.5'/],
    ['-1s', /must be a length of time .*got '-1s'/],
  ])('refuse %j as the window', (window, expected) => {
    const read = () => readSettings({ POINT_E_SECRET_KEY: SECRET, RATE_LIMIT_WINDOW: window });
    expect(read).toThrow('"RATE_LIMIT_WINDOW"');
    expect(read).toThrow(expected);
  });

  it.each([
    ['another host', { HOST: '0.0.0.0' }],
    ['production', { NODE_ENV: 'production' }],
    ['production by another name', { ENVIRONMENT: 'production' }],
    ['production with an empty secret', { ENVIRONMENT: ' Production', POINT_E_SECRET_KEY: ' ' }],
  ])('generate no secret for %s', (_name, environment) => {
    expect(() => readSettings(environment)).toThrow('"POINT_E_SECRET_KEY" must be set');
  });

  it.each([
    ['http://user:hunter2@worker', 'must not contain a user name or password'],
    ['http://worker/?key=hunter2', 'must have no query or fragment'],
    ['http://worker/#hunter2', 'must have no query or fragment'],
    ['ftp://hunter2', 'must be a URL that begins with http:// or https://'],
  ])('refuse %s as WORKER_URL and PUBLIC_URL, and do not show it', (url, rule) => {
    for (const name of ['WORKER_URL', 'PUBLIC_URL']) {
      const read = () => readSettings({ POINT_E_SECRET_KEY: SECRET, [name]: url });
      expect(read).toThrow(`"${name}"`);
      expect(read).toThrow(rule);
      expect(read).not.toThrow('hunter2');
    }
  });

  it('append paths to a URL with or without a slash at its end', () => {
    const settings = readSettings({ WORKER_URL: 'http://worker/gpu//', PUBLIC_URL: 'https://a.example' });
    expect([settings.workerUrl, settings.publicUrl]).toEqual(['http://worker/gpu', 'https://a.example']);
  });

  it.each([
    ['a short secret', { POINT_E_SECRET_KEY: 'c4n4ry' }, 'must be a string of at least 32 characters'],
    ['a secret with a space', { POINT_E_SECRET_KEY: 'c4n4ry '.repeat(9) }, 'secrets[0]" must'],
    [
      'a short previous secret',
      { POINT_E_PREVIOUS_SECRET_KEY: 'c4n4ry' },
      'must be a string of at least 32 characters',
    ],
    [
      'two equal secrets',
      { POINT_E_SECRET_KEY: SECRET, POINT_E_PREVIOUS_SECRET_KEY: SECRET },
      'must differ from POINT_E_SECRET_KEY',
    ],
    ['a REDIS_URL of another kind', { REDIS_URL: 'http://:c4n4ry@localhost' }, 'redis:// or rediss://'],
  ])('explain %s without showing it', (_what, environment, rule) => {
    expect(() => readSettings(environment)).toThrow(Object.keys(environment).at(-1));
    expect(() => readSettings(environment)).toThrow(rule);
    expect(() => readSettings(environment)).not.toThrow(/c4n4ry/);
  });

  it.each(['', '  '])('treat variables that are %j as not set', (empty) => {
    const names = ['POINT_E_SECRET_KEY', 'POINT_E_PREVIOUS_SECRET_KEY', 'RATE_LIMIT_PER_IP', 'RATE_LIMIT_WINDOW'];
    const gpu = ['MAX_GPU_TIME_SECONDS', 'GPU_SLOTS', 'GPU_SECONDS_PER_DAY'];
    const more = [
      ...gpu,
      'REDIS_URL',
      'DATA_DIRECTORY',
      'TRUSTED_PROXIES',
      'TRUSTED_HOSTS',
      'PUBLIC_URL',
      'WORKER_URL',
      'HOST',
      'PORT',
    ];
    const all = [...names, ...more, 'NODE_ENV', 'ENVIRONMENT'];
    expect(readSettings(Object.fromEntries(all.map((name) => [name, empty])))).toEqual({
      ...readSettings({}),
      secrets: [expect.stringMatching(/^[0-9a-f]{64}$/)],
      operatorKey: expect.stringMatching(/^desk-[0-9a-f]{32}$/),
    });
  });

  it('are described as they are set, without the secrets', () => {
    const { described } = readSettings({
      POINT_E_SECRET_KEY: SECRET,
      POINT_E_PREVIOUS_SECRET_KEY: PREVIOUS,
      REDIS_URL: 'redis://:c4n4ry@localhost',
      RATE_LIMIT_WINDOW: '86400',
    });
    expect(described).toContainEqual({ name: 'RATE_LIMIT_WINDOW', value: '86400', source: 'environment' });
    expect(described).toContainEqual({ name: 'REDIS_URL', value: 'set', source: 'environment' });
    const text = JSON.stringify(described);
    for (const secret of [SECRET, PREVIOUS, 'c4n4ry']) expect(text).not.toContain(secret);
  });
});

describe('/generate/image', () => {
  const picture = () =>
    sharp({ create: { width: 32, height: 24, channels: 3, background: { r: 200, g: 40, b: 30 } } })
      .png()
      .toBuffer();

  async function startWithTwo() {
    const started = await start({ RATE_LIMIT_PER_IP: '2' });
    const send = async (
      body: Buffer | undefined,
      fields: Record<string, string> = {},
      credentials: Record<string, string> = started.authorization,
    ) => {
      const form = new FormData();
      if (body !== undefined) form.append('file', new Blob([new Uint8Array(body)]), 'photo.png');
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      return fetch(`${started.url}/generate/image`, {
        method: 'POST',
        body: form,
        headers: { ...credentials, 'X-Forwarded-For': USER },
      });
    };
    return { ...started, send };
  }

  it('generates a model from an image, and charges it like a prompt', async () => {
    const { send, usage, authorization, generate } = await startWithTwo();
    const response = await send(await picture(), { user_id: 'user123', grid_size: '16' });
    expect(response.status).toBe(200);
    const answer = await json(response);
    expect(answer).toMatchObject({ success: true, user_id: 'user123', vertices: expect.any(Number) });
    const model = await fetch(answer.download_url, { headers: authorization });
    expect(
      Buffer.from(await model.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('ply\n');
    expect(await usage()).toMatchObject({ used: 1 });
    expect((await generate({ prompt: 'a chair' })).status).toBe(200);
    expect((await send(await picture())).status).toBe(429);
  });

  it.each<[string, () => Promise<Buffer | undefined>, Record<string, string>, number]>([
    ['no file', async () => undefined, {}, 400],
    ['text instead of an image', async () => Buffer.from('no image'), {}, 415],
    ['an incomplete image', async () => (await picture()).subarray(0, 60), {}, 422],
    ['a grid that is too fine', picture, { grid_size: '129' }, 422],
    ['a grid that is not a number', picture, { grid_size: 'fine' }, 422],
  ])('refuses %s, and refunds the charge', async (_what, body, fields, status) => {
    const { send, usage, jobs } = await startWithTwo();
    const response = await send(await body(), fields);
    expect([response.status, Object.keys((await response.json()) as object)]).toEqual([status, ['detail']]);
    await expect.poll(async () => (await usage()).used).toBe(0);
    expect(jobs).toEqual([]);
  });

  it('checks the secret first', async () => {
    const { send } = await startWithTwo();
    expect((await send(await picture(), {}, {})).status).toBe(401);
  });
});
