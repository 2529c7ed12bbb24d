import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deadline } from '../../../src/core/deadline.js';
import type { Outcome } from '../../../src/core/outcome.js';
import type { QueuePlace } from '../../../src/core/queue-place.js';
import type { Reply } from '../../../src/core/reply.js';
import { type LimitOptions, limit } from '../../../src/limit/limit.js';
import type { LimitDecision } from '../../../src/limit/limit-decision.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { concurrency, gpuTime, slidingWindow } from '../../../src/limit/policy.js';
import type { QueueOptions } from '../../../src/limit/queue/queue-options.js';
import { type LimitStore, unavailable } from '../../../src/limit/store.js';
import { type TestExchange, testExchange } from '../../exchange-fixture.js';
import { failing } from '../../failing.js';
import { late } from '../late-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const COMPLETED: Outcome = { kind: 'completed', status: 200 };

const oneGpu = concurrency({ limit: 1, by: 'global' });
const share = concurrency({ limit: 1, by: 'principal', name: 'share' });
const requests = (count: number) => slidingWindow({ limit: count, window: '1h', name: 'requests', by: 'principal' });

beforeEach(() => {
  vi.useFakeTimers({
    now: NOON,
    toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'Date', 'performance'],
  });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Lets promises settle and timers fire that are due. */
const turns = () => vi.advanceTimersByTimeAsync(0);
const later = (ms: number) => vi.advanceTimersByTimeAsync(ms);

interface Sent extends TestExchange {
  /** Undefined while it waits, and if it was admitted. */
  reply: Reply | undefined;
  state: 'waits' | 'passed' | 'refused' | 'failed';
  isSynchronous: boolean;
  done(outcome?: Outcome): Promise<void>;
  leave(): Promise<void>;
}

interface Scene extends Omit<LimitOptions, 'queue'> {
  readonly queue?: QueueOptions;
  readonly wrap?: (store: LimitStore) => LimitStore;
}

/** A guard with a queue, and the requests of its clients. */
function service({ queue = {}, wrap = (store) => store, ...options }: Scene) {
  const memory = (options.store as ReturnType<typeof memoryStore> | undefined) ?? memoryStore();
  const store = wrap(memory);
  const decisions: LimitDecision[] = [];
  const guard = limit({
    store,
    by: 'principal',
    queue,
    onDecision: (decision) => decisions.push(decision),
    ...options,
  });
  async function send(client: string | undefined, prepare?: (test: TestExchange) => void): Promise<Sent> {
    const test = testExchange();
    if (client !== undefined) {
      test.exchange.principal = { id: client, scheme: 'test', scopes: [], credentialId: 'first' };
    }
    prepare?.(test);
    const sent: Sent = {
      ...test,
      reply: undefined,
      state: 'waits',
      isSynchronous: false,
      async done(outcome = COMPLETED) {
        test.exchange.end(outcome);
        await turns();
      },
      async leave() {
        test.exchange.abort();
        await turns();
      },
    };
    const result = guard(test.exchange);
    sent.isSynchronous = !(result instanceof Promise);
    void Promise.resolve(result).then(
      (reply) => {
        sent.reply = reply;
        sent.state = reply === undefined ? 'passed' : 'refused';
      },
      () => {
        sent.state = 'failed';
      },
    );
    await turns();
    return sent;
  }
  const left = () => memory.peek([{ ...requests(10), id: `principal/${requests(10).id}` }], ['alice'])[0]?.remaining;
  return { guard, store: memory, send, decisions, left };
}

const codeOf = ({ reply }: Sent) => reply?.problem?.code;
const retryAfterOf = ({ reply }: Sent) => reply?.headers.find(([name]) => name === 'Retry-After')?.[1];

describe('limit with a queue', () => {
  it('refuses at once without one', async () => {
    const store = memoryStore();
    const guard = limit({ store, policies: oneGpu });
    expect(guard(testExchange().exchange)).toBeUndefined();
    expect((await guard(testExchange().exchange))?.problem?.code).toBe('capacity-exceeded');
  });

  it('lets a request wait until a slot is free, and passes it then', async () => {
    const { send } = service({ policies: oneGpu });
    const first = await send('alice');
    const second = await send('bob');
    expect([first.state, first.isSynchronous]).toEqual(['passed', true]);
    expect([second.state, second.isSynchronous]).toEqual(['waits', false]);
    await later(5000);
    expect(second.state).toBe('waits');
    await first.done();
    expect(second.state).toBe('passed');
    expect(second.exchange.admission?.holds).toHaveLength(1);
    await second.done();
    expect((await send('carol')).isSynchronous).toBe(true);
  });

  it('serves the client next that was served least, not the one that came first', async () => {
    const { send } = service({ policies: oneGpu });
    const flood = [await send('alice'), await send('alice'), await send('alice'), await send('alice')];
    const light = await send('bob');
    await later(1000);
    await flood[0]?.done();
    expect([light.state, flood[1]?.state]).toEqual(['passed', 'waits']);
    await later(100);
    await light.done();
    // In order of arrival within a client.
    expect(flood.map(({ state }) => state)).toEqual(['passed', 'passed', 'waits', 'waits']);
  });

  it('knows clients by their address where no client has signed in, and takes none for a principal of that name', async () => {
    const { send } = service({ policies: oneGpu });
    const running = await send('10.0.0.1');
    const byName = await send('10.0.0.1');
    const byAddress = await send(undefined, ({ exchange }) => {
      exchange.clientIp = { ...({} as NonNullable<typeof exchange.clientIp>), key: '10.0.0.1' };
    });
    await later(1000);
    await running.done();
    expect([byName.state, byAddress.state]).toEqual(['waits', 'passed']);
  });

  it('serves clients by weight', async () => {
    const weight = ({ principal }: { principal: { id: string } | undefined }) => (principal?.id === 'alice' ? 3 : 1);
    const { send } = service({ policies: oneGpu, queue: { weight } });
    const running = await send('carol');
    const waiting: Sent[] = [];
    for (let i = 0; i < 8; i++) for (const client of ['alice', 'bob']) waiting.push(await send(client));
    const served: string[] = [];
    await running.done();
    for (let i = 0; i < 8; i++) {
      const next = waiting.find(({ state }) => state === 'passed') as Sent;
      waiting.splice(waiting.indexOf(next), 1);
      served.push(next.exchange.principal?.id as string);
      await later(1000);
      await next.done();
    }
    expect(served.filter((client) => client === 'alice')).toHaveLength(6);
  });

  it('charges nothing while a request waits, and everything when it is admitted', async () => {
    const { send, left } = service({ policies: [oneGpu, requests(10)] });
    const running = await send('bob');
    const waiting = await send('alice');
    expect(left()).toBe(10);
    await running.done();
    expect([waiting.state, left()]).toEqual(['passed', 9]);
  });

  it('refuses at once what another policy refuses, and lets it take no place', async () => {
    const { send } = service({ policies: [oneGpu, requests(1)], queue: { maxWaiting: 1 } });
    const running = await send('alice');
    const spent = await send('alice');
    expect([spent.reply?.status, codeOf(spent), retryAfterOf(spent)]).toEqual([429, 'quota-exceeded', '3600']);
    const waiting = await send('bob');
    expect(waiting.state).toBe('waits');
    await running.done();
    expect(waiting.state).toBe('passed');
  });

  it('refuses in its turn what another policy refuses by then', async () => {
    const { send, store } = service({ policies: [oneGpu, requests(2)] });
    const running = await send('alice');
    const waiting = [await send('alice'), await send('alice')];
    expect(waiting.map(({ state }) => state)).toEqual(['waits', 'waits']);
    await running.done();
    await waiting[0]?.done();
    expect(waiting.map(codeOf)).toEqual([undefined, 'quota-exceeded']);
    expect(store.size).toBeGreaterThan(0);
    // Its turn goes to the next.
    expect((await send('bob')).state).toBe('passed');
  });

  it('lets others pass one whose own share is full', async () => {
    const two = concurrency({ limit: 2, by: 'global' });
    const { send } = service({ policies: [two, share] });
    const first = await send('alice');
    const second = await send('alice');
    expect([first.state, second.state]).toEqual(['passed', 'waits']);
    const other = await send('bob');
    expect([other.state, second.state]).toEqual(['passed', 'waits']);
    await first.done();
    await turns();
    expect(second.state).toBe('passed');
  });

  it('names the place of one that others pass, too', async () => {
    const two = concurrency({ limit: 2, by: 'global' });
    const places: QueuePlace[] = [];
    const { send } = service({ policies: [two, share], queue: { onQueue: (place) => places.push(place) } });
    await send('alice');
    const held = await send('alice');
    await later(1);
    expect([held.state, places]).toEqual(['waits', [{ position: 1, expectedWait: undefined }]]);
  });

  it('admits without a queue what lacks no slot, where a function returns the policies', async () => {
    const { send } = service({
      policies: ({ principal }) => (principal?.id === 'monitor' ? requests(10) : oneGpu),
    });
    await send('alice');
    expect(await send('monitor')).toMatchObject({ state: 'passed', isSynchronous: true });
    expect((await send('bob')).state).toBe('waits');
  });

  it.each(failing('broken'))('passes on the turn if the store %s when a slot is given back', async (_, fail) => {
    const { send } = service({
      policies: concurrency({ limit: 1, by: 'global', lease: '1s' }),
      wrap: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            if (name === 'settle') return fail;
            // Nothing renews a lease of it any more.
            if (name === 'renew') return () => false;
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
    });
    const running = await send('alice', ({ exchange }) => {
      exchange.faultReporter = () => undefined;
    });
    const waiting = await send('bob');
    await running.done();
    expect(waiting.state).toBe('waits');
    await later(1500);
    expect(waiting.state).toBe('passed');
  });

  it('gives the slot back if the store admits but holds nothing', async () => {
    const { send } = service({
      policies: oneGpu,
      wrap: (store) => {
        let count = 0;
        return new Proxy(store, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name, target);
            if (name === 'admit') {
              return (...args: Parameters<LimitStore['admit']>) =>
                count++ === 0
                  ? { kind: 'admitted', at: NOON, states: [], holds: [], receipt: {} }
                  : target.admit(...args);
            }
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
      },
    });
    await expect(send('alice')).rejects.toThrow('holds nothing of "concurrency"');
    expect((await send('bob')).state).toBe('passed');
  });

  it('waits for a slot that a request without a queue holds', async () => {
    const { send, store } = service({ policies: oneGpu });
    const unqueued = limit({ store, policies: oneGpu });
    const outside = testExchange();
    expect(unqueued(outside.exchange)).toBeUndefined();
    const waiting = await send('alice');
    expect(waiting.state).toBe('waits');
    await later(2000);
    expect(waiting.state).toBe('waits');
    outside.exchange.end(COMPLETED);
    await later(250);
    expect(waiting.state).toBe('passed');
  });

  it('passes on a slot whose holder never gives it back, once its lease is over', async () => {
    const { send, store } = service({ policies: oneGpu });
    const policy = { ...oneGpu, by: 'global', id: `global/${oneGpu.id}` } as const;
    expect(store.admit([policy], ['global'], [1]).kind).toBe('admitted');
    const waiting = await send('alice', ({ exchange }) => {
      exchange.deadline = { duration: 1e6, isShortened: false, remaining: () => 1e6 } satisfies Deadline;
    });
    await later(29_000);
    expect(waiting.state).toBe('waits');
    await later(1500);
    expect([waiting.state, codeOf(waiting)]).toEqual(['refused', 'queue-timeout']);
    const next = await send('bob');
    await later(300);
    expect(next.state).toBe('passed');
  });

  it('gives a request that waited too long 503 queue-timeout at that moment, also while the worker is busy', async () => {
    const { send, decisions } = service({ policies: oneGpu, queue: { maxWait: '2s' } });
    await send('alice');
    const waiting = await send('bob');
    await later(1990);
    expect(waiting.state).toBe('waits');
    await later(20);
    expect([waiting.reply?.status, codeOf(waiting)]).toEqual([503, 'queue-timeout']);
    expect(retryAfterOf(waiting)).toBe('2');
    expect(decisions.at(-1)).toMatchObject({ kind: 'queue-timeout', expectedWait: 2000, enforced: true });
  });

  it('waits no longer than the deadline of the exchange', async () => {
    const { send } = service({ policies: oneGpu });
    await send('alice');
    const waiting = await send('bob', ({ exchange }) => {
      exchange.deadline = { duration: 700, isShortened: true, remaining: () => 700 };
    });
    await later(710);
    expect(codeOf(waiting)).toBe('queue-timeout');
  });

  it('refuses on arrival what could not be served in time, with the expected wait as Retry-After', async () => {
    const { send } = service({ policies: oneGpu, queue: { maxWait: '25s' } });
    const known = await send('alice');
    await later(10_000);
    await known.done();
    const running = await send('alice');
    const waiting = [await send('alice'), await send('alice')];
    expect(running.state).toBe('passed');
    expect(waiting.map(({ state }) => state)).toEqual(['waits', 'waits']);
    const late = await send('alice');
    expect([late.state, codeOf(late), retryAfterOf(late)]).toEqual(['refused', 'queue-full', '30']);
    // Another client is served before the rest of that backlog.
    expect((await send('bob')).state).toBe('waits');
  });

  it('pushes the last request of the client with most waiting out of a full queue', async () => {
    const { send } = service({ policies: oneGpu, queue: { maxWaiting: 3 } });
    await send('alice');
    const flood = [await send('alice'), await send('alice'), await send('alice')];
    const more = await send('alice');
    expect([codeOf(more), more.reply?.status, retryAfterOf(more)]).toEqual(['queue-full', 503, '30']);
    const light = await send('bob');
    expect(light.state).toBe('waits');
    expect(flood.map(codeOf)).toEqual([undefined, undefined, 'queue-full']);
    expect((await send('carol')).state).toBe('waits');
    expect(flood.map(({ state }) => state)).toEqual(['waits', 'refused', 'refused']);
    // Each client has one now.
    expect(codeOf(await send('dave'))).toBe('queue-full');
  });

  it('frees the place of a client that leaves, and charges it nothing', async () => {
    const { send, left } = service({ policies: [oneGpu, requests(10)], queue: { maxWaiting: 1 } });
    const running = await send('bob');
    const gone = await send('alice');
    await gone.leave();
    expect([gone.state, gone.reply, gone.exchange.admission, left()]).toEqual(['passed', undefined, undefined, 10]);
    const next = await send('carol');
    expect(next.state).toBe('waits');
    await running.done();
    expect(next.state).toBe('passed');
  });

  it('names the place and the expected wait, and each change', async () => {
    const places: [string | undefined, QueuePlace][] = [];
    const { send } = service({
      policies: oneGpu,
      queue: { headers: true, onQueue: (place, { principal }) => places.push([principal?.id, place]) },
    });
    const known = await send('alice');
    await later(4000);
    await known.done();
    const running = await send('alice');
    expect(running.exchange.queuePlace).toBeUndefined();
    const bob = await send('bob');
    const carol = await send('carol');
    expect(bob.exchange.queuePlace).toEqual({ position: 1, expectedWait: 4000 });
    expect(carol.exchange.queuePlace).toEqual({ position: 2, expectedWait: 8000 });
    expect([carol.exchange.get('Queue-Position'), carol.exchange.get('Queue-Expected-Wait')]).toEqual(['2', '8']);
    await later(1000);
    await running.done();
    await later(1);
    expect(carol.exchange.queuePlace).toMatchObject({ position: 1 });
    expect(bob.exchange.queuePlace).toBeUndefined();
    expect(places.map(([client, { position }]) => [client, position])).toEqual([
      ['bob', 1],
      ['carol', 2],
      ['carol', 1],
    ]);
  });

  it('passes on each place to the listener of the exchange, and reports what goes wrong in one', async () => {
    const positions: number[] = [];
    const { send } = service({
      policies: oneGpu,
      queue: {
        onQueue: () => {
          throw new Error('the listener failed');
        },
      },
    });
    await send('alice');
    const waiting = await send('bob', ({ exchange }) => {
      exchange.faultReporter = () => undefined;
      exchange.queueListener = ({ position }) => positions.push(position);
    });
    expect([waiting.state, positions]).toEqual(['waits', [1]]);
  });

  it('answers 429 to what the queue refuses if capacityStatus says so', async () => {
    const { send } = service({ policies: oneGpu, capacityStatus: 429, queue: { maxWait: '1s' } });
    await send('alice');
    const waiting = await send('bob');
    await later(1010);
    expect(waiting.reply).toMatchObject({
      status: 429,
      problem: { code: 'queue-timeout', status: 429, title: 'Too Many Requests' },
    });
  });

  it('shares one queue among guards that count the same slots in one store', async () => {
    const { send, store } = service({ policies: oneGpu });
    const other = limit({ store, policies: oneGpu, by: 'principal', queue: {} });
    const running = await send('alice');
    const flood = [await send('alice'), await send('alice')];
    const test = testExchange();
    test.exchange.principal = { id: 'bob', scheme: 'test', scopes: [], credentialId: 'first' };
    let hasPassed = false;
    void Promise.resolve(other(test.exchange)).then(() => {
      hasPassed = true;
    });
    await later(1000);
    expect(hasPassed).toBe(false);
    await running.done();
    expect([hasPassed, ...flood.map(({ state }) => state)]).toEqual([true, 'waits', 'waits']);
  });

  it('expects what the estimate of gpuTime says, corrected by what jobs really took', async () => {
    const gpu = gpuTime({
      limit: '1h',
      window: '2h',
      estimate: ({ request }) => Number(request.url.slice(1)),
      by: 'principal',
    });
    const places: QueuePlace[] = [];
    const { send } = service({ policies: [oneGpu, gpu], queue: { onQueue: (place) => places.push(place) } });
    const job = (estimate: number) => (test: TestExchange) =>
      Object.defineProperty(test.exchange.request, 'url', { value: `/${estimate}` });
    const known = await send('alice', job(1000));
    await later(2000);
    await known.done();
    await send('alice', job(3000));
    await send('alice', job(1000));
    await send('alice', job(1000));
    expect(places.map(({ expectedWait }) => expectedWait)).toEqual([6000, 8000]);
  });

  it('has no queue if it is not enforced', async () => {
    const { send } = service({ policies: oneGpu, enforce: false });
    await send('alice');
    expect(await send('bob')).toMatchObject({ state: 'passed', isSynchronous: true });
  });

  it('queues only where slots are missing', async () => {
    const { send } = service({ policies: [concurrency({ limit: 5, by: 'global' }), requests(100)] });
    for (let i = 0; i < 5; i++) expect(await send('alice')).toMatchObject({ state: 'passed', isSynchronous: true });
    expect((await send('alice')).state).toBe('waits');
  });

  it.each([
    ['by a promise', () => Promise.reject(unavailable('the store does not answer'))],
    [
      'by throwing',
      () => {
        throw unavailable('the store does not answer');
      },
    ],
  ])('refuses with 503 store-unavailable if the store fails %s', async (_, fail) => {
    for (const method of ['peek', 'admit', 'queue'] as const) {
      const { send } = service({
        policies: [oneGpu, requests(10)],
        wrap: (store) =>
          ({
            admit: store.admit.bind(store),
            settle: store.settle.bind(store),
            renew: store.renew.bind(store),
            release: store.release.bind(store),
            peek: store.peek.bind(store),
            reset: store.reset.bind(store),
            queue: store.queue?.bind(store),
            [method]: method === 'queue' ? () => ({ join: fail }) : fail,
          }) as LimitStore,
      });
      const sent = await send('alice');
      expect([method, sent.reply?.status, codeOf(sent)]).toEqual([method, 503, 'store-unavailable']);
    }
  });

  it('gives the turn of a request back whose store failed', async () => {
    let isBroken = false;
    const { send } = service({
      policies: oneGpu,
      wrap: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            if (name === 'admit' && isBroken) return () => Promise.reject(unavailable('no answer'));
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
    });
    const running = await send('alice');
    const waiting = await send('bob');
    isBroken = true;
    await running.done();
    expect(codeOf(waiting)).toBe('store-unavailable');
    isBroken = false;
    expect((await send('carol')).state).toBe('passed');
  });

  it('waits with stores that answer by promises as well', async () => {
    const { send } = service({
      policies: [oneGpu, requests(10)],
      wrap: (store) => ({
        ...late(store),
        queue: (settings) => {
          const queue = store.queue?.(settings);
          if (queue === undefined) throw new Error('memoryStore has queues');
          return { join: async (request) => queue.join(request) };
        },
      }),
    });
    const running = await send('alice');
    const gone = await send('bob');
    const waiting = await send('carol');
    expect([running.state, gone.state, waiting.state]).toEqual(['passed', 'waits', 'waits']);
    await gone.leave();
    await running.done();
    expect(waiting.state).toBe('passed');
  });

  it('holds the slot until the work has ended, and passes it on only then', async () => {
    const { send } = service({ policies: oneGpu });
    const running = await send('alice');
    let end: () => void = () => undefined;
    running.exchange.admission?.holdUntil(new Promise<void>((resolve) => (end = resolve)));
    const waiting = await send('bob');
    await running.leave();
    expect(waiting.state).toBe('waits');
    end();
    await turns();
    expect(waiting.state).toBe('passed');
  });

  it.each([
    ['settle', (sent: Sent) => sent.exchange.admission?.settle({ concurrency: 0 })],
    ['release', (sent: Sent) => sent.exchange.admission?.release()],
  ])('passes on a slot that %s gives back early', async (_, giveBack) => {
    const { send } = service({ policies: oneGpu });
    const running = await send('alice');
    const waiting = [await send('bob'), await send('carol')];
    await giveBack(running);
    await turns();
    expect(waiting.map(({ state }) => state)).toEqual(['passed', 'waits']);
    await running.done();
    expect(waiting.map(({ state }) => state)).toEqual(['passed', 'waits']);
  });

  it('refuses with 503 what waits when the clock of the store fails, and serves again when it works', async () => {
    let isBroken = false;
    const store = memoryStore({ now: () => (isBroken ? Number.NaN : Date.now()) });
    const { send } = service({ policies: oneGpu, store });
    const running = await send('alice', ({ exchange }) => {
      exchange.faultReporter = () => undefined;
    });
    const waiting = await send('bob', ({ exchange }) => {
      exchange.faultReporter = () => undefined;
    });
    isBroken = true;
    await later(300);
    expect(codeOf(waiting)).toBe('store-unavailable');
    isBroken = false;
    await running.done();
    expect((await send('carol')).state).toBe('passed');
  });

  it('keeps no timer when the queue is empty', async () => {
    const { send } = service({ policies: oneGpu });
    const running = await send('alice');
    const waiting = await send('bob');
    await waiting.leave();
    await running.done();
    await later(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  describe('refuses the options', () => {
    const policies = oneGpu;
    it.each<[string, LimitOptions, string]>([
      [
        'no concurrency',
        { policies: requests(1), queue: {} },
        'limit "queue" needs a policy whose slots are waited for; add concurrency({ limit })',
      ],
      [
        'more than one slot',
        { policies: concurrency({ limit: 4, by: 'global', cost: 2 }), queue: {} },
        'limit "queue" needs a concurrency whose "cost" is 1, but that of policy "concurrency" is another',
      ],
      [
        'a bare number',
        { policies, queue: { maxWait: 30 as never } },
        'limit "queue" "maxWait" needs a unit, got 30; write \'30s\' or \'30ms\'',
      ],
      [
        'too many',
        { policies, queue: { maxWaiting: 1001 } },
        'limit "queue" "maxWaiting" must be at most 1000, got 1001',
      ],
      [
        'no weight',
        { policies, queue: { weight: 0 } },
        'limit "queue" "weight" must be a number from 0.001 to 1000, got 0',
      ],
      [
        'a partition',
        { policies, queue: { by: 'ip' as never } },
        "limit \"queue\" \"by\" must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key, got 'ip'",
      ],
      [
        'a misspelt name',
        { policies, queue: { maxwait: '1s' } as never },
        'limit "queue" has no option "maxwait". Did you mean "maxWait"? It takes maxWait, maxWaiting, by, weight, headers, onQueue',
      ],
      ['no options', { policies, queue: true as never }, 'limit "queue" takes an object of options'],
      ['a listener', { policies, queue: { onQueue: 1 as never } }, 'limit "queue" "onQueue" must be a function, got 1'],
    ])('%s', (_, options, message) => {
      expect(() => limit(options)).toThrow(`gatewarden: ${message}`);
    });

    it('a store without queues', () => {
      const { queue: _queue, ...rest } = service({ policies }).store as unknown as Record<string, unknown>;
      const store = {
        admit: () => undefined,
        settle: () => undefined,
        renew: () => undefined,
        release: () => undefined,
        peek: () => undefined,
        reset: () => undefined,
        ...rest,
      };
      expect(() => limit({ policies, store: store as unknown as LimitStore, queue: {} })).toThrow(
        'gatewarden: limit "queue" needs a store that has queues',
      );
    });
  });

  it('reports a weight that cannot be as a fault, and lets nothing pass', async () => {
    const { guard } = service({ policies: oneGpu, queue: { weight: () => Number.NaN } });
    const test = testExchange();
    test.exchange.principal = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'first' };
    expect(() => guard(test.exchange)).toThrow('limit "queue" "weight" must be a number');
  });
});
