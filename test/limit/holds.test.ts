import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Admission } from '../../src/core/admission.js';
import type { Guard } from '../../src/core/guard.js';
import type { Outcome } from '../../src/core/outcome.js';
import { problem } from '../../src/core/problem.js';
import { type Reply, refuse } from '../../src/core/reply.js';
import { sequence } from '../../src/core/sequence.js';
import { leaseKeeperOf } from '../../src/limit/lease-keeper.js';
import { type LimitOptions, limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, dailyQuota, gpuTime, learnedEstimate, slidingWindow } from '../../src/limit/policy.js';
import { type LimitStore, unavailable } from '../../src/limit/store.js';
import { type TestExchange, testExchange } from '../exchange-fixture.js';
import { ReferenceStore } from './holds-reference.js';
import { late } from './late-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const LEASE = 30_000;

const oneGpu = concurrency({ limit: 1, by: 'global' });
const ownShare = (limit = 1) => concurrency({ limit, by: 'principal', name: 'share' });
const gpuMinute = (limit: number) =>
  gpuTime({ limit: `${limit}ms`, window: '1m', estimate: '100ms', by: 'principal', name: 'gpu' });
const requests = (limit: number) => slidingWindow({ limit, window: '1m', name: 'requests', by: 'principal' });

const COMPLETED: Outcome = { kind: 'completed', status: 200 };
const FAILED: Outcome = { kind: 'completed', status: 500 };
const ABORTED: Outcome = { kind: 'aborted' };
const REFUSED: Outcome = { kind: 'refused', status: 422, code: 'upload-undecodable' };

beforeEach(() => {
  vi.useFakeTimers({ now: NOON, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

interface Answer extends TestExchange {
  readonly reply: Reply | undefined;
  readonly admission: Admission;
}

/** A guard over a store, and what its callers get. */
function service(options: LimitOptions, wrap: (store: LimitStore) => LimitStore = (store) => store) {
  const store = wrap(memoryStore({ now: () => Date.now() }));
  const guard = limit({ store, by: 'principal', ...options });
  async function send(principal = 'alice', guards: readonly Guard[] = []): Promise<Answer> {
    const test = testExchange();
    test.exchange.principal = { id: principal, scheme: 'test', scopes: [], credentialId: 'first' };
    const reply = await sequence(guard, ...guards)(test.exchange);
    return { ...test, reply, admission: test.exchange.admission as Admission };
  }
  /** What is left, for the policies by principal. */
  const left = async (principal = 'alice') => (await guard.peek(principal)).map(({ remaining }) => remaining);
  return { store, guard, send, left, keeper: leaseKeeperOf(store) };
}

/** A promise, and what settles it. */
function pending() {
  let resolve: () => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<void>((done, fail) => {
    resolve = done;
    reject = fail;
  });
  return { promise, resolve, reject };
}

const codeOf = ({ reply }: Answer) => reply?.problem?.code;
const turns = () => vi.advanceTimersByTimeAsync(0);

const STORES: readonly [what: string, wrap: (store: LimitStore) => LimitStore][] = [
  ['memoryStore', (store) => store],
  ['a store that answers by promises', late],
  ['the reference', () => new ReferenceStore(() => Date.now())],
];

describe.each(STORES)('limit with holds over %s', (_, wrap) => {
  it('holds a slot until the exchange ends, however it ends', async () => {
    const { send } = service({ policies: oneGpu }, wrap);
    for (const outcome of [COMPLETED, FAILED, ABORTED, REFUSED]) {
      const { exchange } = await send();
      expect(codeOf(await send())).toBe('capacity-exceeded');
      exchange.end(outcome);
      await turns();
    }
    expect((await send()).reply).toBeUndefined();
  });

  it('names what it holds on the admission', async () => {
    const { send } = service({ policies: [oneGpu, ownShare(2), gpuMinute(1000), requests(5)] }, wrap);
    const { admission } = await send();
    expect(admission.holds).toEqual([
      { policy: 'concurrency', kind: 'concurrency', isGlobal: true, slot: 0, token: NOON, lease: LEASE },
      { policy: 'share', kind: 'concurrency', isGlobal: false, slot: 0, token: NOON, lease: LEASE },
      { policy: 'gpu', kind: 'gpu-time', isGlobal: false, slot: 0, token: NOON, lease: LEASE },
    ]);
    expect(admission.previous).toBeUndefined();
  });

  it('names only what it still holds', async () => {
    const { send } = service({ policies: [oneGpu, ownShare(2), gpuMinute(1000), requests(5)] }, wrap);
    const { admission } = await send();
    const held = () => admission.holds.map(({ policy }) => policy);
    const before = admission.holds;
    expect(admission.holds).toBe(before);
    const settled = admission.settle({ gpu: 5, requests: 0 });
    expect(held()).toEqual(['concurrency', 'share']);
    await settled;
    await admission.settle({ share: 0 });
    expect(held()).toEqual(['concurrency']);
    const released = admission.release();
    expect(held()).toEqual([]);
    await released;
    expect(before.map(({ policy }) => policy)).toEqual(['concurrency', 'share', 'gpu']);
  });

  it('refuses to hold until what is no promise, and holds nothing for it', async () => {
    const { send } = service({ policies: oneGpu }, wrap);
    const { exchange, admission } = await send();
    for (const work of [undefined, null, 5, {}, () => undefined]) {
      expect(() => admission.holdUntil(work as unknown as Promise<void>)).toThrow(
        /^gatewarden: holdUntil must be given a promise, got /,
      );
    }
    exchange.end(FAILED);
    await turns();
    expect((await send()).reply).toBeUndefined();
  });

  it('holds it until the work that it was given has settled, whether that fails or not', async () => {
    const { send } = service({ policies: oneGpu }, wrap);
    for (const outcome of [COMPLETED, ABORTED]) {
      const { exchange, admission, faults } = await send();
      const one = pending();
      const two = pending();
      admission.holdUntil(one.promise);
      admission.holdUntil(two.promise);
      exchange.end(outcome);
      await turns();
      expect(codeOf(await send())).toBe('capacity-exceeded');
      one.reject(new Error('the job failed'));
      await turns();
      expect(codeOf(await send())).toBe('capacity-exceeded');
      two.resolve();
      await turns();
      expect(faults).toEqual([]);
    }
    expect((await send()).reply).toBeUndefined();
  });

  it('frees a slot that is released before the exchange has ended, once', async () => {
    const { send } = service({ policies: concurrency({ limit: 2, by: 'global' }) }, wrap);
    const { admission, exchange } = await send();
    await send();
    await admission.release();
    await admission.release();
    expect((await send()).reply).toBeUndefined();
    exchange.end(COMPLETED);
    await turns();
    expect(codeOf(await send())).toBe('capacity-exceeded');
  });

  it('charges the GPU time from the admission to the end, also if the client left', async () => {
    const { send, left } = service({ policies: gpuMinute(500) }, wrap);
    for (const [outcome, remaining] of [
      [COMPLETED, 450],
      [ABORTED, 400],
    ] as const) {
      const { exchange } = await send();
      vi.advanceTimersByTime(50);
      exchange.end(outcome);
      await turns();
      expect(await left()).toEqual([remaining]);
    }
  });

  it('charges no GPU time if the handler failed or a later guard refused', async () => {
    const { send, left } = service({ policies: [gpuMinute(500), requests(9)] }, wrap);
    for (const outcome of [FAILED, REFUSED]) {
      const { exchange } = await send();
      vi.advanceTimersByTime(50);
      exchange.end(outcome);
      await turns();
      expect(await left()).toEqual([500, 9]);
    }
  });

  it('charges the GPU time of a failure if server errors are not refunded', async () => {
    const { send, left } = service({ policies: gpuMinute(500), refundOn: ['refused'] }, wrap);
    const { exchange } = await send();
    vi.advanceTimersByTime(70);
    exchange.end(FAILED);
    await turns();
    expect(await left()).toEqual([430]);
  });

  it('charges the GPU time until the work has settled, if it settles after the exchange', async () => {
    const { send, left } = service({ policies: gpuMinute(500) }, wrap);
    const { exchange, admission } = await send();
    const work = pending();
    admission.holdUntil(work.promise);
    vi.advanceTimersByTime(20);
    exchange.end(ABORTED);
    vi.advanceTimersByTime(300);
    work.resolve();
    await turns();
    expect(await left()).toEqual([180]);
  });

  it('charges the GPU time that the service settles, once', async () => {
    const { send, left } = service({ policies: [gpuMinute(500), requests(9)] }, wrap);
    const { exchange, admission } = await send();
    await admission.settle({ gpu: 321 });
    await admission.settle({ gpu: 1, requests: 3 });
    vi.advanceTimersByTime(50);
    exchange.end(COMPLETED);
    await turns();
    expect(await left()).toEqual([179, 6]);
  });

  it('settles windows and days by a number, and leaves slots and GPU time to themselves', async () => {
    const policies = [requests(9), dailyQuota({ limit: 9 }), ownShare(3), gpuMinute(500)];
    const { send, left } = service({ policies: policies }, wrap);
    const { admission } = await send();
    await admission.settle(4);
    expect(await left()).toEqual([5, 5, 2, 400]);
  });

  it('settles GPU time by a number if it is the only policy', async () => {
    const { send, left } = service({ policies: gpuMinute(500) }, wrap);
    const { admission } = await send();
    await admission.settle(333);
    expect(await left()).toEqual([167]);
  });

  it('settles no policy that it does not have, and none of the others then', async () => {
    const { send, left } = service({ policies: [gpuMinute(500), requests(9)] }, wrap);
    const { admission } = await send();
    expect(() => admission.settle({ requests: 0, gpus: 3 })).toThrow(
      new TypeError('gatewarden: settle names the policy "gpus", but this admission has only gpu, requests'),
    );
    expect(await left()).toEqual([400, 8]);
  });

  it('settles nothing to units that cannot be, and keeps the hold', async () => {
    const { send, left, keeper } = service({ policies: [gpuMinute(500), requests(9)] }, wrap);
    const { admission } = await send();
    for (const ms of [-1, 0.5, Number.NaN]) expect(() => admission.settle({ gpu: ms })).toThrow(RangeError);
    expect(await left()).toEqual([400, 8]);
    expect(keeper.size).toBe(1);
  });

  it.each([
    ['a window', 0],
    ['a day', 1],
    ['the slots of the service', 2],
    ['the own slots', 3],
    ['GPU time', 4],
  ])('leaves everything else untouched if %s refuses', async (_what, full) => {
    const policies = [
      requests(full === 0 ? 1 : 9),
      dailyQuota({ limit: full === 1 ? 1 : 9 }),
      concurrency({ limit: full === 2 ? 1 : 9, by: 'principal', name: 'all' }),
      ownShare(full === 3 ? 1 : 9),
      gpuMinute(full === 4 ? 100 : 900),
    ];
    const { send, left, keeper } = service({ policies }, wrap);
    await send();
    const before = await left();
    for (let i = 0; i < 20; i++) {
      const answer = await send();
      expect(answer.reply?.problem).toMatchObject({ policies: [{ name: policies[full]?.name }] });
      answer.exchange.end({ kind: 'refused', status: 429, code: 'quota-exceeded' });
      await turns();
      expect(answer.admission).toBeUndefined();
    }
    expect(await left()).toEqual(before);
    expect(keeper.size).toBe(1);
  });

  it('frees at once what is granted after the client has left', async () => {
    const gone = pending();
    const slow = (store: LimitStore): LimitStore => ({
      ...late(store),
      admit: async (...args) => {
        await gone.promise;
        return store.admit(...args);
      },
    });
    const { guard, send, keeper } = service({ policies: oneGpu }, slow);
    const test = testExchange();
    const passed = guard(test.exchange);
    test.exchange.abort();
    gone.resolve();
    await passed;
    await turns();
    expect(keeper.size).toBe(0);
    expect((await send()).reply).toBeUndefined();
  });
});

describe('limit, where slots are missing,', () => {
  it('refuses with 503 if those of the service are held, and says which', async () => {
    const { send } = service({ policies: oneGpu });
    await send();
    vi.advanceTimersByTime(1000);
    const { reply, headers } = await send('bob');
    expect(reply).toMatchObject({
      status: 503,
      headers: [['Retry-After', '1']],
      problem: {
        status: 503,
        title: 'Service Unavailable',
        detail: 'The service is at its capacity. Try again later.',
        code: 'capacity-exceeded',
        'violated-policies': ['concurrency'],
        // The end of the lease would keep clients away from a slot that is free long before.
        policies: [{ name: 'concurrency', limit: 1, remaining: 0, resetAt: NOON + 1000 }],
        limit: 1,
        remaining: 0,
      },
    });
    expect(headers.get('RateLimit-Policy')).toBe('"concurrency";q=1;qu="concurrent-requests"');
    expect(headers.get('RateLimit')).toBe('"concurrency";r=0');
  });

  it('refuses with 429 instead, if told so', async () => {
    const { send } = service({ policies: oneGpu, capacityStatus: 429 });
    await send();
    const { reply } = await send('bob');
    expect(reply).toMatchObject({
      status: 429,
      problem: { status: 429, title: 'Too Many Requests', code: 'capacity-exceeded' },
    });
  });

  it("refuses with 429 if they are the caller's own", async () => {
    const { send } = service({ policies: [concurrency({ limit: 5, by: 'global' }), ownShare(2)] });
    await send();
    await send();
    const answer = await send();
    expect(answer.reply).toMatchObject({
      status: 429,
      headers: [['Retry-After', '1']],
      problem: {
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        title: 'Too Many Requests',
        code: 'concurrency-exceeded',
        'violated-policies': ['share'],
        limit: 2,
        remaining: 0,
      },
    });
    expect((await send('bob')).reply).toBeUndefined();
  });

  it("speaks of the caller's own slots if those of the service are held as well", async () => {
    const { send } = service({ policies: [oneGpu, ownShare()] });
    await send();
    const answer = await send();
    expect([codeOf(answer), answer.reply?.problem]).toMatchObject([
      'concurrency-exceeded',
      { 'violated-policies': ['concurrency', 'share'] },
    ]);
  });

  it('speaks of what was used if that is in the way as well, and says when that leaves', async () => {
    const { send } = service({ policies: [oneGpu, requests(1)] });
    await send();
    vi.advanceTimersByTime(18_500);
    const { reply } = await send();
    expect(reply).toMatchObject({
      status: 429,
      headers: [['Retry-After', '42']],
      problem: { code: 'quota-exceeded', 'violated-policies': ['concurrency', 'requests'], retryAt: NOON + 60_000 },
    });
  });

  it('says no time if more is asked for than there can be', async () => {
    const { send } = service({ policies: concurrency({ limit: 2, by: 'global', cost: 3 }) });
    expect((await send()).reply).toMatchObject({ status: 503, headers: [] });
  });
});

describe('the headers of limit', () => {
  it('name the unit of what is not a request, and no time for what is held', async () => {
    const { send } = service({
      policies: [
        requests(9),
        ownShare(3),
        gpuMinute(500),
        gpuTime({ limit: '1h', window: 'day', estimate: '5s', name: 'day' }),
      ],
      by: 'principal',
    });
    await send();
    vi.advanceTimersByTime(10_000);
    const { headers } = await send();
    expect(headers.get('RateLimit-Policy')).toBe(
      '"requests";q=9;w=60, "share";q=3;qu="concurrent-requests", "gpu";q=500;qu="gpu-milliseconds";w=60, ' +
        '"day";q=3600000;qu="gpu-milliseconds";w=86400',
    );
    expect(headers.get('RateLimit')).toBe('"requests";r=7;t=50, "share";r=1, "gpu";r=300, "day";r=3590000;t=43190');
  });

  it('name no time for GPU time that another client holds, since it may be given back sooner', async () => {
    const { send } = service({ policies: gpuTime({ limit: '150ms', window: '1m', estimate: '100ms' }) });
    await send();
    const { reply, headers } = await send();
    expect([reply?.headers, headers.get('RateLimit')]).toEqual([[['Retry-After', '1']], '"gpu-time";r=50']);
  });

  it('in the older form speak only of windows and days', async () => {
    const { send } = service({ policies: [ownShare(3), gpuMinute(500), requests(9)], legacyHeaders: true });
    const { headers } = await send();
    expect([headers.get('X-RateLimit-Limit'), headers.get('X-RateLimit-Remaining')]).toEqual(['9', '8']);
    const slotsOnly = service({ policies: [ownShare(3), gpuMinute(500)], legacyHeaders: true });
    expect((await slotsOnly.send()).headers.get('X-RateLimit-Limit')).toBeUndefined();
  });

  it('can be left out', async () => {
    const { send } = service({ policies: [oneGpu], headers: false });
    expect((await send()).headers.all()).toEqual({});
    expect((await send()).headers.all()).toEqual({});
  });
});

describe.each(STORES.slice(0, 2))('the leases of limit over %s', (_, wrap) => {
  it('are renewed at a third of their time, and nothing runs when nothing is held', async () => {
    const renewed: number[] = [];
    const counted = (store: LimitStore): LimitStore => ({
      ...late(wrap(store)),
      renew: (receipt) => {
        renewed.push(Date.now() - NOON);
        return store.renew(receipt);
      },
    });
    const { send } = service({ policies: oneGpu }, counted);
    expect(vi.getTimerCount()).toBe(0);
    const { exchange } = await send();
    await vi.advanceTimersByTimeAsync(100_000);
    expect(renewed).toEqual(Array.from({ length: 10 }, (_, i) => (i + 1) * 10_000));
    expect(codeOf(await send())).toBe('capacity-exceeded');
    exchange.end(COMPLETED);
    await turns();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of a thousand exchanges are renewed in few turns, by one timer', async () => {
    const moments = new Map<number, number>();
    const counted = (memory: LimitStore): LimitStore => {
      const store = wrap(memory);
      return {
        admit: (...args) => store.admit(...args),
        settle: (...args) => store.settle(...args),
        release: (...args) => store.release(...args),
        peek: (...args) => store.peek(...args),
        reset: (...args) => store.reset(...args),
        renew: (receipt) => {
          moments.set(Date.now(), (moments.get(Date.now()) ?? 0) + 1);
          return store.renew(receipt);
        },
      };
    };
    const { send, keeper } = service({ policies: concurrency({ limit: 1000, by: 'global' }) }, counted);
    const answers: Answer[] = [];
    for (let i = 0; i < 1000; i++) {
      answers.push(await send(`client-${i}`));
      if (i % 50 === 49) await vi.advanceTimersByTimeAsync(100);
    }
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(20_000);
    expect([...moments.values()].reduce((sum, n) => sum + n)).toBeGreaterThanOrEqual(2000);
    expect(moments.size).toBeLessThanOrEqual(8);
    for (const { exchange } of answers) exchange.end(COMPLETED);
    await turns();
    expect([keeper.size, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('are tried again if the store does not answer, and kept if it answers in time', async () => {
    let isDown = false;
    const failing = (store: LimitStore): LimitStore => ({
      ...late(wrap(store)),
      renew: async (receipt) => {
        if (isDown) throw unavailable('Redis does not answer');
        return store.renew(receipt);
      },
    });
    const { send } = service({ policies: oneGpu }, failing);
    const { admission, faults, exchange } = await send();
    isDown = true;
    await vi.advanceTimersByTimeAsync(25_000);
    isDown = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(admission.lost.aborted).toBe(false);
    expect(codeOf(await send())).toBe('capacity-exceeded');
    expect(faults).toEqual([]);
    exchange.end(COMPLETED);
    await turns();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that the store has ended are lost, and say so once', async () => {
    let isDown = true;
    const failing = (store: LimitStore): LimitStore => ({
      ...late(wrap(store)),
      renew: async (receipt) => {
        if (isDown) throw unavailable('Redis does not answer');
        return store.renew(receipt);
      },
    });
    const { send, keeper } = service({ policies: [oneGpu, gpuMinute(500)] }, failing);
    const { admission, exchange, faults } = await send();
    const aborts = vi.fn();
    admission.lost.addEventListener('abort', aborts);
    await vi.advanceTimersByTimeAsync(LEASE + 5000);
    expect(aborts).not.toHaveBeenCalled();
    const next = await send('bob');
    expect(next.reply).toBeUndefined();
    isDown = false;
    await vi.advanceTimersByTimeAsync(5000);
    expect(aborts).toHaveBeenCalledTimes(1);
    expect(String(admission.lost.reason)).toContain('a hold was lost');
    expect(admission.holds).toEqual([]);
    expect(next.admission.lost.aborted).toBe(false);
    // What comes late frees no other client's slot.
    exchange.end(COMPLETED);
    await turns();
    expect(codeOf(await send('carol'))).toBe('capacity-exceeded');
    expect(keeper.size).toBe(1);
    expect(faults).toEqual([]);
  });

  it('whose renewal fails for another reason are a fault, and tried again', async () => {
    let fails = 1;
    const failing = (store: LimitStore): LimitStore => ({
      ...late(wrap(store)),
      renew: async (receipt) => {
        if (fails-- > 0) throw new Error('a fault');
        return store.renew(receipt);
      },
    });
    const { send } = service({ policies: oneGpu }, failing);
    const { faults, admission } = await send();
    await vi.advanceTimersByTimeAsync(LEASE * 2);
    expect(faults).toEqual([new Error('a fault')]);
    expect(admission.lost.aborted).toBe(false);
    expect(codeOf(await send())).toBe('capacity-exceeded');
  });

  it('are not renewed after the last hold was settled, and for the others until they are', async () => {
    const renew = vi.fn();
    const counted = (store: LimitStore): LimitStore => ({
      ...late(wrap(store)),
      renew: (receipt) => {
        renew();
        return store.renew(receipt);
      },
    });
    const { send } = service({ policies: [ownShare(), gpuMinute(500)] }, counted);
    const { admission } = await send();
    await admission.settle({ gpu: 5 });
    await vi.advanceTimersByTimeAsync(15_000);
    expect(renew).toHaveBeenCalledTimes(1);
    await admission.settle({ share: 0 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(renew).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('nothing is left after 10,000 exchanges', async () => {
  const { send, keeper, store } = service({ policies: [concurrency({ limit: 20, by: 'global' }), gpuMinute(900)] });
  const settled = vi.spyOn(store, 'settle');
  const open: Answer[] = [];
  for (let i = 0; i < 10_000; i++) {
    const answer = await send(`client-${i % 50}`);
    if (i % 7 === 0) answer.admission.lost.addEventListener('abort', () => undefined);
    if (i % 5 === 0) answer.admission.holdUntil(i % 2 === 0 ? Promise.resolve() : Promise.reject(new Error('job')));
    open.push(answer);
    if (open.length === 20) {
      for (const [j, { exchange }] of open.splice(0).entries()) {
        exchange.end([COMPLETED, ABORTED, FAILED, REFUSED][(i + j) % 4] as Outcome);
      }
      await turns();
      expect(keeper.size).toBe(0);
    }
  }
  expect(settled).toHaveBeenCalledTimes(10_000);
  expect(vi.getTimerCount()).toBe(0);
});

it('a fault in the end of a hold is reported, and the exchange is not harmed', async () => {
  const failing = (store: LimitStore): LimitStore => ({
    ...late(store),
    settle: async () => {
      throw new Error('no settle');
    },
  });
  const { send } = service({ policies: oneGpu }, failing);
  const { exchange, faults } = await send();
  exchange.end(COMPLETED);
  await turns();
  expect(faults).toEqual([new Error('no settle')]);
});

describe('the estimate of gpuTime', () => {
  /** The faults of a request that does not pass. */
  async function faultsOf(answer: Promise<Answer>): Promise<readonly string[]> {
    const { reply, faults } = await answer;
    expect(reply?.status).toBe(500);
    return faults.map(String);
  }

  it('is held in milliseconds, from a function of the exchange', async () => {
    const sizes = [10, 2.5];
    const policy = gpuTime({ limit: '1s', window: '1m', by: 'global', estimate: () => sizes.shift() ?? Number.NaN });
    const { send } = service({ policies: policy });
    expect((await send()).admission.quotas).toMatchObject([{ remaining: 990 }]);
    expect((await send()).admission.quotas).toMatchObject([{ remaining: 987 }]);
    expect(await faultsOf(send())).toEqual([
      'OptionError: gatewarden: gpuTime "estimate" must return milliseconds, more than 0, got NaN',
    ]);
  });

  it.each([[0], [-5], [Number.POSITIVE_INFINITY], ['5s'], [undefined]])('of %o is a fault', async (estimate) => {
    const policy = gpuTime({ limit: '1s', window: '1m', by: 'global', estimate: () => estimate as number });
    const [fault] = await faultsOf(service({ policies: policy }).send());
    expect(fault).toContain('"estimate" must return milliseconds');
  });

  it('of a promise is a fault', async () => {
    const estimate = (async () => 5) as unknown as () => number;
    const policy = gpuTime({ limit: '1s', window: '1m', by: 'global', estimate });
    const [fault] = await faultsOf(service({ policies: policy }).send());
    expect(fault).toContain('got a promise');
  });

  it('above the limit is refused without a time', async () => {
    const policy = gpuTime({ limit: '1s', window: '1m', by: 'global', estimate: '2s' });
    expect((await service({ policies: policy }).send()).reply).toMatchObject({
      status: 429,
      headers: [],
      problem: { code: 'quota-exceeded', retryAt: null },
    });
  });

  it('is learned from what jobs took, and not from those that were aborted or failed', async () => {
    const policy = gpuTime({
      limit: '10s',
      window: '1m',
      by: 'principal',
      estimate: learnedEstimate({ initial: '2s' }),
    });
    const { send } = service({ policies: policy, by: 'principal' });
    const run = async (ms: number, outcome: Outcome) => {
      const { exchange, admission } = await send();
      vi.advanceTimersByTime(ms);
      exchange.end(outcome);
      await turns();
      return admission.quotas[0]?.remaining;
    };
    expect(await run(1, ABORTED)).toBe(8000);
    for (let i = 0; i < 12; i++) await run(1, i % 2 === 0 ? ABORTED : FAILED);
    for (let i = 0; i < 8; i++) await run(100 + i, COMPLETED);
    const { admission, exchange } = await send();
    const left = admission.quotas[0]?.remaining ?? 0;
    exchange.end(FAILED);
    await turns();
    // Held is the longest of eight.
    expect((await send()).admission.quotas[0]?.remaining).toBe(left);
    expect(left).toBe(10_000 - 7 - 828 - 107);
  });
});

describe('a learned estimate', () => {
  const learning = (initial: `${number}s`) => {
    const estimate = learnedEstimate({ initial });
    const policies = gpuTime({ limit: '10s', window: '1m', by: 'principal', estimate });
    const { send } = service({ policies });
    /** One job of a client; how long it took by the clock, and by the word of the service. */
    const run = async (principal: string, ms: number, outcome: Outcome, settled?: number, deadline?: number) => {
      const { exchange, admission } = await send(principal);
      if (deadline !== undefined) {
        const endsAt = performance.now() + deadline;
        const remaining = () => Math.max(0, endsAt - performance.now());
        exchange.deadline = { duration: deadline, isShortened: true, remaining };
      }
      vi.advanceTimersByTime(ms);
      if (settled !== undefined) await admission.settle({ 'gpu-time': settled });
      exchange.end(outcome);
      await turns();
    };
    /** What a client without jobs holds. */
    const held = async (principal: string) => 10_000 - ((await send(principal)).admission.quotas[0]?.remaining ?? 0);
    return { run, held };
  };
  const REJECTED: Outcome = { kind: 'completed', status: 400 };

  it('learns nothing from requests that the handler rejected', async () => {
    const { run, held } = learning('3s');
    for (let i = 0; i < 32; i++) await run(`client-${i % 8}`, 1, REJECTED);
    expect(await held('another')).toBe(3000);
  });

  it('learns nothing from jobs that were stopped by the deadline of their client', async () => {
    const { run, held } = learning('3s');
    for (let i = 0; i < 32; i++) await run(`client-${i % 8}`, 20, COMPLETED, 20, 20);
    expect(await held('another')).toBe(3000);
    for (let i = 0; i < 32; i++) await run(`client-${i % 8}`, 20, COMPLETED, 20, 40);
    expect(await held('a third')).toBe(20);
  });

  it('learns what the service settles, whatever the handler answers', async () => {
    const { run, held } = learning('3s');
    for (let i = 0; i < 32; i++) await run(`client-${i % 8}`, 1, REJECTED, 20);
    expect(await held('another')).toBe(20);
  });

  it('admits new clients after jobs longer than the limit', async () => {
    const { run, held } = learning('1s');
    for (let i = 0; i < 16; i++) await run(`client-${i}`, 11_000, COMPLETED);
    expect(await held('another')).toBe(10_000);
  });
});

it('a learned estimate whose key cannot be found again is a fault, and keeps no hold', async () => {
  const keys = ['small', undefined];
  const estimate = learnedEstimate({ by: () => keys.shift() as string });
  const policies = gpuTime({ limit: '1s', window: '1m', by: 'global', estimate });
  const { send, keeper } = service({ policies });
  const { exchange, faults } = await send();
  vi.advanceTimersByTime(50);
  exchange.end(COMPLETED);
  expect(faults.map(String)).toEqual([expect.stringContaining('non-empty string')]);
  expect([keeper.size, vi.getTimerCount()]).toEqual([0, 0]);
});

it('a store that holds nothing where something must be held is a fault, never a pass', async () => {
  const without = (store: LimitStore): LimitStore => ({
    ...late(store),
    admit: () => ({ kind: 'admitted', at: NOON, states: [], holds: [], receipt: {} }),
  });
  const { send } = service({ policies: oneGpu }, without);
  const { reply, faults } = await send();
  expect(reply?.status).toBe(500);
  expect(faults.map(String)).toEqual(['TypeError: gatewarden: the store of limit holds nothing of "concurrency"']);
});

it('a later guard that refuses frees the slot', async () => {
  const { send } = service({ policies: oneGpu });
  const refuses: Guard = () => refuse(problem('scope-insufficient'));
  const { exchange, reply } = await send('alice', [refuses]);
  expect(reply?.status).toBe(403);
  exchange.end({ kind: 'refused', status: 403, code: 'scope-insufficient' });
  expect((await send()).reply).toBeUndefined();
});
