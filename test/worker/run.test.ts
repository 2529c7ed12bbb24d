import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import {
  JobError,
  type JobRequest,
  type JobResult,
  type WorkerEvent,
  type WorkerOptions,
  worker,
} from '../../src/worker/index.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { CLOSED_URL, listening, sleepingWorker } from './scene.js';

const GPU = { kind: 'gpu-time', policy: 'gpu', isGlobal: false } as const;

/** An exchange that holds a slot and GPU time, and a worker to run its job. */
function held(url: string, options: Partial<WorkerOptions> = {}, admission = new HeldAdmission({}, GPU)) {
  const events: WorkerEvent[] = [];
  const { exchange, faults } = testExchange({ method: 'POST' });
  exchange.admission = admission;
  onTestFinished(() => exchange.end({ kind: 'completed', status: 200 }));
  const gpu = worker({ url, onEvent: (event) => events.push(event), ...options });
  const run = (request: Partial<JobRequest> = {}) => gpu.run(exchange, { path: '/job', body: '0', ...request });
  return { exchange, admission, events, faults, run, gpu };
}

const textOf = async (result: JobResult) =>
  result.kind === 'done' ? result.response.text() : `${result.kind} ${result.status} ${result.reason}`;

const free = [{ settle: { concurrency: 0 } }];
const forgiven = [{ settle: { concurrency: 0, gpu: 0 } }, { settle: 0 }];

describe('worker.run', () => {
  it('names the job, its slot, token, instance and deadline, and passes the answer on', async () => {
    const scene = await sleepingWorker({ slots: 4 });
    const { exchange, run, admission } = held(
      scene.url,
      { deadline: '20s', headers: { 'X-Tunnel': 'a' } },
      new HeldAdmission({ slot: 3, token: 77 }),
    );
    exchange.requestId = 'r-1';
    const result = await run({ body: '5', headers: { 'Content-Type': 'text/plain', 'X-Slot': '0' } });
    expect(await textOf(result)).toBe('slept 5');
    expect(scene.seen.jobs).toEqual([
      expect.objectContaining({
        'x-job-id': expect.stringMatching(/^[\w-]{36}$/),
        'x-slot': '3',
        'x-fencing-token': '77',
        'x-worker-instance': expect.stringMatching(/^[\w-]{36}$/),
        'x-deadline-ms': expect.stringMatching(/^(20000|19\d\d\d)$/),
        'x-request-id': 'r-1',
        'x-tunnel': 'a',
        'content-type': 'text/plain',
      }),
    ]);
    expect(admission.done).toEqual(free);
  });

  it('sends JSON', async () => {
    const scene = await sleepingWorker();
    expect(await textOf(await held(scene.url).run({ body: undefined, json: 12 }))).toBe('slept 12');
    expect(scene.seen.jobs[0]).toMatchObject({ 'content-type': 'application/json' });
  });

  it('sends a stream, and another one if the slot was busy', async () => {
    const scene = await sleepingWorker({ stopSeconds: 0.2 });
    const token = Date.now();
    const before = held(scene.url, {}, new HeldAdmission({ token }));
    void before.run({ body: '9000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    const body = vi.fn(() => new Blob(['1', '4']).stream() as ReadableStream<Uint8Array>);
    const after = held(scene.url, {}, new HeldAdmission({ token: token + 1 }));
    expect(await textOf(await after.run({ body }))).toBe('slept 14');
    expect(body).toHaveBeenCalledTimes(2);
  });

  it('settles the GPU time that the worker names, by the name of each policy, before the answer is read', async () => {
    const scene = await sleepingWorker();
    const { run, admission } = held(scene.url);
    const result = await run({ body: '120' });
    expect(admission.done).toEqual([{ settle: { concurrency: 0, gpu: expect.any(Number) } }]);
    const { settle } = admission.done[0] as { settle: { gpu: number } };
    expect(settle.gpu).toBeGreaterThanOrEqual(119);
    expect(settle.gpu).toBeLessThan(1000);
    await vi.waitFor(() => expect(admission.isPending).toBe(false));
    expect(result).toMatchObject({ kind: 'done', gpuTime: settle.gpu });
    expect(scene.count('DELETE')).toBe(0);
  });

  it('settles the wall time of a worker that names none, when its answer has ended', async () => {
    const url = await listening(
      createServer((request, response) => {
        response.setHeader('X-Worker-Instance', 'one');
        if (request.method === 'GET') return response.end('{}');
        response.writeHead(200).write('a');
        return setTimeout(() => response.end('b'), 200);
      }),
    );
    const { run, admission } = held(url);
    const result = await run();
    expect(admission.done).toEqual([]);
    expect(admission.isPending).toBe(true);
    expect(await textOf(result)).toBe('ab');
    expect(admission.done).toEqual([{ settle: { concurrency: 0, gpu: expect.any(Number) } }]);
    const { settle } = admission.done[0] as { settle: { gpu: number } };
    expect(settle.gpu).toBeGreaterThanOrEqual(190);
  });

  it('charges nothing for a failure of the worker, unless the service says so', async () => {
    const scene = await sleepingWorker();
    const { run, admission } = held(scene.url);
    const result = await run({ body: 'fail' });
    expect(result).toMatchObject({ kind: 'failed', status: 500, reason: expect.stringContaining('on fire') });
    expect((result as { reply: object }).reply).toMatchObject({ status: 502, problem: { code: 'worker-failed' } });
    expect(admission.done).toEqual(forgiven);
    const charged = held(scene.url, { chargeFailures: true });
    await charged.run({ body: 'fail' });
    expect(charged.admission.done).toEqual([{ settle: { concurrency: 0, gpu: expect.any(Number) } }]);
  });

  it('charges nothing for a job that the worker does not accept, unless the service says so', async () => {
    const scene = await sleepingWorker();
    for (const [chargeFailures, status, body, done] of [
      [false, 400, 'bad', forgiven],
      [false, 413, 'x'.repeat(2000), forgiven],
      [true, 400, 'bad', [{ settle: { concurrency: 0, gpu: expect.any(Number) } }]],
    ] as const) {
      const { run, admission } = held(scene.url, { chargeFailures });
      expect(await run({ body })).toMatchObject({ kind: 'failed', status });
      expect(admission.done).toEqual(done);
    }
  });

  it('charges what a job has used whose deadline passed', async () => {
    const scene = await sleepingWorker();
    const { run, admission } = held(scene.url);
    const result = await run({ body: '5000', deadline: '1s' });
    expect(result).toMatchObject({ kind: 'deadline-exceeded', reply: { status: 504 } });
    const [{ settle }] = admission.done as [{ settle: { gpu: number } }];
    expect(settle.gpu).toBeGreaterThanOrEqual(500);
    expect(admission.done).toEqual([{ settle: { concurrency: 0, gpu: settle.gpu } }]);
    expect(scene.count('DELETE')).toBe(0);
  });

  it('cancels a job that goes on after its deadline, and answers before it is gone', async () => {
    const scene = await sleepingWorker({ stopSeconds: 1 });
    const { run, admission } = held(scene.url, { grace: '100ms' });
    const started = performance.now();
    expect(await run({ body: '9000', deadline: '200ms' })).toMatchObject({ kind: 'deadline-exceeded' });
    expect(performance.now() - started).toBeLessThan(1000);
    expect([admission.isPending, admission.done]).toEqual([true, []]);
    await vi.waitFor(() => expect(admission.isPending).toBe(false), 5000);
    const [{ settle }] = admission.done as [{ settle: { gpu: number } }];
    expect(settle.gpu).toBeGreaterThanOrEqual(1000);
    expect(scene.count('DELETE')).toBe(1);
  });

  it('keeps the slot until the worker is done when the client leaves, and then charges what was used', async () => {
    const scene = await sleepingWorker({ stopSeconds: 1 });
    const { run, admission, exchange } = held(scene.url);
    const result = run({ body: '9000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    exchange.abort();
    expect(await result).toMatchObject({ kind: 'cancelled' });
    expect([admission.isPending, admission.done, scene.seen.running]).toEqual([true, [], 1]);
    await vi.waitFor(() => expect(admission.isPending).toBe(false), 5000);
    expect(scene.seen.running).toBe(0);
    const [{ settle }] = admission.done as [{ settle: { gpu: number } }];
    expect(settle.gpu).toBeGreaterThanOrEqual(1000);
    expect(admission.done).toEqual([{ settle: { concurrency: 0, gpu: settle.gpu } }]);
    expect(scene.count('DELETE')).toBe(1);
  });

  it('charges nothing if the client leaves before the job was sent', async () => {
    const scene = await sleepingWorker();
    const { run, admission, exchange } = held(scene.url);
    const result = run({ body: '9000' });
    exchange.abort();
    expect(await result).toMatchObject({ kind: 'cancelled' });
    expect(admission.done).toEqual(forgiven);
    expect(scene.count('POST')).toBe(0);
    expect(scene.count('DELETE')).toBe(0);
    const late = held(scene.url);
    late.exchange.abort();
    expect(await late.run()).toMatchObject({ kind: 'cancelled' });
  });

  it('holds the slot of a job that ignores its cancel, and reports it with its age', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const scene = await sleepingWorker({ stopSeconds: Number.POSITIVE_INFINITY, now: () => performance.now() });
    const { run, admission, exchange, events } = held(scene.url, { onEvent: undefined });
    void events;
    const warned: string[] = [];
    const listen = (warning: Error) => warned.push(warning.message);
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    const result = run({ body: '3000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    exchange.abort();
    await result;
    await vi.waitFor(() => expect(scene.count('GET /jobs')).toBeGreaterThan(0));
    vi.advanceTimersByTime(5000);
    await vi.waitFor(() => expect(warned).toHaveLength(1), 5000);
    expect(warned[0]).toMatch(/has run the job [\w-]{36} for 5 s and ignores its cancel; slot 0 stays held/);
    const listed = scene.count('GET /jobs');
    await vi.waitFor(() => expect(scene.count('GET /jobs')).toBeGreaterThan(listed), 5000);
    expect([warned.length, admission.isPending, admission.done]).toEqual([1, true, []]);
    await vi.waitFor(() => expect(admission.isPending).toBe(false), 8000);
    expect(scene.count('DELETE')).toBe(1);
  });

  it('waits while the job before it in its slot ends', async () => {
    const scene = await sleepingWorker({ stopSeconds: 0.3 });
    const token = Date.now();
    const before = held(scene.url, {}, new HeldAdmission({ token }));
    const first = before.run({ body: '9000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    const after = held(scene.url, {}, new HeldAdmission({ token: token + 1 }));
    expect(await textOf(await after.run({ body: '7' }))).toBe('slept 7');
    expect(await first).toMatchObject({ kind: 'unavailable' });
    expect([scene.seen.most, scene.seen.doubled]).toEqual([1, 0]);
    expect(before.admission.done).toEqual([{ settle: { concurrency: 0 } }, { settle: 0 }]);
  });

  it('repeats a job for a worker that has started again', async () => {
    const first = await sleepingWorker();
    const { run, gpu } = held(first.url);
    await gpu.status();
    const { port } = new URL(first.url);
    first.server.closeAllConnections();
    await new Promise((closed) => first.server.close(closed));
    const second = await sleepingWorker();
    second.server.closeAllConnections();
    await new Promise((closed) => second.server.close(closed));
    second.server.listen(Number(port), '127.0.0.1');
    await once(second.server, 'listening');
    expect(await textOf(await run({ body: '3' }))).toBe('slept 3');
    expect(second.count('POST')).toBe(2);
  });

  it('reports a slot that the worker does not have, and a token that it has seen', async () => {
    const scene = await sleepingWorker();
    const wide = held(scene.url, {}, new HeldAdmission({ slot: 1 }));
    expect(await wide.run()).toMatchObject({ kind: 'unavailable', reply: { status: 503 } });
    expect(wide.events.at(-1)).toMatchObject({
      kind: 'job-refused',
      reason: expect.stringContaining('does not have this slot'),
    });
    expect(wide.admission.done).toEqual([{ settle: { concurrency: 0 } }, { settle: 0 }]);
    const old = held(scene.url, {}, new HeldAdmission({ token: 7 }));
    await old.run();
    const older = held(scene.url, {}, new HeldAdmission({ token: 7 }));
    expect(await older.run()).toMatchObject({ kind: 'unavailable' });
    expect(older.events.at(-1)).toMatchObject({ kind: 'job-refused', reason: expect.stringContaining('newest') });
  });

  it('answers 503 and charges nothing while the worker cannot be reached', async () => {
    const { run, admission } = held(CLOSED_URL);
    const result = await run();
    expect(result).toMatchObject({ kind: 'unavailable', reply: { status: 503, headers: [['Retry-After', '5']] } });
    expect(admission.done).toEqual(forgiven);
    expect(admission.isPending).toBe(false);
  });

  it('cancels a job whose connection was lost, and waits for the word of the worker', async () => {
    const scene = await sleepingWorker();
    const { run, admission } = held(scene.url);
    const result = run({ body: '9000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    scene.server.closeAllConnections();
    expect(await result).toMatchObject({ kind: 'unavailable' });
    await vi.waitFor(() => expect(admission.isPending).toBe(false), 5000);
    expect(admission.done).toEqual(forgiven);
    expect(scene.count('DELETE')).toBe(1);
  });

  it('stops its job when the hold is lost', async () => {
    const scene = await sleepingWorker();
    const { run, admission, events } = held(scene.url);
    const result = run({ body: '9000' });
    await vi.waitFor(() => expect(scene.seen.running).toBe(1));
    admission.lose();
    expect(await result).toMatchObject({ kind: 'unavailable' });
    await vi.waitFor(() => expect([scene.seen.running, admission.isPending]).toEqual([0, false]), 5000);
    expect(events.map(({ kind }) => kind)).toEqual(['state', 'hold-lost']);
    expect(scene.count('DELETE')).toBe(1);
  });

  it.each<[string, () => HeldAdmission | undefined, Partial<WorkerOptions>, RegExp]>([
    ['no slot', () => undefined, {}, /found no slot; put limit\(\{ by: 'global', policies: concurrency/],
    ['only one that counts by client', () => new HeldAdmission({ isGlobal: false }), {}, /found no slot; put limit/],
    [
      'two slots',
      () => new HeldAdmission({ policy: 'a' }, { policy: 'b' }),
      {},
      /2 slots .* write worker\(\{ slots: 'a' \}\)/,
    ],
    ['none of the name', () => new HeldAdmission({ policy: 'a' }), { slots: 'b' }, /no slot of the policy "b"/],
  ])('needs one slot, and says what to write if the exchange holds %s', async (_what, admission, options, message) => {
    const { exchange } = testExchange();
    exchange.admission = admission();
    const gpu = worker({ url: 'http://127.0.0.1:9', ...options });
    await expect(gpu.run(exchange, { path: '/job' })).rejects.toThrow(message);
  });

  it('names the guard that is missing if there is no exchange', async () => {
    const gpu = worker({ url: 'http://127.0.0.1:1' });
    const exchange = undefined as unknown as Exchange;
    await expect(gpu.run(exchange, { path: '/job' })).rejects.toThrow(
      'gatewarden: worker.run needs the exchange of the request, got undefined; is guard(limit(...)) on this route?',
    );
  });

  it('uses the slot of the policy that is named', async () => {
    const scene = await sleepingWorker({ slots: 3 });
    const admission = new HeldAdmission(
      { policy: 'clients', isGlobal: false, slot: 9 },
      { policy: 'a' },
      { policy: 'b', slot: 2 },
    );
    await held(scene.url, { slots: 'b' }, admission).run();
    expect(scene.seen.jobs[0]).toMatchObject({ 'x-slot': '2' });
  });

  it('runs one job in a slot, and none after the exchange', async () => {
    const scene = await sleepingWorker();
    const { run } = held(scene.url);
    await run();
    await expect(run()).rejects.toThrow(/ran a job in this slot before/);
    const late = held(scene.url);
    late.exchange.end({ kind: 'completed', status: 200 });
    await expect(late.run()).rejects.toThrow(/after its exchange had ended/);
  });
});

/** Until the response can be written to again, or is closed. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

describe('a streaming answer', () => {
  /** A worker that streams as fast as it is read, and says how much that was. */
  async function streaming({ chunks, gpuSeconds }: { chunks: number; gpuSeconds?: string }) {
    const seen = { written: 0, deleted: 0, closed: 0 };
    const url = await listening(
      createServer(async (request, response) => {
        response.setHeader('X-Worker-Instance', 'one');
        if (request.method === 'DELETE') {
          seen.deleted++;
          return response.end('{"state":"gone"}');
        }
        if (request.method === 'GET') return response.end('{}');
        response.once('close', () => {
          seen.closed++;
        });
        if (gpuSeconds !== undefined) response.setHeader('X-GPU-Seconds', gpuSeconds);
        response.writeHead(200);
        for (let i = 0; i < chunks && !response.closed; i++) {
          seen.written += 65_536;
          if (!response.write(Buffer.alloc(65_536, i))) await drained(response);
        }
        return response.end();
      }),
    );
    return { url, seen };
  }

  it('is read no faster than its reader reads', async () => {
    const { url, seen } = await streaming({ chunks: 2000 });
    const { run } = held(url);
    const result = await run();
    if (result.kind !== 'done') throw new Error(result.reason);
    const reader = (result.response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await sleep(500);
    expect(seen.written).toBeLessThan(20 * 2 ** 20);
    let length = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
    }
    expect(length).toBeGreaterThan(2000 * 65_536 - 70_000);
  });

  it('of a job that has ended does not hold the slot', async () => {
    const { url, seen } = await streaming({ chunks: 2000, gpuSeconds: '1.5' });
    const { run, admission, exchange } = held(url);
    await run();
    expect(admission.done).toEqual([{ settle: { concurrency: 0, gpu: 1500 } }]);
    exchange.abort();
    await vi.waitFor(() => expect(seen.closed).toBe(1));
    expect(seen.deleted).toBe(0);
  });

  it('of a job that goes on is cancelled when its reader stops', async () => {
    const { url, seen } = await streaming({ chunks: 2000 });
    const { run, admission } = held(url);
    const result = await run();
    if (result.kind !== 'done') throw new Error(result.reason);
    await result.response.body?.cancel();
    await vi.waitFor(() => expect([seen.closed, seen.deleted, admission.isPending]).toEqual([1, 1, false]));
  });

  it('that nobody reads is cancelled when the exchange ends', async () => {
    const { url, seen } = await streaming({ chunks: 2000 });
    const { run, exchange } = held(url);
    await run();
    exchange.end({ kind: 'completed', status: 200 });
    await vi.waitFor(() => expect([seen.closed, seen.deleted]).toEqual([1, 1]));
  });

  it('fails for its reader when the deadline passes, or the worker breaks off', async () => {
    const cut = (end: (response: ServerResponse) => unknown): Promise<string> =>
      listening(
        createServer((request, response): void => {
          response.setHeader('X-Worker-Instance', 'one');
          if (request.method !== 'POST') {
            response.end('{"state":"gone"}');
            return;
          }
          response.writeHead(200).write('a');
          end(response);
        }),
      );
    for (const [kind, end] of [
      ['deadline-exceeded', () => undefined],
      ['unavailable', (response: ServerResponse) => setTimeout(() => response.destroy(), 50)],
    ] as const) {
      const { run, admission } = held(await cut(end), { deadline: '1s', grace: '0ms' });
      const result = await run();
      if (result.kind !== 'done') throw new Error(result.reason);
      const error = await result.response.text().catch((error: unknown) => error);
      expect(error).toBeInstanceOf(JobError);
      expect((error as JobError).failure).toMatchObject({ kind });
      await vi.waitFor(() => expect(admission.isPending).toBe(false));
    }
  });
});
