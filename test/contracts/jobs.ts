import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type JobChange, type JobRecord, type JobStore, LOST, type NewJob } from '../../src/jobs/job-store.js';
import type { StoreClock } from './limit-store.js';

export interface JobStoreSetup {
  /** Empty, with room for 1000 jobs. */
  readonly store: JobStore;
  /** The store's only clock. */
  readonly clock: StoreClock;
  close?(): void | Promise<void>;
}

const START = Date.UTC(2025, 5, 15, 12);
const LEASE = 1000;
const TTL = 60_000;
const ID = 'AAAAAAAAAAAAAAAAAAAAAA';
const OTHER = 'BBBBBBBBBBBBBBBBBBBBBA';
const TASK = { name: 'mesh', payload: '{"faces":9}' };

const PLACE: JobChange = { kind: 'place', place: { position: 3, expectedStart: START + 5000 } };
const BEGIN: JobChange = { kind: 'start' };
const HALF: JobChange = { kind: 'progress', progress: { fraction: 0.5, message: 'meshing' } };
const SUCCEED: JobChange = {
  kind: 'end',
  state: 'succeeded',
  result: '{"ok":true}',
  files: [{ name: 'mesh.glb', type: 'model/gltf-binary', bytes: 12 }],
};
const FAILURE = { code: 'worker-failed', status: 502, title: 'Bad Gateway', detail: 'The work failed.' };
const FAIL: JobChange = { kind: 'end', state: 'failed', problem: FAILURE };
const CANCEL: JobChange = { kind: 'end', state: 'cancelled' };

function newJob(parts: Partial<NewJob> = {}): NewJob {
  return { id: ID, owner: 'principal:alice', holder: 'h1', lease: LEASE, ttl: TTL, task: undefined, ...parts };
}

/** A job that was just created at `START`. */
const CREATED: JobRecord = {
  id: ID,
  owner: 'principal:alice',
  state: 'queued',
  version: 1,
  createdAt: START,
  startedAt: undefined,
  endedAt: undefined,
  expiresAt: undefined,
  place: undefined,
  progress: undefined,
  cancelRequested: false,
  result: undefined,
  files: [],
  problem: undefined,
};

/** What every job store promises. Every method is awaited. Time passes only by the clock that `setup` returns. */
export function jobStoreContract(name: string, setup: () => JobStoreSetup | Promise<JobStoreSetup>): void {
  describe(`${name}, as a job store`, () => {
    let current: JobStoreSetup;
    let store: JobStore;
    let clock: StoreClock;

    beforeEach(async () => {
      current = await setup();
      ({ store, clock } = current);
      clock.set(START);
    });

    afterEach(async () => {
      await current.close?.();
    });

    async function created(parts: Partial<NewJob> = {}): Promise<void> {
      expect(await store.create(newJob(parts))).toMatchObject({ kind: 'created' });
    }

    it('creates a queued job, and returns it as it is', async () => {
      expect(await store.create(newJob())).toEqual({ kind: 'created', record: CREATED });
      expect(await store.read(ID)).toEqual(CREATED);
      expect(await store.read(OTHER)).toBeUndefined();
    });

    it('lists the newest jobs of all owners as they are, the newest first, and none that is gone', async () => {
      const ids = ['1', '2', '3', '4'].map((digit) => digit.repeat(22));
      const list = async (limit: number) => (await store.list?.(limit))?.map(({ id, state }) => `${id[0]} ${state}`);
      if (store.list === undefined) return;
      expect(await list(10)).toEqual([]);
      for (const id of ids) {
        await created({ id, owner: `principal:${id}` });
        // The index is written in the background.
        await expect.poll(async () => (await list(1))?.[0]).toBe(`${id[0]} queued`);
      }
      await store.change(ids[1] ?? '', 'h1', BEGIN);
      await store.change(ids[2] ?? '', 'h1', CANCEL);
      expect(await list(3)).toEqual(['4 queued', '3 cancelled', '2 running']);
      expect(await list(10)).toEqual(['4 queued', '3 cancelled', '2 running', '1 queued']);
      clock.advance(LEASE);
      expect(await list(2)).toEqual(['4 failed', '3 cancelled']);
      clock.advance(TTL - LEASE);
      expect(await list(10)).toEqual(['4 failed', '2 failed', '1 failed']);
    });

    it('does not create a job twice, and leaves its owner and holder as they are', async () => {
      await created();
      expect(await store.create(newJob({ owner: 'principal:eve', holder: 'h2' }))).toEqual({ kind: 'exists' });
      expect(await store.read(ID)).toEqual(CREATED);
      expect(await store.change(ID, 'h2', BEGIN)).toBeUndefined();
      expect(await store.change(ID, 'h1', BEGIN)).toMatchObject({ owner: 'principal:alice', state: 'running' });
    });

    it('follows a job from its place in the queue to its result', async () => {
      await created();
      clock.advance(10);
      const { place } = PLACE as Extract<JobChange, { kind: 'place' }>;
      expect(await store.change(ID, 'h1', PLACE)).toEqual({ ...CREATED, version: 2, place });
      clock.advance(10);
      const running = { ...CREATED, state: 'running', version: 3, startedAt: START + 20 };
      expect(await store.change(ID, 'h1', BEGIN)).toEqual(running);
      const progress = { fraction: 0.5, message: 'meshing' };
      expect(await store.change(ID, 'h1', HALF)).toEqual({ ...running, version: 4, progress });
      clock.advance(10);
      const { result, files } = SUCCEED as Extract<JobChange, { state: 'succeeded' }>;
      const ended = { state: 'succeeded', version: 5, progress, endedAt: START + 30, expiresAt: START + 30 + TTL };
      expect(await store.change(ID, 'h1', SUCCEED)).toEqual({ ...running, ...ended, result, files });
      expect(await store.read(ID)).toEqual({ ...running, ...ended, result, files });
    });

    it('keeps what is left out of a change left out', async () => {
      await created();
      await store.change(ID, 'h1', { kind: 'place', place: { position: 1, expectedStart: undefined } });
      expect((await store.read(ID))?.place).toEqual({ position: 1, expectedStart: undefined });
      await store.change(ID, 'h1', { kind: 'place', place: undefined });
      expect((await store.read(ID))?.place).toBeUndefined();
      await store.change(ID, 'h1', BEGIN);
      await store.change(ID, 'h1', { kind: 'progress', progress: { fraction: 1, message: undefined } });
      expect((await store.read(ID))?.progress).toEqual({ fraction: 1, message: undefined });
      const ended = await store.change(ID, 'h1', { kind: 'end', state: 'succeeded', result: undefined, files: [] });
      expect(ended).toMatchObject({ state: 'succeeded', result: undefined, files: [] });
    });

    it('keeps texts as they are, whatever they hold', async () => {
      const text = '{"__proto__":1} \u0000\r\n"\\ é e\u0301 👩‍🚀 \u2028';
      await created({ owner: `principal:${text}` });
      await store.change(ID, 'h1', BEGIN);
      await store.change(ID, 'h1', { kind: 'progress', progress: { fraction: 0.1, message: text } });
      const files = [{ name: text, type: text, bytes: Number.MAX_SAFE_INTEGER }];
      await store.change(ID, 'h1', { kind: 'end', state: 'succeeded', result: JSON.stringify(text), files });
      expect(await store.read(ID)).toMatchObject({
        owner: `principal:${text}`,
        progress: { fraction: 0.1, message: text },
        result: JSON.stringify(text),
        files,
      });
    });

    it.each([
      ['a place after the start', [BEGIN], PLACE],
      ['a second start', [BEGIN], BEGIN],
      ['progress before the start', [], HALF],
      ['success before the start', [], SUCCEED],
      ['a start after a failure', [FAIL], BEGIN],
      ['progress after success', [BEGIN, SUCCEED], HALF],
      ['success after success', [BEGIN, SUCCEED], SUCCEED],
      ['a failure after success', [BEGIN, SUCCEED], FAIL],
      ['success after a failure', [BEGIN, FAIL], SUCCEED],
      ['success after the job was cancelled', [BEGIN, CANCEL], SUCCEED],
    ])('refuses %s', async (_what, before, change) => {
      await created();
      for (const earlier of before) expect(await store.change(ID, 'h1', earlier)).toBeDefined();
      const known = await store.read(ID);
      expect(await store.change(ID, 'h1', change)).toBeUndefined();
      expect(await store.read(ID)).toEqual(known);
    });

    it('obeys only the holder', async () => {
      await created();
      for (const change of [PLACE, BEGIN, HALF, SUCCEED, FAIL, CANCEL]) {
        expect(await store.change(ID, 'h2', change)).toBeUndefined();
        expect(await store.change(OTHER, 'h1', change)).toBeUndefined();
      }
      expect(await store.renew(ID, 'h2', LEASE)).toBeUndefined();
      expect(await store.renew(OTHER, 'h1', LEASE)).toBeUndefined();
      expect(await store.read(ID)).toEqual(CREATED);
    });

    it('cancels a queued job at once', async () => {
      await created();
      clock.advance(5);
      const cancelled = { ...CREATED, state: 'cancelled', version: 2, endedAt: START + 5, expiresAt: START + 5 + TTL };
      expect(await store.cancel(ID)).toEqual(cancelled);
      expect(await store.change(ID, 'h1', BEGIN)).toBeUndefined();
      expect(await store.renew(ID, 'h1', LEASE)).toBeUndefined();
      expect(await store.cancel(ID)).toEqual(cancelled);
      expect(await store.cancel(OTHER)).toBeUndefined();
    });

    it('asks the holder of a running job to cancel it, once', async () => {
      await created();
      const running = await store.change(ID, 'h1', BEGIN);
      const asked = { ...running, version: 3, cancelRequested: true };
      expect(await store.cancel(ID)).toEqual(asked);
      expect(await store.cancel(ID)).toEqual(asked);
      expect(await store.renew(ID, 'h1', LEASE)).toEqual(asked);
      expect(await store.change(ID, 'h1', CANCEL)).toMatchObject({ state: 'cancelled', version: 4 });
    });

    it.each([
      ['success', SUCCEED, 'succeeded'],
      ['a failure', FAIL, 'failed'],
    ])('accepts %s of a job that was to be cancelled', async (_what, change, state) => {
      await created();
      await store.change(ID, 'h1', BEGIN);
      await store.cancel(ID);
      expect(await store.change(ID, 'h1', change)).toMatchObject({ state });
      expect(await store.cancel(ID)).toMatchObject({ state });
    });

    it('reports a job as lost from the end of its lease on', async () => {
      await created();
      await store.change(ID, 'h1', BEGIN);
      clock.advance(LEASE - 1);
      expect(await store.read(ID)).toMatchObject({ state: 'running' });
      clock.advance(1);
      expect(await store.change(ID, 'h1', SUCCEED)).toBeUndefined();
      expect(await store.renew(ID, 'h1', LEASE)).toBeUndefined();
      clock.advance(500);
      expect(await store.read(ID)).toEqual({
        ...CREATED,
        state: 'failed',
        version: 3,
        startedAt: START,
        endedAt: START + LEASE,
        expiresAt: START + LEASE + TTL,
        problem: LOST,
      });
      expect(await store.cancel(ID)).toMatchObject({ state: 'failed', version: 3 });
    });

    it('does not care when a lost job is read', async () => {
      await created();
      clock.advance(LEASE + TTL - 1);
      expect(await store.read(ID)).toMatchObject({ state: 'failed', endedAt: START + LEASE, problem: LOST });
      clock.advance(1);
      expect(await store.read(ID)).toBeUndefined();
    });

    it('keeps a job whose lease is renewed, for as long as it runs', async () => {
      await created();
      await store.change(ID, 'h1', BEGIN);
      for (let i = 0; i < 200; i++) {
        clock.advance(LEASE - 1);
        expect(await store.renew(ID, 'h1', LEASE)).toMatchObject({ state: 'running', version: 2 });
      }
      expect(await store.change(ID, 'h1', SUCCEED)).toMatchObject({ state: 'succeeded' });
    });

    it('can end a lease early', async () => {
      await created();
      expect(await store.renew(ID, 'h1', 1)).toMatchObject({ state: 'queued' });
      clock.advance(1);
      expect(await store.read(ID)).toMatchObject({ state: 'failed', problem: LOST });
    });

    it('forgets a job when its time is over, and then knows nothing of it', async () => {
      await created();
      await store.change(ID, 'h1', FAIL);
      clock.advance(TTL - 1);
      expect(await store.read(ID)).toMatchObject({ state: 'failed', problem: FAILURE });
      clock.advance(1);
      expect(await store.read(ID)).toBeUndefined();
      expect(await store.cancel(ID)).toBeUndefined();
      expect(await store.change(ID, 'h1', BEGIN)).toBeUndefined();
      await created({ owner: 'principal:bob' });
      expect(await store.read(ID)).toMatchObject({ owner: 'principal:bob', state: 'queued', version: 1 });
    });

    it('lets another process adopt a task that waits, and fences its first holder', async () => {
      if (store.adopt === undefined) return;
      await created({ task: TASK });
      await store.change(ID, 'h1', PLACE);
      expect(await store.adopt(['mesh'], 'h2', LEASE)).toBeUndefined();
      clock.advance(LEASE);
      expect(await store.read(ID)).toMatchObject({ state: 'queued', version: 2 });
      expect(await store.change(ID, 'h1', BEGIN)).toBeUndefined();
      expect(await store.renew(ID, 'h1', LEASE)).toBeUndefined();
      expect(await store.adopt(['other'], 'h2', LEASE)).toBeUndefined();
      const adopted = await store.adopt(['other', 'mesh'], 'h2', LEASE);
      expect(adopted).toMatchObject({ record: { id: ID, state: 'queued', version: 2 }, task: TASK });
      expect(await store.adopt(['mesh'], 'h3', LEASE)).toBeUndefined();
      expect(await store.change(ID, 'h1', BEGIN)).toBeUndefined();
      expect(await store.change(ID, 'h2', BEGIN)).toMatchObject({ state: 'running' });
    });

    it('does not let a task be adopted that has started, was cancelled, or is of a function', async () => {
      if (store.adopt === undefined) return;
      await created({ task: TASK });
      await store.change(ID, 'h1', BEGIN);
      await created({ id: OTHER, task: TASK });
      await created({ id: 'CCCCCCCCCCCCCCCCCCCCCA' });
      clock.advance(LEASE);
      expect(await store.cancel(OTHER)).toMatchObject({ state: 'cancelled' });
      expect(await store.adopt(['mesh'], 'h2', LEASE)).toBeUndefined();
      expect(await store.read(ID)).toMatchObject({ state: 'failed', problem: LOST });
    });

    it('lets the oldest task be adopted first', async () => {
      if (store.adopt === undefined) return;
      const ids = ['CCCCCCCCCCCCCCCCCCCCCA', ID, OTHER];
      for (const id of ids) {
        await created({ id, task: TASK });
        clock.advance(10);
      }
      clock.advance(LEASE);
      const adopted: (string | undefined)[] = [];
      for (let i = 0; i < 4; i++) adopted.push((await store.adopt(['mesh'], `a${i}`, LEASE))?.record.id);
      expect(adopted).toEqual([...ids, undefined]);
    });

    it('forgets a task that no process adopts', async () => {
      await created({ task: TASK });
      clock.advance(LEASE + TTL - 1);
      expect(await store.read(ID)).toMatchObject({ state: 'queued' });
      clock.advance(1);
      expect(await store.read(ID)).toBeUndefined();
      expect(await store.adopt?.(['mesh'], 'h2', LEASE)).toBeUndefined();
    });

    it('tells every watcher of a change, until it stops watching', async () => {
      await created();
      await created({ id: OTHER });
      let [first, second] = [0, 0];
      const stop = store.watch(ID, () => first++);
      const stopSecond = store.watch(ID, () => second++);
      await store.change(ID, 'h1', BEGIN);
      await expect.poll(() => first > 0 && second > 0).toBe(true);
      stop();
      const [firstBefore, secondBefore] = [first, second];
      await store.cancel(ID);
      await expect.poll(() => second > secondBefore).toBe(true);
      expect(first).toBe(firstBefore);
      stopSecond();
      stop();
    });

    it('returns the same as plain lists, whatever is submitted, changed, renewed, cancelled, adopted and lost', async () => {
      const runs = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 200) / 2);
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
          const { store, clock, close } = await setup();
          try {
            clock.set(START);
            const model = new ReferenceJobs(clock.now);
            for (const one of steps) {
              const [expected, got] = [one.act(model, clock), await one.act(store, undefined)];
              expect(plain(await got), one.said).toEqual(plain(await expected));
            }
            for (const id of IDS) expect(plain(await store.read(id))).toEqual(plain(model.read(id)));
          } finally {
            await close?.();
          }
        }),
        { numRuns: runs },
      );
    }, 120_000);
  });
}

/** Without members that are undefined. */
function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

interface Step {
  readonly said: string;
  /** Time passes once, with the model. */
  act(store: JobStore, clock: StoreClock | undefined): unknown;
  /** For the report of a failure. */
  toString(): string;
}

const IDS = [ID, OTHER, 'CCCCCCCCCCCCCCCCCCCCCA'];
const HOLDERS = ['h1', 'h2'];
const idOf = fc.constantFrom(...IDS);
const holderOf = fc.constantFrom(...HOLDERS);
const leaseOf = fc.constantFrom(1, 500, LEASE);

const stepOf = (said: string, act: Step['act']): Step => ({ said, act, toString: () => said });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(idOf, holderOf, leaseOf, fc.constantFrom(1, 300, TTL), fc.constantFrom(undefined, TASK))
      .map(([id, holder, lease, ttl, task]) => {
        const job = newJob({ id, holder, owner: `principal:of-${holder}`, lease, ttl, task });
        return stepOf(`create ${JSON.stringify(job)}`, (store) => store.create(job));
      }),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(idOf, holderOf, fc.constantFrom(PLACE, BEGIN, BEGIN, HALF, SUCCEED, FAIL, CANCEL))
      .map(([id, holder, change]) =>
        stepOf(`change ${id} ${holder} ${JSON.stringify(change)}`, (store) => store.change(id, holder, change)),
      ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(idOf, holderOf, leaseOf)
      .map(([id, holder, lease]) => stepOf(`renew ${id} ${holder} ${lease}`, (s) => s.renew(id, holder, lease))),
  },
  { weight: 2, arbitrary: idOf.map((id) => stepOf(`cancel ${id}`, (store) => store.cancel(id))) },
  { weight: 2, arbitrary: idOf.map((id) => stepOf(`read ${id}`, (store) => store.read(id))) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom('mesh', 'other'), holderOf)
      .map(([name, holder]) => stepOf(`adopt ${name} ${holder}`, (store) => store.adopt?.([name], holder, LEASE))),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom(1, 100, 499, 500, LEASE - 1, LEASE, TTL - 1, TTL).map((ms) =>
      stepOf(`wait ${ms}`, (_store, clock) => {
        clock?.advance(ms);
        return undefined;
      }),
    ),
  },
);

interface ReferenceJob {
  record: JobRecord;
  holder: string;
  until: number;
  readonly job: NewJob;
}

/** The contract in the fewest words, without a limit on the number of jobs. */
export class ReferenceJobs implements JobStore {
  readonly #now: () => number;
  #jobs: ReferenceJob[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  create(job: NewJob) {
    if (this.#find(job.id) !== undefined) return { kind: 'exists' } as const;
    const record: JobRecord = { ...CREATED, id: job.id, owner: job.owner, createdAt: this.#now() };
    this.#jobs.push({ record, holder: job.holder, until: this.#now() + job.lease, job });
    return { kind: 'created', record } as const;
  }

  read(id: string) {
    return this.#find(id)?.record;
  }

  change(id: string, holder: string, change: JobChange) {
    const found = this.#held(id, holder);
    if (found === undefined) return undefined;
    const { state } = found.record;
    const isQueued = state === 'queued';
    const fits = {
      place: isQueued,
      start: isQueued,
      progress: !isQueued,
      end: !isQueued || (change.kind === 'end' && change.state !== 'succeeded'),
    };
    if (!fits[change.kind]) return undefined;
    const now = this.#now();
    if (change.kind === 'place') this.#set(found, { place: change.place });
    else if (change.kind === 'start') this.#set(found, { state: 'running', startedAt: now, place: undefined });
    else if (change.kind === 'progress') this.#set(found, { progress: change.progress });
    else {
      const { kind, ...end } = change;
      this.#end(found, end, now);
    }
    return found.record;
  }

  renew(id: string, holder: string, lease: number) {
    const found = this.#held(id, holder);
    if (found !== undefined) found.until = this.#now() + lease;
    return found?.record;
  }

  cancel(id: string) {
    const found = this.#find(id);
    if (found?.record.state === 'queued') this.#end(found, { state: 'cancelled' }, this.#now());
    else if (found?.record.state === 'running' && !found.record.cancelRequested) {
      this.#set(found, { cancelRequested: true });
    }
    return found?.record;
  }

  adopt(names: readonly string[], holder: string, lease: number) {
    const found = this.#jobs.find(
      ({ record: { id }, job: { task } }) =>
        task !== undefined &&
        names.includes(task.name) &&
        this.#find(id)?.record.state === 'queued' &&
        this.#isDead(this.#find(id)),
    );
    if (found?.job.task === undefined) return undefined;
    found.holder = holder;
    found.until = this.#now() + lease;
    return { record: found.record, task: found.job.task };
  }

  watch() {
    return () => undefined;
  }

  #held(id: string, holder: string): ReferenceJob | undefined {
    const found = this.#find(id);
    return found !== undefined && isLive(found) && found.holder === holder && !this.#isDead(found) ? found : undefined;
  }

  #isDead(found: ReferenceJob | undefined): boolean {
    return found !== undefined && this.#now() >= found.until;
  }

  #find(id: string): ReferenceJob | undefined {
    const now = this.#now();
    const gone: ReferenceJob[] = [];
    for (const found of this.#jobs) {
      if (isLive(found) && now >= found.until) {
        const waits = found.record.state === 'queued' && found.job.task !== undefined;
        if (!waits) this.#end(found, { state: 'failed', problem: LOST }, found.until);
        else if (now >= found.until + found.job.ttl) gone.push(found);
      }
      if (now >= (found.record.expiresAt ?? Number.POSITIVE_INFINITY)) gone.push(found);
    }
    this.#jobs = this.#jobs.filter((found) => !gone.includes(found));
    return this.#jobs.find(({ record }) => record.id === id);
  }

  #end(found: ReferenceJob, parts: Partial<JobRecord>, at: number): void {
    this.#set(found, { ...parts, place: undefined, endedAt: at, expiresAt: at + found.job.ttl });
  }

  #set(found: ReferenceJob, parts: Partial<JobRecord>): void {
    found.record = { ...found.record, ...parts, version: found.record.version + 1 };
  }
}

function isLive({ record: { state } }: ReferenceJob): boolean {
  return state === 'queued' || state === 'running';
}
