import { createServer, type ServerResponse } from 'node:http';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { OptionError, sequence } from '../../src/index.js';
import { deadline, type WorkerEvent, type WorkerOptions, worker } from '../../src/worker/index.js';
import { ask, testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { CLOSED_URL, listening, sleepingWorker } from './scene.js';

function watched(url: string, options: Partial<WorkerOptions> = {}) {
  const events: WorkerEvent[] = [];
  const gpu = worker({ url, probeMaxAge: '1ms', onEvent: (event) => events.push(event), ...options });
  const states = () => events.flatMap((event) => (event.kind === 'state' ? [event.state] : []));
  return { gpu, ready: gpu.ready(), events, states };
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** A worker that answers `GET /ready` as it is told. */
async function answering(first: (response: ServerResponse) => unknown) {
  const scene = { answer: first, probes: 0, inFlight: 0, most: 0 };
  const url = await listening(
    createServer((request, response) => {
      response.setHeader('X-Worker-Instance', 'one');
      if (request.method === 'POST') return;
      scene.probes++;
      scene.most = Math.max(scene.most, ++scene.inFlight);
      response.once('close', () => {
        scene.inFlight--;
      });
      scene.answer(response);
    }),
  );
  return Object.assign(scene, { url });
}

describe('worker.ready', () => {
  it('lets requests pass while the worker is ready, and refuses them with its own Retry-After while it loads', async () => {
    let now = 0;
    const scene = await sleepingWorker({ readyAfterMs: 90_000, now: () => now });
    const { ready, events } = watched(scene.url);
    const refused = await ask(ready);
    expect([refused.status, refused.replyHeaders]).toEqual([503, { 'Retry-After': '90' }]);
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'not-ready', status: 503 });
    now = 90_000;
    await pause();
    expect((await ask(ready)).passed).toBe(true);
    expect(events).toEqual([
      { kind: 'state', state: 'loading', previous: undefined, reason: 'it responds 503' },
      { kind: 'state', state: 'ready', previous: 'loading', reason: 'it responds' },
    ]);
  });

  it.each<[string, string, (response: ServerResponse) => unknown]>([
    ['dead', 'breaks off', (response) => response.destroy()],
    ['dead', 'fails', (response) => response.writeHead(500).end()],
    ['dead', 'does not answer', () => undefined],
    ['dead', 'sends elsewhere', (response) => response.writeHead(302, { Location: '/else' }).end()],
    ['loading', 'responds with 503', (response) => response.writeHead(503).end()],
  ])('says that a worker is %s if it %s', async (state, _what, answer) => {
    const { url } = await answering(answer);
    const { ready, gpu, states } = watched(url, { probeTimeout: '100ms' });
    expect((await ask(ready)).replyHeaders).toEqual({ 'Retry-After': '5' });
    expect(await gpu.status()).toMatchObject({ state, isUp: false });
    expect(states()).toEqual([state]);
  });

  it('says that a worker loads while it refuses connections, and is dead if it names no instance', async () => {
    const { gpu, events } = watched(CLOSED_URL);
    expect(await gpu.status()).toMatchObject({ state: 'loading', isUp: false });
    expect(events).toMatchObject([{ reason: 'no connection: ECONNREFUSED' }]);
    const url = await listening(createServer((_request, response) => response.end('{"ready":true}')));
    const old = watched(url);
    expect(await old.gpu.status()).toMatchObject({ state: 'dead', isUp: false });
    expect(old.events).toMatchObject([{ reason: 'it does not name its instance' }]);
  });

  it('reports each change once', async () => {
    const scene = await answering((response) => response.end());
    const { gpu, states } = watched(scene.url);
    for (const answer of [
      (response: ServerResponse) => response.end(),
      (response: ServerResponse) => response.writeHead(503).end(),
      (response: ServerResponse) => response.destroy(),
      (response: ServerResponse) => response.end(),
    ]) {
      scene.answer = answer;
      for (let i = 0; i < 3; i++) {
        await pause();
        await gpu.status();
      }
    }
    expect(states()).toEqual(['ready', 'loading', 'dead', 'ready']);
    expect(scene.probes).toBeGreaterThanOrEqual(12);
  });

  it('asks once for all requests, and uses the answer for a while', async () => {
    const scene = await answering((response) => setTimeout(() => response.end(), 50));
    const { ready } = watched(scene.url, { probeMaxAge: '1h' });
    const guard = sequence(ready);
    await Promise.all(Array.from({ length: 100 }, () => guard(testExchange().exchange)));
    expect(scene).toMatchObject({ probes: 1, most: 1 });
    // Then it answers at once, without a promise.
    expect(guard(testExchange().exchange)).toBeUndefined();
    expect(scene.probes).toBe(1);
  });

  it('does not take a worker for dead that computes and has no time to answer', async () => {
    const scene = await answering((response) => response.end());
    const { gpu, ready, states } = watched(scene.url, { probeTimeout: '50ms' });
    await gpu.status();
    const { exchange } = testExchange();
    exchange.admission = new HeldAdmission({});
    const job = gpu.run(exchange, { path: '/job' });
    await vi.waitFor(async () => {
      scene.answer = () => undefined;
      await pause();
      expect((await ask(ready)).passed).toBe(true);
      expect(states()).toEqual(['ready', 'busy']);
    });
    expect(await gpu.status()).toMatchObject({ state: 'busy', isUp: true });
    scene.answer = (response) => response.end('{"state":"gone"}');
    exchange.abort();
    expect(await job).toMatchObject({ kind: 'cancelled' });
    await vi.waitFor(async () => expect((await gpu.status()).state).toBe('ready'));
    expect(states()).toEqual(['ready', 'busy', 'ready']);
  });

  it('tells the operator of a dead worker by a warning if the service does not listen', async () => {
    const { url } = await answering((response) => response.writeHead(500).end());
    const warned: (Error & { code?: string })[] = [];
    const listen = (warning: Error) => warned.push(warning);
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    await worker({ url }).status();
    await vi.waitFor(() => expect(warned).toHaveLength(1));
    expect(warned[0]).toMatchObject({
      code: 'GATEWARDEN_WORKER_DEAD',
      message: `gatewarden: the worker ${url} is dead: GET /ready responds 500`,
    });
  });

  it('asks again at once after a job could not be sent', async () => {
    const scene = await sleepingWorker();
    const { gpu } = watched(scene.url, { probeMaxAge: '1h' });
    await gpu.status();
    scene.server.closeAllConnections();
    await new Promise((closed) => scene.server.close(closed));
    expect(await gpu.status()).toMatchObject({ state: 'ready' });
    const { exchange } = testExchange();
    exchange.admission = new HeldAdmission({});
    expect(await gpu.run(exchange, { path: '/job' })).toMatchObject({ kind: 'unavailable' });
    expect(await gpu.status()).toMatchObject({ state: 'loading' });
    scene.server.listen(0);
  });
});

describe('deadline', () => {
  const headerOf = (value: string, name = 'X-Deadline-Ms') => ({ headers: [[name, value]] as const });

  it.each<[string, object, number]>([
    ['the longest time without a wish', {}, 60_000],
    ['a shorter time that the client asks for', headerOf('1500'), 1500],
    ['never a longer one', headerOf('60001'), 60_000],
    ['never a much longer one', headerOf('999999999999999'), 60_000],
  ])('sets %s', async (_what, options, duration) => {
    const { passed, exchange } = await ask(deadline({ max: '60s' }), options);
    expect(passed).toBe(true);
    expect(exchange.deadline?.duration).toBe(duration);
    expect(exchange.deadline?.remaining()).toBeLessThanOrEqual(duration);
    expect(exchange.deadline?.remaining()).toBeGreaterThan(duration - 1000);
  });

  it.each(['', '0', '-1', '1.5', '1e3', 'soon', '10s', '1234567890123456'])('refuses the wish %j', async (value) => {
    const { status, body } = await ask(deadline({ max: '60s' }), headerOf(value));
    expect([status, JSON.parse(body).code]).toEqual([400, 'deadline-malformed']);
  });

  it('refuses two wishes, and reads the header that it is told to', async () => {
    const both = { headers: [...headerOf('1').headers, ...headerOf('2').headers] };
    expect((await ask(deadline({ max: '60s' }), both)).status).toBe(400);
    const { exchange } = await ask(deadline({ max: '60s', header: 'Wait' }), headerOf('77', 'wait'));
    expect(exchange.deadline?.duration).toBe(77);
  });

  it('shortens the deadline of a job, and never lengthens it', async () => {
    const scene = await sleepingWorker();
    for (const [own, guard, asked, sent] of [
      ['20s', '10s', undefined, 10_000],
      ['20s', '40s', undefined, 20_000],
      ['20s', '40s', '5s', 5000],
    ] as const) {
      const { exchange } = await ask(deadline({ max: guard }));
      exchange.admission = new HeldAdmission({ token: Date.now() + sent });
      await worker({ url: scene.url, deadline: own }).run(exchange, { path: '/job', body: '0', deadline: asked });
      const said = Number(scene.seen.jobs.at(-1)?.['x-deadline-ms']);
      expect(said).toBeLessThanOrEqual(sent);
      expect(said).toBeGreaterThan(sent - 2000);
    }
  });

  it('leaves no time for a job that comes too late', async () => {
    const scene = await sleepingWorker();
    const { exchange } = await ask(deadline({ max: '1ms' }));
    await pause();
    const admission = new HeldAdmission({});
    exchange.admission = admission;
    expect(exchange.deadline?.remaining()).toBe(0);
    const gpu = worker({ url: scene.url });
    expect(await gpu.run(exchange, { path: '/job' })).toMatchObject({ kind: 'deadline-exceeded' });
    const forgiven = [{ settle: { concurrency: 0 } }, { settle: 0 }];
    expect([scene.count('POST'), admission.done, admission.isPending]).toEqual([0, forgiven, false]);
  });
});

describe('the options', () => {
  const url = 'http://127.0.0.1:9';

  it.each<[string, () => unknown, RegExp]>([
    ['no URL', () => worker({ url: undefined as never }), /worker "url" must be a URL/],
    ['a URL with a password', () => worker({ url: 'http://a:c4n4ry@b' }), /must not contain a user name or password/],
    ['a misspelt name', () => worker({ url, slot: 'a' } as never), /worker has no option "slot". Did you mean "slots"/],
    ['a bare number', () => worker({ url, deadline: 60 as never }), /"deadline" needs a unit, got 60/],
    [
      'a deadline that fetch cannot wait for',
      () => worker({ url, deadline: '10m' }),
      /must be at most '300s' with the fetch/,
    ],
    ['a header with a line break', () => worker({ url, headers: { a: 'b\nc' } }), /worker "headers" must be/],
    ['no function', () => worker({ url, onEvent: 'log' as never }), /"onEvent" must be a function/],
    ['no longest deadline', () => deadline({} as never), /deadline "max" must be a length of time/],
    ['a header that cannot be', () => deadline({ max: '1s', header: 'a b' }), /"header" must be the name of a header/],
  ])('refuse %s', (_what, make, message) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
    expect(make).not.toThrow(/c4n4ry/);
  });

  it('accept a longer deadline with a fetch of its own', () => {
    expect(() => worker({ url, deadline: '10m', fetch: (target, init) => fetch(target, init) })).not.toThrow();
  });

  it('of a job are checked too', async () => {
    const { exchange } = testExchange();
    exchange.admission = new HeldAdmission({});
    const gpu = worker({ url });
    for (const [request, message] of [
      [{ path: 'job' }, /run "path" must be a path/],
      [{ path: '/job', body: 'a', json: 1 }, /"json" or "body", not both/],
      [{ path: '/job', deadline: 5 }, /run "deadline" needs a unit/],
      [{ path: '/job', method: 'GET' }, /run has no option "method"/],
    ] as const) {
      await expect(gpu.run(exchange, request as never)).rejects.toThrow(message);
    }
  });
});
