import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect, it, onTestFinished, vi } from 'vitest';
import { type JobRequest, type WorkerEvent, type WorkerOptions, worker } from '../../src/worker/index.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { listening } from './scene.js';

/** A worker that answers a job in this way, and an exchange that holds a slot and GPU time. */
async function answering(
  answer: (response: ServerResponse, request: IncomingMessage) => unknown,
  options: Partial<WorkerOptions> = {},
) {
  const seen = { deleted: 0, jobs: 0 };
  /** What it answers to a cancel. */
  const control = { cancelStatus: 200 };
  const url = await listening(
    createServer((request, response) => {
      if (request.method === 'POST') {
        seen.jobs++;
        answer(response, request);
        return;
      }
      response.setHeader('X-Worker-Instance', 'one');
      if (request.method === 'DELETE') {
        seen.deleted++;
        response.statusCode = control.cancelStatus;
      }
      response.end('{"state":"gone"}');
    }),
  );
  const admission = new HeldAdmission({}, { kind: 'gpu-time', policy: 'gpu', isGlobal: false });
  const { exchange } = testExchange({ method: 'POST' });
  exchange.admission = admission;
  onTestFinished(() => exchange.end({ kind: 'completed', status: 200 }));
  const events: WorkerEvent[] = [];
  const gpu = worker({ url, onEvent: (event) => events.push(event), ...options });
  const run = (request: Partial<JobRequest> = {}) => gpu.run(exchange, { path: '/job', body: '0', ...request });
  return { seen, control, admission, exchange, events, run };
}

const paid = (gpu: unknown) => [{ settle: { concurrency: 0, gpu } }];
const forgiven = [{ settle: { concurrency: 0, gpu: 0 } }, { settle: 0 }];
const INSTANCE = { 'X-Worker-Instance': 'one' };

it('charges a job that was refused for its input after the GPU had worked on it', async () => {
  const { run, admission } = await answering((response) =>
    response.writeHead(422, { ...INSTANCE, 'X-GPU-Seconds': '9' }).end('{}'),
  );
  expect(await run()).toMatchObject({ kind: 'failed', status: 422 });
  expect(admission.done).toEqual(paid(9000));
});

it.each([301, 302, 303, 307, 308])('never sends a job on to where a %i points', async (status) => {
  const { run, seen } = await answering((response, request) => {
    expect(request.url).toBe('/job');
    response.writeHead(status, { ...INSTANCE, Location: '/elsewhere' }).end();
  });
  expect(await run()).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('unexpected redirect') });
  expect(seen.jobs).toBe(1);
});

it.each([200, 404, 502, 503, 504])(
  'does not take a %i without an instance for the word of the worker',
  async (status) => {
    const { run, admission, seen } = await answering((response) => response.writeHead(status).end('<html>'));
    expect(await run()).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining(`a response ${status}`) });
    await vi.waitFor(() => expect(admission.isPending).toBe(false));
    expect(seen.deleted).toBe(1);
    expect(admission.done).toEqual(forgiven);
  },
);

it('does not cut the answer of a job that has ended when its deadline passes', async () => {
  const { run } = await answering(
    (response) => {
      response.writeHead(200, { ...INSTANCE, 'X-GPU-Seconds': '0.1' }).write('a');
      setTimeout(() => response.end('b'), 700);
    },
    { deadline: '300ms', grace: '0ms' },
  );
  const result = await run();
  expect(result.kind === 'done' && (await result.response.text())).toBe('ab');
});

it('charges a job whose body broke off by itself after the worker had begun to read it', async () => {
  const { run, admission, seen } = await answering((_response, request) =>
    request.resume().on('error', () => undefined),
  );
  let pulls = 0;
  const body = () =>
    new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (pulls++ === 0) return controller.enqueue(new Uint8Array(9));
        await vi.waitFor(() => expect(seen.jobs).toBe(1));
        return controller.error(Object.assign(new Error('the upload broke off'), { code: 'ECONNREFUSED' }));
      },
    });
  expect(await run({ body })).toMatchObject({ kind: 'cancelled', reason: expect.stringContaining('body') });
  await vi.waitFor(() => expect(admission.isPending).toBe(false));
  expect(admission.done).toEqual(paid(expect.any(Number)));
  expect(seen.deleted).toBe(1);
});

it('rethrows the error of a body that cannot be opened, and sends nothing', async () => {
  const { run, admission, seen } = await answering((response) => response.end());
  const body = () => {
    throw new Error('no such file');
  };
  await expect(run({ body })).rejects.toThrow('no such file');
  expect(admission.done).toEqual(forgiven);
  expect([seen.jobs, seen.deleted]).toEqual([0, 0]);
});

it('does not charge the time in which the worker was silent, and reports a cancel that is not confirmed', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const { run, admission, seen, control, exchange, events } = await answering(() => undefined, { grace: '1s' });
  control.cancelStatus = 500;
  const result = run({ deadline: '3s' });
  await vi.waitFor(() => expect(seen.jobs).toBe(1));
  exchange.abort();
  await result;
  await vi.waitFor(() => expect(seen.deleted).toBeGreaterThan(0));
  vi.advanceTimersByTime(60_000);
  await vi.waitFor(() => expect(events.at(-1)).toMatchObject({ kind: 'cancel-unconfirmed' }), 5000);
  expect((events.at(-1) as { age: number }).age).toBeGreaterThanOrEqual(60_000);
  expect(admission.isPending).toBe(true);
  control.cancelStatus = 200;
  await vi.waitFor(() => expect(admission.isPending).toBe(false), 5000);
  const [{ settle }] = admission.done as [{ settle: { gpu: number } }];
  expect(settle.gpu).toBeGreaterThan(3000);
  // The deadline and its grace.
  expect(settle.gpu).toBeLessThanOrEqual(4000);
});

it('survives an answer whose stream fails with undefined', async () => {
  const respond = (url: string, init: RequestInit): Response => {
    if (init.method !== 'POST') return new Response('{"state":"gone"}', { headers: INSTANCE });
    const stream = new ReadableStream({ pull: (controller) => controller.error(undefined) });
    return new Response(url === '' ? null : stream, { headers: INSTANCE });
  };
  const { run, admission } = await answering(() => undefined, { fetch: async (url, init) => respond(url, init) });
  const result = await run();
  if (result.kind !== 'done') throw new Error(result.reason);
  await expect(result.response.text()).rejects.toMatchObject({ failure: { kind: 'unavailable' } });
  await vi.waitFor(() => expect(admission.isPending).toBe(false));
});

it('does not name an encoding that fetch has undone', async () => {
  const body = gzipSync('hello');
  const { run } = await answering((response) =>
    response.writeHead(200, { ...INSTANCE, 'Content-Encoding': 'gzip', 'Content-Length': body.length }).end(body),
  );
  const result = await run();
  if (result.kind !== 'done') throw new Error(result.reason);
  expect(await result.response.text()).toBe('hello');
  expect([...result.response.headers.keys()]).not.toContain('content-encoding');
  expect([...result.response.headers.keys()]).not.toContain('content-length');
});

it('lets the headers of the worker win over those of a job', async () => {
  const answer = (response: ServerResponse, { headers }: IncomingMessage) =>
    response.writeHead(200, INSTANCE).end(`${headers['x-tunnel']} ${headers['x-slot']} ${headers['x-more']}`);
  const { run } = await answering(answer, { headers: { 'X-Tunnel': 'ours', 'X-Slot': '7' } });
  const result = await run({ headers: { 'x-tunnel': 'theirs', 'X-More': 'yes' } });
  expect(result.kind === 'done' && (await result.response.text())).toBe('ours 0 yes');
});

it.each(['/../x', '/a/%2E%2e/x', '/.', '/a\\..\\x'])(
  'refuses the path %s, which leads out of the base path',
  async (path) => {
    const { run } = await answering((response) => response.end());
    await expect(run({ path })).rejects.toThrow(/"path" must have no segment/);
  },
);

it('waits as long as a timer can with the longest deadline and grace', async () => {
  const answer = (response: ServerResponse) => setTimeout(() => response.writeHead(200, INSTANCE).end('late'), 100);
  const { run } = await answering(answer, { deadline: '2147000s', grace: '3600s', fetch });
  const result = await run();
  expect(result.kind === 'done' && (await result.response.text())).toBe('late');
});
