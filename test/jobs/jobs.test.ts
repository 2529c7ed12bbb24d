import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  concurrency,
  gpuTime,
  type LimitGuard,
  limit,
  memoryStore,
  type Principal,
  problem,
  type Reply,
  refuse,
  slidingWindow,
} from '../../src/index.js';
import { type JobQueue, type JobRecord, type JobStore, jobs, memoryJobStore } from '../../src/jobs/index.js';
import { type HeaderLine, type TestExchange, testExchange } from '../exchange-fixture.js';
import { controlled } from './scene.js';

const alice: Principal = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'c' };

const ended: (JobQueue | undefined)[] = [];
afterEach(async () => {
  for (const queue of ended.splice(0)) await queue?.close();
});

function queueOf(options: Partial<Parameters<typeof jobs>[0]> = {}): JobQueue {
  const queue = jobs({ store: memoryJobStore(), ...options });
  ended.push(queue);
  return queue;
}

function requestOf(...headers: readonly HeaderLine[]): TestExchange {
  return testExchange({ method: 'POST', url: '/meshes', principal: alice, headers });
}

async function submitted(queue: JobQueue, submission: Parameters<JobQueue['submit']>[1], from = requestOf()) {
  const answer = await queue.submit(from.exchange, submission);
  if (answer.kind !== 'accepted') throw new Error(`refused: ${answer.reply.problem?.code}`);
  return answer.job;
}

const headerOf = (reply: Reply, name: string) => reply.headers.find(([other]) => other === name)?.[1];

/** The job as its owner sees it. */
const seen = (queue: JobQueue, id: string) => queue.get(requestOf().exchange, id);

describe('a job', () => {
  it('is accepted with 202, its URLs and its Location', async () => {
    const queue = queueOf({ path: '/api/v1/jobs' });
    const work = controlled();
    const reply = await queue.respond(requestOf().exchange, { run: work.run });
    const { id } = reply.body as { id: string };
    expect(reply.status).toBe(202);
    expect(id).toMatch(/^[\w-]{22}$/);
    expect(reply.body).toEqual({
      id,
      status: 'queued',
      status_url: `/api/v1/jobs/${id}`,
      events_url: `/api/v1/jobs/${id}/events`,
      result_url: `/api/v1/jobs/${id}/result`,
      cancel_url: `/api/v1/jobs/${id}`,
    });
    expect(headerOf(reply, 'Location')).toBe(`/api/v1/jobs/${id}`);
    work.finish();
  });

  it('runs on after its request has ended, with what the guards found out about the caller', async () => {
    const queue = queueOf();
    const work = controlled();
    const request = requestOf(['X-Model', 'small']);
    request.exchange.requestId = 'r-1';
    (request.exchange.locals as { tenant?: string }).tenant = 'acme';
    const job = await submitted(queue, { run: work.run }, request);
    request.exchange.abort();
    await work.running;
    const { exchange, signal } = work.job;
    expect(exchange).not.toBe(request.exchange);
    expect(exchange.principal).toEqual(alice);
    expect(exchange.requestId).toBe('r-1');
    expect(exchange.locals).toEqual({ tenant: 'acme' });
    expect(exchange.request.fieldLines('x-model')).toEqual(['small']);
    expect(signal.aborted).toBe(false);
    work.finish({ vertices: 3 });
    expect(await job.ended).toMatchObject({ state: 'succeeded', result: '{"vertices":3}' });
    expect(exchange.outcome).toEqual({ kind: 'completed', status: 200 });
  });

  it('shows its newest progress', async () => {
    const queue = queueOf();
    const work = controlled();
    const job = await submitted(queue, { run: work.run });
    await work.running;
    for (let i = 0; i <= 100; i++) work.job.progress(i / 100, `step ${i}`);
    await expect.poll(async () => (await seen(queue, job.id))?.progress).toEqual({ fraction: 1, message: 'step 100' });
    expect(() => work.job.progress(1.5)).toThrow('job.progress takes a number from 0 to 1, got 1.5');
    expect(() => work.job.progress(Number.NaN)).toThrow('got NaN');
    work.finish();
    await job.ended;
    work.job.progress(0.1);
    expect((await seen(queue, job.id))?.progress?.fraction).toBe(1);
  });

  it('that throws has failed, with no word of why, and is reported as a fault', async () => {
    const queue = queueOf();
    const work = controlled();
    const request = requestOf();
    const job = await submitted(queue, { run: work.run }, request);
    await work.running;
    const error = new Error('password=hunter2');
    work.fail(error);
    const record = await job.ended;
    expect(record).toMatchObject({ state: 'failed', problem: { code: 'internal-error', status: 500 } });
    expect(JSON.stringify(record)).not.toContain('hunter2');
    expect(request.faults).toEqual([error]);
    expect(work.job.exchange.outcome).toEqual({ kind: 'completed', status: 500 });
  });

  it('that returns a refusal has failed with that problem, and with nothing else of it', async () => {
    const queue = queueOf();
    const own = problem({
      code: 'mesh-empty',
      status: 422,
      title: 'Unprocessable',
      detail: 'Nothing to see.',
      secret: 1,
    });
    const job = await submitted(queue, { run: () => refuse(own) });
    const { secret, ...told } = own;
    expect(await job.ended).toMatchObject({ state: 'failed', problem: told });
    expect((await job.ended)?.problem).toEqual(told);
  });

  it.each([
    ['a function', () => () => 1, 'which is not JSON'],
    ['a circle', () => circle(), 'circular'],
    ['a large text', () => 'x'.repeat(70_000), 'more than 65536 bytes of JSON ("maxResultBytes")'],
  ])('that returns %s has failed', async (_what, run, message) => {
    const request = requestOf();
    const job = await submitted(queueOf(), { run }, request);
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'internal-error' } });
    expect(String(request.faults[0])).toContain(message);
  });

  it('whose guard refuses has failed with the problem of the guard, and never ran', async () => {
    const queue = queueOf();
    const run = vi.fn();
    const guards = [() => refuse(problem('capacity-exceeded', {} as never))];
    const job = await submitted(queue, { guards, run });
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'capacity-exceeded', status: 503 } });
    expect((await job.ended)?.startedAt).toBeUndefined();
    expect(run).not.toHaveBeenCalled();
  });

  it('whose guard throws has failed, and never ran', async () => {
    const run = vi.fn();
    const request = requestOf();
    const guards = [
      () => {
        throw new Error('broken');
      },
    ];
    const job = await submitted(queueOf(), { guards, run }, request);
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'internal-error' } });
    expect(request.faults).toEqual([new Error('broken')]);
    expect(run).not.toHaveBeenCalled();
  });

  it('shows its place while a guard waits', async () => {
    const queue = queueOf();
    let pass: () => void = () => undefined;
    const job = await submitted(queue, {
      guards: [
        (exchange) => {
          exchange.queueListener?.({ position: 2, expectedWait: 60_000 });
          return new Promise((resolve) => {
            pass = () => resolve(undefined);
          });
        },
      ],
      run: () => 1,
    });
    await expect.poll(async () => (await seen(queue, job.id))?.place?.position).toBe(2);
    const { place } = (await seen(queue, job.id)) as JobRecord;
    expect(Math.abs((place?.expectedStart ?? 0) - Date.now() - 60_000)).toBeLessThan(10_000);
    const status = (await queue.status()(routed(job.id).exchange)) as Reply;
    expect(status.body).toMatchObject({ status: 'queued', position: 2, expected_start: expect.stringMatching(/Z$/) });
    pass();
    expect(await job.ended).toMatchObject({ state: 'succeeded', place: undefined });
  });
});

/** A request for one job. */
function routed(id: string): TestExchange {
  const made = requestOf();
  Object.defineProperty(made.exchange.request, 'param', { value: (name: string) => (name === 'id' ? id : undefined) });
  return made;
}

function circle(): object {
  const value: { self?: object } = {};
  value.self = value;
  return value;
}

describe('cancelling', () => {
  it('a running job ends it at once, and aborts its work, even if that goes on', async () => {
    const queue = queueOf();
    const work = controlled();
    const job = await submitted(queue, { run: work.run });
    await work.running;
    const reply = (await queue.cancel()(routed(job.id).exchange)) as Reply;
    expect(reply.body).toMatchObject({ id: job.id });
    expect(await job.ended).toMatchObject({ state: 'cancelled' });
    expect(work.job.signal.aborted).toBe(true);
    expect(work.job.exchange.outcome).toEqual({ kind: 'aborted' });
    work.finish('too late');
    await nextTurn();
    expect(await seen(queue, job.id)).toMatchObject({ state: 'cancelled', result: undefined });
  });

  it('a waiting job ends its waiting', async () => {
    const queue = queueOf();
    let hasLeft = false;
    const run = vi.fn();
    const job = await submitted(queue, {
      guards: [
        (exchange) =>
          new Promise((resolve) => {
            exchange.signal.addEventListener('abort', () => {
              hasLeft = true;
              resolve(undefined);
            });
          }),
      ],
      run,
    });
    await queue.cancel()(routed(job.id).exchange);
    expect(await job.ended).toMatchObject({ state: 'cancelled', startedAt: undefined });
    expect(hasLeft).toBe(true);
    expect(run).not.toHaveBeenCalled();
  });

  it('a job that has ended changes nothing', async () => {
    const queue = queueOf();
    const job = await submitted(queue, { run: () => 1 });
    const record = await job.ended;
    const reply = (await queue.cancel()(routed(job.id).exchange)) as Reply;
    expect([reply.status, reply.body]).toMatchObject([200, { status: 'succeeded' }]);
    expect(await seen(queue, job.id)).toEqual(record);
  });
});

describe('what a job holds and is charged', () => {
  function limits() {
    const store = memoryStore();
    const guard: LimitGuard = limit({
      store,
      by: 'global',
      policies: [
        slidingWindow({ limit: 100, window: '1h', name: 'requests' }),
        concurrency({ limit: 1 }),
        gpuTime({ limit: '1h', window: '1d', estimate: '30s' }),
      ],
    });
    const left = async () => (await guard.peek('global')).map(({ limit, remaining }) => limit - remaining);
    return { guard, left };
  }

  it('is held while it runs, and given back before its end is seen', async () => {
    const { guard, left } = limits();
    const work = controlled();
    const job = await submitted(queueOf(), { guards: [guard], run: work.run });
    await work.running;
    expect(await left()).toEqual([1, 1, 30_000]);
    work.finish();
    await job.ended;
    const [requests, slots, gpu = 0] = await left();
    expect([requests, slots]).toEqual([1, 0]);
    expect(gpu).toBeLessThan(30_000);
  });

  it('is given back if the job throws', async () => {
    const { guard, left } = limits();
    const job = await submitted(queueOf(), {
      guards: [guard],
      run: () => {
        throw new Error('no');
      },
    });
    await job.ended;
    expect(await left()).toEqual([0, 0, 0]);
  });

  it('is given back if a later guard of the job refuses', async () => {
    const { guard, left } = limits();
    const job = await submitted(queueOf(), {
      guards: [guard, () => refuse(problem('deadline-malformed'))],
      run: () => 1,
    });
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'deadline-malformed' } });
    expect(await left()).toEqual([0, 0, 0]);
  });

  it('is nothing for a job that was cancelled before it ran', async () => {
    const { guard, left } = limits();
    const queue = queueOf();
    let pass: () => void = () => undefined;
    const wait = () =>
      new Promise<undefined>((resolve) => {
        pass = () => resolve(undefined);
      });
    const job = await submitted(queue, { guards: [guard, wait], run: () => 1 });
    await expect.poll(left).toEqual([1, 1, 30_000]);
    await queue.cancel()(routed(job.id).exchange);
    await job.ended;
    pass();
    expect(await left()).toEqual([0, 0, 0]);
  });

  it('is nothing for a job that was cancelled while it waited for a slot, and the next one gets that', async () => {
    const queue = queueOf();
    const slots = limit({
      store: memoryStore(),
      by: 'global',
      policies: [slidingWindow({ limit: 100, window: '1h', name: 'requests' }), concurrency({ limit: 1 })],
      queue: { maxWait: '10s' },
    });
    const left = async () => (await slots.peek('global')).map(({ limit, remaining }) => limit - remaining);
    const [first, second, third] = [controlled(), controlled(), controlled()];
    const running = await submitted(queue, { guards: [slots], run: first.run });
    await first.running;
    const waiting = await submitted(queue, { guards: [slots], run: second.run });
    const last = await submitted(queue, { guards: [slots], run: third.run });
    await expect.poll(async () => (await seen(queue, last.id))?.place?.position).toBe(2);
    await queue.cancel()(routed(waiting.id).exchange);
    expect(await waiting.ended).toMatchObject({ state: 'cancelled', startedAt: undefined, place: undefined });
    await expect.poll(async () => (await seen(queue, last.id))?.place?.position).toBe(1);
    expect(await left()).toEqual([1, 1]);
    first.finish();
    await running.ended;
    await third.running;
    expect(await left()).toEqual([2, 1]);
    third.finish();
    await last.ended;
    expect(await left()).toEqual([2, 0]);
    expect(() => second.job).toThrow('does not run');
  });

  it('holds its slot until its work has ended, although the job was cancelled', async () => {
    const { guard, left } = limits();
    const queue = queueOf();
    const work = controlled();
    const job = await submitted(queue, { guards: [guard], run: work.run });
    await work.running;
    await queue.cancel()(routed(job.id).exchange);
    expect(await job.ended).toMatchObject({ state: 'cancelled' });
    expect(await left()).toMatchObject({ 1: 1 });
    work.finish();
    await nextTurn();
    expect(await left()).toMatchObject({ 1: 0 });
  });

  it('is nothing for a job that was cancelled while the guard decided', async () => {
    const { guard, left } = limits();
    const queue = queueOf();
    let pass: () => void = () => undefined;
    const slow = Object.assign(async (exchange: Parameters<typeof guard>[0]) => {
      await new Promise<void>((resolve) => {
        pass = resolve;
      });
      return guard(exchange);
    });
    const job = await submitted(queue, { guards: [slow], run: () => 1 });
    await queue.cancel()(routed(job.id).exchange);
    await job.ended;
    pass();
    await nextTurn();
    expect(await left()).toEqual([0, 0, 0]);
  });

  it('does not touch what its request was charged', async () => {
    const queue = queueOf();
    const { guard, left } = limits();
    const request = requestOf();
    expect(guard(request.exchange)).toBeUndefined();
    const work = controlled();
    const job = await submitted(queue, { run: work.run }, request);
    await work.running;
    expect(work.job.exchange.admission).toBeUndefined();
    request.exchange.end({ kind: 'completed', status: 202 });
    expect((await left()).slice(0, 2)).toEqual([1, 0]);
    await queue.cancel()(routed(job.id).exchange);
    await job.ended;
    expect((await left()).slice(0, 2)).toEqual([1, 0]);
  });
});

describe('Prefer', () => {
  const QUICK = { run: () => ({ ok: true }) };

  it.each([
    ['0s', [], 202, undefined],
    ['0s', ['respond-async'], 202, 'respond-async'],
    ['0s', ['wait=10'], 202, undefined],
    ['5s', [], 200, undefined],
    ['5s', ['respond-async'], 202, 'respond-async'],
    ['5s', ['Respond-Async, handling=lenient'], 202, 'respond-async'],
    ['5s', ['respond-async, wait=2'], 200, 'wait=2'],
    ['5s', ['wait=2'], 200, 'wait=2'],
    ['5s', ['wait="2"; x=1'], 200, 'wait=2'],
    ['5s', ['wait=0'], 202, 'wait=0'],
    ['5s', ['wait=60'], 200, undefined],
    ['5s', ['wait=-1'], 200, undefined],
    ['5s', ['wait=1, wait=0'], 200, 'wait=1'],
    ['5s', ['wait', 'respond-async'], 202, 'respond-async'],
  ] as const)('with a wait of %s, %j gets %i', async (wait, prefer, status, applied) => {
    const request = requestOf(...prefer.map((value) => ['Prefer', value] as const));
    const reply = await queueOf({ wait }).respond(request.exchange, QUICK);
    expect(reply.status).toBe(status);
    expect(headerOf(reply, 'Preference-Applied')).toBe(applied);
    expect(headerOf(reply, 'Vary')).toBe('Prefer');
    if (status === 200) expect(reply.body).toEqual({ ok: true });
    expect(headerOf(reply, 'Content-Location') === undefined).toBe(status === 202);
  });

  it('answers 202 when the wait is over, and the job runs on', async () => {
    const queue = queueOf({ wait: '20ms' });
    const work = controlled();
    const reply = await queue.respond(requestOf().exchange, { run: work.run });
    expect(reply.status).toBe(202);
    work.finish();
    const { id } = reply.body as { id: string };
    await expect.poll(async () => (await seen(queue, id))?.state).toBe('succeeded');
  });

  it('answers with the problem of a job that fails in time', async () => {
    const reply = await queueOf({ wait: '5s' }).respond(requestOf().exchange, {
      run: () => refuse(problem('worker-failed')),
    });
    expect([reply.status, reply.problem]).toEqual([502, problem('worker-failed')]);
  });

  it.each([
    [false, 'running'],
    [true, 'cancelled'],
  ])('with cancelOnLeave: %s, a client that leaves while it waits leaves the job %s', async (cancelOnLeave, state) => {
    const queue = queueOf({ wait: '10s', cancelOnLeave });
    const work = controlled();
    const request = requestOf();
    const reply = queue.respond(request.exchange, { run: work.run });
    await work.running;
    request.exchange.abort();
    const { id } = (await reply).body as { id: string };
    await expect.poll(async () => (await seen(queue, id))?.state).toBe(state);
    work.finish();
  });
});

describe('a store that fails', () => {
  const failing = (verbs: readonly (keyof JobStore)[]): JobStore & { repaired: boolean } => {
    const inner = memoryJobStore();
    const store = { repaired: false } as JobStore & { repaired: boolean };
    for (const verb of ['create', 'read', 'change', 'renew', 'cancel', 'watch'] as const) {
      Object.assign(store, {
        [verb]: (...args: never[]) => {
          if (!store.repaired && verbs.includes(verb)) throw new Error('redis is down');
          return (inner[verb] as (...args: never[]) => unknown)(...args);
        },
      });
    }
    return store;
  };

  it('refuses a submission with 503, and runs nothing', async () => {
    const run = vi.fn();
    const request = requestOf();
    const reply = await queueOf({ store: failing(['create']) }).respond(request.exchange, { run });
    expect([reply.status, reply.problem?.code, headerOf(reply, 'Retry-After')]).toEqual([503, 'jobs-unavailable', '5']);
    expect(request.faults).toEqual([new Error('redis is down')]);
    expect(run).not.toHaveBeenCalled();
  });

  it.each(['status', 'events', 'result', 'cancel', 'requireOwner'] as const)('lets nobody pass %s', async (name) => {
    const request = routed('AAAAAAAAAAAAAAAAAAAAAA');
    const reply = (await queueOf({ store: failing(['read']) })[name]()(request.exchange)) as Reply;
    expect([reply.status, reply.problem?.code]).toEqual([503, 'jobs-unavailable']);
    expect(request.faults).toHaveLength(1);
  });

  it('does not run a job whose start it cannot record', async () => {
    const run = vi.fn();
    const store = failing(['change']);
    const request = requestOf();
    const job = await submitted(queueOf({ store }), { run }, request);
    await expect.poll(() => request.faults).toEqual([new Error('redis is down')]);
    store.repaired = true;
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'internal-error' } });
    expect(run).not.toHaveBeenCalled();
  });

  it('for a while at the end of a job loses nothing of it', async () => {
    const store = failing(['change']);
    store.repaired = true;
    const work = controlled();
    const job = await submitted(queueOf({ store }), { run: work.run });
    await work.running;
    store.repaired = false;
    work.finish('result');
    await nextTurn();
    store.repaired = true;
    expect(await job.ended).toMatchObject({ state: 'succeeded', result: '"result"' });
  });

  it('is full: the submission is refused with 503', async () => {
    const queue = queueOf({ store: memoryJobStore({ maxJobs: 1 }) });
    const work = controlled();
    await submitted(queue, { run: work.run });
    const reply = await queue.respond(requestOf().exchange, { run: work.run });
    expect([reply.status, reply.problem?.code, headerOf(reply, 'Retry-After')]).toEqual([503, 'jobs-full', '5']);
    work.finish();
  });
});

describe('a store that', () => {
  /** A store of which some verbs are others. */
  function storeWith(inner: JobStore, others: Partial<JobStore>): JobStore {
    const verbs = ['create', 'read', 'change', 'renew', 'cancel', 'watch'] as const;
    const own = verbs.map((verb) => [
      verb,
      (...args: never[]) => (inner[verb] as (...args: never[]) => unknown)(...args),
    ]);
    return { ...Object.fromEntries(own), ...others } as JobStore;
  }

  it('shows the end of a job shows it after the slot is free', async () => {
    const inner = memoryJobStore();
    const slots = limit({ store: memoryStore(), by: 'global', policies: concurrency({ limit: 1 }) });
    const heldAtEnd: unknown[] = [];
    const store = storeWith(inner, {
      change: async (id, holder, change) => {
        if (change.kind === 'end') heldAtEnd.push((await slots.peek('global'))[0]?.remaining);
        return inner.change(id, holder, change);
      },
    });
    const job = await submitted(queueOf({ store }), { guards: [slots], run: () => 1 });
    await job.ended;
    expect(heldAtEnd).toEqual([1]);
  });

  it('reports no changes is asked with each renewal', async () => {
    vi.useFakeTimers();
    try {
      const inner = memoryJobStore();
      const queue = queueOf({ store: storeWith(inner, { watch: () => () => undefined }) });
      const work = controlled();
      const running = await submitted(queue, { run: work.run });
      const run = vi.fn();
      const waiting = await submitted(queue, { guards: [() => new Promise(() => undefined)], run });
      inner.cancel(running.id);
      inner.cancel(waiting.id);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(work.job.signal.aborted).toBe(true);
      expect(await running.ended).toMatchObject({ state: 'cancelled' });
      expect(await waiting.ended).toMatchObject({ state: 'cancelled' });
    } finally {
      vi.useRealTimers();
    }
  });

  it('refuses the start of a job has not started it, even if an earlier look at it is under way', async () => {
    const inner = memoryJobStore();
    let look: () => void = () => undefined;
    let pass: () => void = () => undefined;
    const store = storeWith(inner, {
      read: async (id) => {
        const before = inner.read(id);
        await new Promise<void>((resolve) => {
          look = resolve;
        });
        return before;
      },
    });
    const run = vi.fn();
    const guards = [
      () =>
        new Promise<undefined>((resolve) => {
          pass = () => resolve(undefined);
        }),
    ];
    const job = await submitted(queueOf({ store }), { guards, run });
    // The look that begins with this change ends after the start was refused.
    inner.cancel(job.id);
    pass();
    for (let i = 0; i < 5; i++) {
      await nextTurn();
      look();
    }
    expect(await job.ended).toMatchObject({ state: 'cancelled' });
    expect(run).not.toHaveBeenCalled();
  });
});

describe('a queue that closes', () => {
  it('accepts nothing, waits for its jobs, and then stops them', async () => {
    const queue = queueOf();
    const [quick, slow] = [controlled(), controlled()];
    const jobsOfQueue = [await submitted(queue, { run: quick.run }), await submitted(queue, { run: slow.run })];
    await Promise.all([quick.running, slow.running]);
    const closed = queue.close({ wait: '50ms' });
    const reply = await queue.respond(requestOf().exchange, { run: () => 1 });
    expect([reply.status, reply.problem?.code]).toEqual([503, 'jobs-unavailable']);
    quick.finish(1);
    await closed;
    const [first, second] = await Promise.all(jobsOfQueue.map((job) => job.ended));
    expect(first).toMatchObject({ state: 'succeeded' });
    expect(second).toMatchObject({ state: 'failed', problem: { code: 'job-lost' } });
    expect(slow.job.signal.aborted).toBe(true);
  });
});

describe('a gateway whose lease ends', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('keeps a ten-minute job alive, which a client that polls finishes and fetches', async () => {
    const queue = queueOf();
    const job = await submitted(queue, {
      run: async ({ progress }) => {
        for (let minute = 1; minute <= 10; minute++) {
          await new Promise((resolve) => setTimeout(resolve, 60_000));
          progress(minute / 10, `minute ${minute}`);
        }
        return { minutes: 10 };
      },
    });
    const states: unknown[] = [];
    for (let polls = 0; polls < 13; polls++) {
      const { body } = (await queue.status()(routed(job.id).exchange)) as {
        body: { status: string; progress?: number };
      };
      states.push(body.status === 'running' ? (body.progress ?? 0) : body.status);
      await vi.advanceTimersByTimeAsync(60_000);
    }
    expect(states).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 'succeeded', 'succeeded', 'succeeded']);
    const result = (await queue.result()(routed(job.id).exchange)) as Reply;
    expect([result.status, result.body]).toEqual([200, { minutes: 10 }]);
    await vi.advanceTimersByTimeAsync(86_400_000);
    expect(((await queue.status()(routed(job.id).exchange)) as Reply).status).toBe(404);
  });

  /** A store that one gateway cannot reach any more. */
  function partitioned() {
    const store = memoryJobStore();
    const state = { isCut: false };
    const cut: JobStore = {
      watch: (id, onChange) => store.watch(id, onChange),
      ...Object.fromEntries(
        (['create', 'read', 'change', 'renew', 'cancel', 'adopt'] as const).map((verb) => [
          verb,
          (...args: never[]) => {
            if (state.isCut) throw new Error('unreachable');
            return (store[verb] as (...args: never[]) => unknown)(...args);
          },
        ]),
      ),
    } as JobStore;
    return { store, cut, state };
  }

  it('stops a job that it cannot renew, which others see as lost', async () => {
    const { store, cut, state } = partitioned();
    const [queue, other] = [queueOf({ store: cut }), queueOf({ store })];
    const work = controlled();
    const job = await submitted(queue, { run: work.run });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(work.job.signal.aborted).toBe(false);
    state.isCut = true;
    await vi.advanceTimersByTimeAsync(29_000);
    expect(work.job.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(11_000);
    expect(work.job.signal.aborted).toBe(true);
    expect(await seen(other, job.id)).toMatchObject({ state: 'failed', problem: { code: 'job-lost' } });
    state.isCut = false;
    work.finish('late');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await seen(other, job.id)).toMatchObject({ state: 'failed', problem: { code: 'job-lost' } });
  });

  it('survives a store that is away for less than a lease', async () => {
    const { cut, state } = partitioned();
    const work = controlled();
    const job = await submitted(queueOf({ store: cut }), { run: work.run });
    await vi.advanceTimersByTimeAsync(1000);
    state.isCut = true;
    await vi.advanceTimersByTimeAsync(15_000);
    state.isCut = false;
    await vi.advanceTimersByTimeAsync(300_000);
    work.finish('fine');
    expect(await job.ended).toMatchObject({ state: 'succeeded', result: '"fine"' });
  });

  it('leaves a task that waits to another gateway, which runs it once, for the same caller', async () => {
    const { store, cut, state } = partitioned();
    const ran: unknown[] = [];
    const wait = () => new Promise<undefined>(() => undefined);
    const queue = queueOf({ store: cut, tasks: { mesh: { guards: [wait], run: () => void ran.push('first') } } });
    const second = queueOf({
      store,
      tasks: {
        mesh: {
          run: (job, input) => {
            const { principal, requestId, request } = job.exchange;
            ran.push([input, principal?.id, requestId, request.method, request.url]);
            return 'adopted';
          },
        },
      },
    });
    const request = requestOf();
    request.exchange.requestId = 'r-7';
    const job = await submitted(queue, { task: 'mesh', input: { faces: 9 } }, request);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ran).toEqual([]);
    state.isCut = true;
    await vi.advanceTimersByTimeAsync(45_000);
    expect(ran).toEqual([[{ faces: 9 }, 'alice', 'r-7', 'POST', '/meshes']]);
    expect(await seen(second, job.id)).toMatchObject({ state: 'succeeded', result: '"adopted"' });
  });

  it('that closes in order hands its waiting tasks over at once', async () => {
    const store = memoryJobStore();
    const ran: string[] = [];
    const wait = (exchange: { signal: AbortSignal }) =>
      new Promise<undefined>((resolve) => exchange.signal.addEventListener('abort', () => resolve(undefined)));
    const first = queueOf({ store, tasks: { mesh: { guards: [wait], run: () => void ran.push('first') } } });
    const job = await submitted(first, { task: 'mesh' });
    await first.close();
    const second = queueOf({ store, tasks: { mesh: { run: () => void ran.push('second') } } });
    await vi.advanceTimersByTimeAsync(11_000);
    expect(ran).toEqual(['second']);
    expect(await seen(second, job.id)).toMatchObject({ state: 'succeeded' });
  });
});

describe('mistakes', () => {
  const store = memoryJobStore();

  it.each([
    [{}, 'gatewarden: jobs "store" must be a job store, such as memoryJobStore(), got undefined'],
    [{ store, ttl: 60 }, `gatewarden: jobs "ttl" needs a unit, got 60; write '60s' or '60ms'`],
    [{ store, path: '/jobs/' }, `gatewarden: jobs "path" must be a path such as '/jobs', without a slash at its end`],
    [{ store, lease: '1ms' }, `gatewarden: jobs "lease" must be at least '1s'`],
    [{ store, results: '/tmp' }, 'gatewarden: jobs "results" must be a place for files, such as folder({ directory })'],
    [{ store, adminScope: 'a b' }, 'gatewarden: jobs "adminScope" must be a scope (RFC 6749 section 3.3), or false'],
    [{ store, tasks: { mesh: {} } }, 'gatewarden: jobs task "mesh" "run" must be a function that does the work'],
    [{ store, ttls: '1h' }, 'gatewarden: jobs has no option "ttls". Did you mean "ttl"?'],
  ])('in the options %# are reported', (options, message) => {
    expect(() => jobs(options as never)).toThrow(message);
  });

  it.each<readonly [submission: unknown, message: string]>([
    [{}, 'gatewarden: submit "run" must be a function that does the work, got undefined'],
    [{ run: 1 }, 'gatewarden: submit "run" must be a function'],
    [{ run: () => 1, guards: () => undefined }, 'gatewarden: submit "guards" must be a list of guards'],
    [{ task: 'other' }, `gatewarden: submit "task" must be one of mesh, got 'other'`],
    [{ task: 'mesh', run: () => 1 }, 'gatewarden: submit "run" belongs to the task'],
    [{ task: 'mesh', input: 'x'.repeat(70_000) }, 'must be at most 65536 bytes of JSON'],
  ])('in a submission %# are reported', async (submission, message) => {
    const queue = queueOf({ tasks: { mesh: { run: () => 1 } } });
    await expect(queue.submit(requestOf().exchange, submission as never)).rejects.toThrow(message);
  });
});
