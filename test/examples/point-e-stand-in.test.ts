import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { request, type Server } from 'node:http';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createStandIn } from '../../examples/workers/point-e-stand-in.js';
import type { WorkerOptions } from '../../examples/workers/worker-server.js';

const WORKER = 'point-e stand-in (CPU, no model)';

async function start(
  options: WorkerOptions = {},
): Promise<{ url: string; server: Server; nextLine: () => Promise<string> }> {
  const lines = new EventEmitter();
  const server = createStandIn({ log: (line) => lines.emit('line', line), ...options });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  const nextLine = async () => String((await once(lines, 'line'))[0]);
  return { url: `http://127.0.0.1:${address.port}`, server, nextLine };
}

let token = Date.now();

/** The headers that every job has, in a slot of its own. */
async function jobHeaders(url: string, slot = 0): Promise<Record<string, string>> {
  token = Math.max(token + 1, Date.now());
  return {
    'x-job-id': `job-${token}`,
    'x-slot': String(slot),
    'x-fencing-token': String(token),
    'x-worker-instance': (await fetch(`${url}/jobs`)).headers.get('x-worker-instance') ?? '',
    'x-deadline-ms': '60000',
  };
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/generate/text`, {
    method: 'POST',
    headers: { ...(await jobHeaders(url)), 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

const job = (prompt: string, gridSize: unknown = 8) => ({ prompt, grid_size: gridSize });

describe('GET /ready', () => {
  it('reports that it is ready, and that it is a stand-in', async () => {
    const { url } = await start();
    const response = await fetch(`${url}/ready?probe=1`);
    expect(response.status).toBe(200);
    const instance = response.headers.get('x-worker-instance');
    expect(await response.json()).toEqual({ ready: true, worker: WORKER, instance, slots: 1 });
  });

  it('responds with 503 and the remaining seconds while it loads, as does a generation', async () => {
    let time = 1000;
    const { url } = await start({ readyAfterMs: 2500, now: () => time });
    for (const response of [await fetch(`${url}/ready`), await post(url, job('a cow'))]) {
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('3');
      expect(await response.json()).toEqual({ ready: false, worker: WORKER, error: 'loading', reason: 'loading' });
    }
    time += 2500;
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    expect((await post(url, job('a cow'))).status).toBe(200);
  });

  it.each([-1, Number.NaN])('refuses readyAfterMs %d', (readyAfterMs) => {
    expect(() => createStandIn({ readyAfterMs })).toThrow(/"readyAfterMs"/);
  });
});

describe('POST /generate/text', () => {
  it('responds with a PLY, its cost and size, and the id of the request', async () => {
    const { url, nextLine } = await start();
    const line = nextLine();
    const response = await post(url, job('a red sports car', 16), { 'x-request-id': 'req-1.a:b_c' });
    const body = Buffer.from(await response.arrayBuffer());
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('x-request-id')).toBe('req-1.a:b_c');
    expect(response.headers.get('x-vertices')).toBe('482');
    expect(response.headers.get('x-faces')).toBe('960');
    expect(response.headers.get('x-gpu-seconds')).toMatch(/^\d+\.\d+$/);
    expect(response.headers.get('content-length')).toBe(String(body.length));
    expect(body.toString('latin1')).toMatch(/^ply\nformat binary_little_endian 1\.0\n/);
    expect(body.length - body.indexOf('end_header\n') - 'end_header\n'.length).toBe(482 * 15 + 960 * 13);
    expect(await line).toMatch(/^point-e stand-in: req-1\.a:b_c 200 /);
  });

  it('replaces a request id that could forge a log line', async () => {
    const { url, nextLine } = await start();
    const line = nextLine();
    const response = await post(url, job('a cow'), { 'x-request-id': 'a 200 point-e' });
    const id = response.headers.get('x-request-id');
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await line).toContain(`: ${id} 200 `);
  });

  it.each([
    ['incomplete JSON', '{"prompt":'],
    ['a JSON string', '"a cow"'],
    ['null', 'null'],
    ['no prompt', { grid_size: 8 }],
    ['an empty prompt', job('')],
    ['a blank prompt', job(' \n')],
    ['a prompt that is not a string', { prompt: ['a cow'], grid_size: 8 }],
    ['a prompt of 1001 characters', job('a'.repeat(1001))],
    ['no grid_size', { prompt: 'a cow' }],
    ['grid_size 7', job('a cow', 7)],
    ['grid_size 129', job('a cow', 129)],
    ['grid_size 8.5', job('a cow', 8.5)],
    ['grid_size "8"', job('a cow', '8')],
  ])('responds with 400 to %s', async (_what, body) => {
    const { url } = await start();
    const response = await post(url, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: expect.any(String) });
  });

  it('accepts a prompt of 1000 characters, the limits of grid_size, and unknown fields', async () => {
    const { url } = await start();
    expect((await post(url, job('a'.repeat(1000)))).status).toBe(200);
    expect((await post(url, { ...job('a cow', 128), user_id: 'u1' })).status).toBe(200);
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'])(
    'responds with 400 to a body of type %s',
    async (type) => {
      const { url } = await start();
      expect((await post(url, job('a cow'), { 'content-type': type })).status).toBe(400);
    },
  );

  it('responds with 413 above 64 KB, before the body has ended', async () => {
    const { url } = await start();
    const headers = { ...(await jobHeaders(url)), 'content-type': 'application/json' };
    const upload = request(`${url}/generate/text`, { method: 'POST', headers });
    upload.on('error', () => undefined);
    upload.write(Buffer.alloc(64 * 1024 + 1, ' '));
    const [response] = await once(upload, 'response');
    expect(response.statusCode).toBe(413);
    upload.destroy();
  });

  it('accepts a body of exactly 64 KB', async () => {
    const { url } = await start();
    expect((await post(url, JSON.stringify(job('a cow')).padEnd(64 * 1024))).status).toBe(200);
    expect((await post(url, JSON.stringify(job('a cow')).padEnd(64 * 1024 + 1))).status).toBe(413);
  });

  it('responds with 404 to an unknown path and 405 to a wrong method', async () => {
    const { url } = await start();
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/generate/sound`, { method: 'POST' })).status).toBe(404);
    const wrong = await fetch(`${url}/generate/text`);
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await fetch(`${url}/ready`, { method: 'POST' })).status).toBe(405);
  });

  it('responds with 500 to a prompt that contains [fail]', async () => {
    const { url } = await start();
    const response = await post(url, job('a cow [fail]'), { 'x-request-id': 'r1' });
    expect(response.status).toBe(500);
    expect(response.headers.get('x-request-id')).toBe('r1');
    expect(await response.json()).toEqual({ error: expect.stringContaining('fail') });
  });

  it('responds to other requests while it computes', async () => {
    const { url } = await start({ slots: 6 });
    let unfinished = 6;
    const jobs = Array.from({ length: unfinished }, async (_, i) => {
      await post(url, job(`cow ${i}`, 128), { 'x-slot': String(i) });
      unfinished -= 1;
    });
    await fetch(`${url}/ready`);
    expect(unfinished).toBeGreaterThan(0);
    await Promise.all(jobs);
  });
});

describe('a caller that stops waiting', () => {
  it('stops the computation when the client disconnects', async () => {
    const { url, server, nextLine } = await start();
    const line = nextLine();
    const leave = new AbortController();
    const body = JSON.stringify(job('[slow] a cow', 64));
    const headers = { ...(await jobHeaders(url)), 'content-type': 'application/json', 'x-request-id': 'gone' };
    server.once('request', (req) => req.once('end', () => leave.abort()));
    const init = { method: 'POST', headers, body, signal: leave.signal };
    await expect(fetch(`${url}/generate/text`, init)).rejects.toThrow('aborted');
    const [, rings] =
      /^point-e stand-in: gone 499 client disconnected, stopped after (\d+) of 63 rings$/.exec(await line) ?? [];
    expect(Number(rings)).toBeLessThan(40);
  });

  it('stops when the client disconnects in the middle of the body', async () => {
    const { url, server, nextLine } = await start();
    const line = nextLine();
    const upload = request(`${url}/generate/text`, { method: 'POST', headers: await jobHeaders(url) });
    upload.on('error', () => undefined);
    server.once('request', () => upload.destroy());
    upload.write('{"prompt":');
    expect(await line).toContain(' 499 client disconnected, stopped before the body was complete');
  });

  it('responds with 504 when the deadline passes during the computation', async () => {
    const { url, nextLine } = await start();
    const line = nextLine();
    const response = await post(url, job('[slow] a cow', 64), { 'x-deadline-ms': '120' });
    expect(response.status).toBe(504);
    expect(await response.json()).toEqual({ error: 'deadline passed' });
    expect(await line).toMatch(/ 504 deadline passed, stopped after \d+ of 63 rings$/);
  });

  it('responds with 504 when the deadline passes before the body is complete', async () => {
    const { url } = await start();
    const headers = { ...(await jobHeaders(url)), 'x-deadline-ms': '20' };
    const upload = request(`${url}/generate/text`, { method: 'POST', headers });
    upload.on('error', () => undefined);
    upload.write('{"prompt":');
    const [response] = await once(upload, 'response');
    expect(response.statusCode).toBe(504);
    upload.destroy();
  });

  it.each([
    ['0', 504],
    ['60000', 200],
    ['-1', 400],
    ['1.5', 400],
    ['soon', 400],
    ['1234567890', 400],
  ])('responds to X-Deadline-Ms %s with %i', async (deadline, status) => {
    const { url } = await start();
    expect((await post(url, job('a cow'), { 'x-deadline-ms': deadline })).status).toBe(status);
  });
});

describe('the process', { timeout: 20_000 }, () => {
  const file = fileURLToPath(new URL('../../examples/workers/point-e-stand-in.ts', import.meta.url));
  const run = (port: string, ...args: string[]) => {
    const child = fork(file, args, {
      execArgv: ['--import', 'tsx'],
      env: { ...process.env, PORT: port },
      silent: true,
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const read = (stream: Readable | null) => (stream === null ? Promise.resolve('') : text(stream));
    return { child, exited: once(child, 'exit'), stdout: read(child.stdout), stderr: read(child.stderr) };
  };

  it.each(['disconnect', 'SIGTERM', 'SIGINT'] as const)('reports its URL and exits on %s', async (end) => {
    const { child, exited, stdout } = run('0');
    const [message] = await once(child, 'message');
    expect(message).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
    const slow = post(message.url, job('[slow] a cow')).catch(() => 'cut off');
    await expect
      .poll(async () => ((await (await fetch(`${message.url}/jobs`)).json()) as { jobs: unknown[] }).jobs.length)
      .toBe(1);
    if (end === 'disconnect') child.disconnect();
    else child.kill(end);
    expect(await exited).toEqual([0, null]);
    expect(await slow).toBe('cut off');
    expect(await stdout).toBe(`point-e stand-in listening on ${message.url}\n`);
  });

  it('takes its slots, the seconds of a slow GPU and the time to load from its arguments', async () => {
    const { child } = run('0', '--slots', '3', '--seconds', '1', '--stop-seconds', '1', '--ready-after', '0.1');
    const [{ url }] = await once(child, 'message');
    await expect.poll(async () => (await fetch(`${url}/ready`)).status).toBe(200);
    expect(await (await fetch(`${url}/ready`)).json()).toMatchObject({ slots: 3 });
    const started = performance.now();
    expect((await post(url, job('a cow'))).status).toBe(200);
    expect(performance.now() - started).toBeGreaterThan(950);
  });

  it.each([
    [['--slots', '0'], '"slots" must be an integer from 1 to 1000'],
    [['--seconds', 'soon'], '"seconds" must be a number of at least 0'],
    [['--slot', '1'], "Unknown option '--slot'"],
  ])('refuses the arguments %j', async (args, message) => {
    const { exited, stderr } = run('0', ...args);
    expect((await exited)[0]).toBe(1);
    expect(await stderr).toContain(message);
  });

  it('does not start if its parent has already exited', async () => {
    const { child, exited, stdout } = run('0');
    child.disconnect();
    expect(await exited).toEqual([0, null]);
    expect(await stdout).toBe('');
  });

  it.each(['65536', 'http', ''])('refuses PORT "%s"', async (port) => {
    const { exited, stderr } = run(port);
    expect((await exited)[0]).toBe(1);
    expect(await stderr).toContain('"PORT" must be an integer from 0 to 65535');
  });
});

describe('POST /generate/image', () => {
  const send = async (body: string, headers: Record<string, string> = {}) => {
    const { url } = await start();
    return fetch(`${url}/generate/image`, {
      method: 'POST',
      body,
      headers: { ...(await jobHeaders(url)), 'content-type': 'image/png', 'x-grid-size': '16', ...headers },
    });
  };

  it('responds with the same mesh for the same bytes', async () => {
    const [one, again, other] = [await send('picture'), await send('picture'), await send('another')];
    expect([one.status, other.status]).toEqual([200, 200]);
    const bytes = Buffer.from(await one.arrayBuffer());
    expect(Buffer.from(await again.arrayBuffer()).equals(bytes)).toBe(true);
    expect(Buffer.from(await other.arrayBuffer()).equals(bytes)).toBe(false);
  });

  it.each([
    ['a body that is not an image', 'x', { 'content-type': 'text/plain' }],
    ['an empty body', '', {}],
    ['no grid', 'x', { 'x-grid-size': '' }],
    ['a grid that is too fine', 'x', { 'x-grid-size': '129' }],
  ])('responds with 400 to %s', async (_what, body, headers) => {
    expect((await send(body, headers)).status).toBe(400);
  });
});
