import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import {
  concurrency,
  gpuTime,
  limit,
  memoryStore,
  type Principal,
  problem,
  type Reply,
  refuse,
  slidingWindow,
} from '../../src/index.js';
import { type JobQueue, type JobStore, jobs, memoryJobStore } from '../../src/jobs/index.js';
import { testExchange } from '../exchange-fixture.js';
import { controlled } from './scene.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 150) / 1);
const TTL_MS = 600_000;
const SLOTS = 2;
const ESTIMATE_MS = 30_000;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2025, 5, 15, 12) });
});
afterEach(() => {
  vi.useRealTimers();
});

const principal = (id: string): Principal => ({ id, scheme: 'test', scopes: [], credentialId: 'c' });

/** A process with a queue, which can lose its connection to the store for good. */
class Gateway {
  isCut = false;
  readonly queue: JobQueue;

  constructor(store: JobStore) {
    const reach =
      (verb: 'create' | 'read' | 'change' | 'renew' | 'cancel') =>
      (...args: never[]) => {
        if (this.isCut) throw new Error('unreachable');
        return (store[verb] as (...args: never[]) => unknown)(...args);
      };
    const cut = {
      create: reach('create'),
      read: reach('read'),
      change: reach('change'),
      renew: reach('renew'),
      cancel: reach('cancel'),
      watch: (id: string, onChange: () => void) => store.watch(id, onChange),
    } as JobStore;
    this.queue = jobs({ store: cut, ttl: '10m' });
  }
}

/** What a job must be. */
interface Model {
  readonly id: string;
  readonly owner: string;
  readonly gateway: number;
  readonly work: ReturnType<typeof controlled>;
  state: 'running' | 'succeeded' | 'failed' | 'cancelled' | 'gone';
  code: string | undefined;
  progress: number | undefined;
  isWorking: boolean;
  endedAt: number;
}

class World {
  readonly #store = memoryJobStore();
  readonly #gateways = [new Gateway(this.#store), new Gateway(this.#store)];
  readonly #observer = new Gateway(this.#store);
  readonly #limit = limit({
    store: memoryStore(),
    by: 'global',
    policies: [
      slidingWindow({ limit: 10_000, window: '1d', name: 'requests' }),
      concurrency({ limit: SLOTS }),
      gpuTime({ limit: '10h', window: '1d', estimate: `${ESTIMATE_MS}ms` }),
    ],
  });
  /** Those of the store of limits, which is not what is tested. */
  readonly #timers = vi.getTimerCount();
  readonly jobs: Model[] = [];
  /** Requests that stay charged. */
  charged = 0;

  async submit(gateway: number, owner: string): Promise<void> {
    const { exchange } = testExchange({ method: 'POST', principal: principal(owner) });
    const work = controlled();
    const answer = await this.#gateways[gateway]?.queue.submit(exchange, { guards: [this.#limit], run: work.run });
    exchange.end({ kind: 'completed', status: 202 });
    if (answer?.kind !== 'accepted') throw new Error('the store is full');
    const isAdmitted = this.working().length < SLOTS;
    this.jobs.push({
      id: answer.job.id,
      owner,
      gateway,
      work,
      state: isAdmitted ? 'running' : 'failed',
      code: isAdmitted ? undefined : 'capacity-exceeded',
      progress: undefined,
      isWorking: isAdmitted,
      endedAt: Date.now(),
    });
    if (isAdmitted) this.charged++;
  }

  progress(job: Model, fraction: number): void {
    if (job.state !== 'running') return;
    job.work.job.progress(fraction);
    job.progress = fraction;
  }

  finish(job: Model, how: 'well' | 'throw' | 'refuse'): void {
    job.isWorking = false;
    if (how === 'throw') job.work.fail(new Error('broken'));
    else job.work.finish(how === 'well' ? { ok: true } : refuse(problem('upload-undecodable', { reason: 'x' })));
    if (job.state !== 'running') return;
    this.#end(
      job,
      how === 'well' ? 'succeeded' : 'failed',
      { throw: 'internal-error', refuse: 'upload-undecodable', well: undefined }[how],
    );
    // A server error is free.
    if (how === 'throw') this.charged--;
  }

  async cancel(job: Model, by: string): Promise<void> {
    const reply = await this.#ask(job, by, 'cancel');
    expect(reply.status).toBe(by === job.owner && job.state !== 'gone' ? 200 : 404);
    if (by === job.owner && job.state === 'running') this.#end(job, 'cancelled', undefined);
  }

  /** A gateway loses its store, and another one takes its place. */
  async crash(gateway: number): Promise<void> {
    const crashed = this.#gateways[gateway];
    if (crashed !== undefined) crashed.isCut = true;
    for (const job of this.running()) if (job.gateway === gateway) this.#end(job, 'failed', 'job-lost');
    this.#gateways[gateway] = new Gateway(this.#store);
    await this.pass(45_000);
  }

  async pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
    for (const job of this.jobs) {
      // A lost job ends up to a lease after its gateway was cut off, and no step ends between the two.
      if (job.state !== 'running' && Date.now() - job.endedAt >= TTL_MS + 30_000) job.state = 'gone';
    }
  }

  running(): readonly Model[] {
    return this.jobs.filter(({ state }) => state === 'running');
  }

  /** Jobs whose work goes on, wanted or not: it holds its slot. */
  working(): readonly Model[] {
    return this.jobs.filter(({ isWorking }) => isWorking);
  }

  async check(): Promise<void> {
    // Whatever is under way settles, and no time passes.
    await vi.advanceTimersByTimeAsync(0);
    for (const job of this.jobs) {
      const foreign = job.owner === 'alice' ? 'bob' : 'alice';
      expect((await this.#ask(job, foreign, 'status')).status).toBe(404);
      const reply = await this.#ask(job, job.owner, 'status');
      if (job.state === 'gone') expect(reply.status).toBe(404);
      else {
        const body = reply.body as { status: string; progress?: number; problem?: { code: string } };
        expect([body.status, body.problem?.code, body.progress]).toEqual([job.state, job.code, job.progress]);
      }
      if (job.code === 'capacity-exceeded') continue;
      expect(job.work.job.signal.aborted).toBe(
        job.state === 'cancelled' || job.code === 'job-lost' || (job.state === 'gone' && job.work.job.signal.aborted),
      );
    }
    const [requests, slots, gpu] = (await this.#limit.peek('global')).map(({ limit, remaining }) => limit - remaining);
    expect([requests, slots]).toEqual([this.charged, this.working().length]);
    // What runs counts with its estimate, and what has ended with what it used.
    expect(gpu).toBeGreaterThanOrEqual(this.working().length * ESTIMATE_MS);
  }

  async close(): Promise<void> {
    for (const { queue } of [...this.#gateways, this.#observer]) await queue.close();
    await vi.advanceTimersByTimeAsync(60_000);
    const [, slots] = (await this.#limit.peek('global')).map(({ limit, remaining }) => limit - remaining);
    expect(slots).toBe(0);
    expect(vi.getTimerCount()).toBe(this.#timers);
  }

  #end(job: Model, state: Model['state'], code: string | undefined): void {
    Object.assign(job, { state, code, endedAt: Date.now() });
  }

  async #ask(job: Model, who: string, guard: 'status' | 'cancel'): Promise<Reply> {
    const { exchange } = testExchange({ principal: principal(who) });
    Object.defineProperty(exchange.request, 'param', { value: () => job.id });
    return (await this.#observer.queue[guard]()(exchange)) as Reply;
  }
}

interface Step {
  readonly said: string;
  act(world: World): void | Promise<void>;
  /** For the report of a failure. */
  toString(): string;
}

const step = (said: string, act: Step['act']): Step => ({ said, act, toString: () => said });
const nth = fc.nat({ max: 12 });
const ofJob = (i: number, act: (world: World, job: Model) => void | Promise<void>) => (world: World) => {
  const job = world.jobs[i % Math.max(1, world.jobs.length)];
  return job === undefined ? undefined : act(world, job);
};

const steps = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.nat({ max: 1 }), fc.constantFrom('alice', 'bob'))
      .map(([gateway, owner]) => step(`submit ${gateway} ${owner}`, (world) => world.submit(gateway, owner))),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(nth, fc.constantFrom(0, 0.25, 1)).map(([i, f]) =>
      step(
        `progress ${i} ${f}`,
        ofJob(i, (world, job) => world.progress(job, f)),
      ),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(nth, fc.constantFrom('well' as const, 'throw' as const, 'refuse' as const)).map(([i, how]) =>
      step(
        `finish ${i} ${how}`,
        ofJob(i, (world, job) => world.finish(job, how)),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(nth, fc.constantFrom('alice', 'bob')).map(([i, by]) =>
      step(
        `cancel ${i} by ${by}`,
        ofJob(i, (world, job) => world.cancel(job, by)),
      ),
    ),
  },
  { weight: 1, arbitrary: fc.nat({ max: 1 }).map((g) => step(`crash ${g}`, (world) => world.crash(g))) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(10, 1000, 45_000, TTL_MS + 30_000).map((ms) => step(`pass ${ms}`, (w) => w.pass(ms))),
  },
);

it('a job is what its owner was told, holds and costs what it should, and leaves nothing behind, whatever happens', {
  timeout: Math.max(60_000, RUNS * 100),
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 25, size: 'max' }), async (all) => {
      const world = new World();
      for (const one of all) {
        await one.act(world);
        await world.check();
      }
      for (const job of world.working()) world.finish(job, 'well');
      await world.check();
      await world.close();
    }),
    { numRuns: RUNS },
  );
});
