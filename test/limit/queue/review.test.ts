import { describe, expect, it } from 'vitest';
import type { Exchange } from '../../../src/core/exchange.js';
import { limit } from '../../../src/limit/limit.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { concurrency } from '../../../src/limit/policy.js';
import { FairQueue } from '../../../src/limit/queue/fair-queue.js';
import { JobLengths } from '../../../src/limit/queue/job-lengths.js';
import type { FairTicket } from '../../../src/limit/queue/queue-client.js';
import type { JoinRequest, WaitingQueue } from '../../../src/limit/queue/waiting-queue.js';
import type { Decision, LimitStore } from '../../../src/limit/store.js';
import { testExchange } from '../../exchange-fixture.js';

const COMPLETED = { kind: 'completed', status: 200 } as const;
const oneGpu = concurrency({ limit: 1, by: 'global' });
const turns = () => new Promise((done) => setTimeout(done, 5));

function exchangeOf(client: string): Exchange {
  const { exchange } = testExchange();
  exchange.principal = { id: client, scheme: 'test', scopes: [], credentialId: 'first' };
  exchange.faultReporter = () => undefined;
  return exchange;
}

/** A store with one method replaced. */
function changed(store: LimitStore, name: keyof LimitStore, replace: (original: never) => unknown): LimitStore {
  return new Proxy(store, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property, target);
      const bound = typeof value === 'function' ? value.bind(target) : value;
      return property === name ? replace(bound as never) : bound;
    },
  });
}

function request(client: string): JoinRequest {
  return { key: 'global', client, weight: 1, maxWait: 60_000, estimate: undefined, onPlace: undefined };
}

function turnOf(queue: WaitingQueue, client: string) {
  const joined = queue.join(request(client));
  if (joined instanceof Promise || joined.kind !== 'turn') throw new Error('it should have its turn');
  return joined.ticket;
}

describe('no slot is lost', () => {
  it('when a header of the place cannot be set', async () => {
    const store = memoryStore();
    const guard = limit({ store, by: 'principal', policies: oneGpu, queue: { headers: true } });
    const running = exchangeOf('alice');
    expect(await guard(running)).toBeUndefined();
    const broken = exchangeOf('bob');
    broken.set = () => {
      throw new TypeError('no header can be set');
    };
    await expect(Promise.resolve().then(() => guard(broken))).resolves.toMatchObject({ problem: expect.anything() });
    broken.end({ kind: 'completed', status: 500 });
    const next = exchangeOf('carol');
    let hasPassed = false;
    void Promise.resolve(guard(next)).then((reply) => {
      hasPassed = reply === undefined;
    });
    running.end(COMPLETED);
    await turns();
    expect(hasPassed).toBe(true);
  });

  it.each(['now', 'later'])('when the store decides nothing, %s', async (when) => {
    let isBroken = true;
    const store = changed(
      memoryStore(),
      'admit',
      (admit: LimitStore['admit']) =>
        (...args: Parameters<typeof admit>) => {
          const decision = isBroken ? (undefined as unknown as Decision) : admit(...args);
          return when === 'now' ? decision : Promise.resolve(decision);
        },
    );
    const guard = limit({ store, by: 'principal', policies: oneGpu, queue: {} });
    const broken = exchangeOf('alice');
    await Promise.resolve()
      .then(() => guard(broken))
      .catch(() => undefined);
    broken.end({ kind: 'completed', status: 500 });
    isBroken = false;
    let hasPassed = false;
    void Promise.resolve(guard(exchangeOf('bob'))).then((reply) => {
      hasPassed = reply === undefined;
    });
    await turns();
    expect(hasPassed).toBe(true);
  });

  it.each([
    ['without a queue', undefined],
    ['with a queue', {}],
  ])('when an admission cannot be reported in headers, %s', async (_, queue) => {
    const store = memoryStore();
    const guard = limit({ store, by: 'principal', policies: oneGpu, queue });
    const broken = exchangeOf('alice');
    broken.append = () => {
      throw new TypeError('no header can be set');
    };
    await Promise.resolve()
      .then(() => guard(broken))
      .catch(() => undefined);
    broken.end({ kind: 'completed', status: 500 });
    await turns();
    expect(await store.peek([{ ...oneGpu, id: `global/${oneGpu.id}` }], ['global'])).toMatchObject([{ remaining: 1 }]);
  });

  it('when the clock of the service fails between two readings', async () => {
    let readings = Number.POSITIVE_INFINITY;
    const store = memoryStore({ now: () => (readings-- > 0 ? 1_750_000_000_000 : Number.NaN) });
    const policy = concurrency({ limit: 2, by: 'global' });
    const queue = store.queue({ policy, maxWaiting: 10 });
    const running = [turnOf(queue, 'alice'), turnOf(queue, 'alice')];
    for (const ticket of running) ticket.started();
    const waiting = [queue.join(request('bob')), queue.join(request('carol'))] as const;
    expect(waiting.map((joined) => !(joined instanceof Promise) && joined.kind)).toEqual(['waiting', 'waiting']);
    readings = 1;
    // The slot is free, whether or not the clock works.
    expect(() => running[0]?.ended()).not.toThrow();
    readings = Number.POSITIVE_INFINITY;
    running[1]?.ended();
    for (const joined of waiting) {
      if (joined instanceof Promise || joined.kind !== 'waiting') throw new Error('it should wait');
      expect(await joined.ticket.turn()).toEqual({ kind: 'turn' });
      joined.ticket.leave();
    }
    readings = 1;
    expect(() => queue.join(request('dave'))).toThrow('must return epoch milliseconds');
    readings = Number.POSITIVE_INFINITY;
    const all = [turnOf(queue, 'erin'), turnOf(queue, 'erin')];
    for (const ticket of all) ticket.leave();
  });
});

describe('a client whose turns are in vain', () => {
  const arrival = (client: string) => ({ client, weight: 1, maxWait: 60_000, estimate: undefined });

  it('is passed over for longer each time, up to 4 s, and from the beginning once one of its jobs has ended', () => {
    const queue = new FairQueue(2, 10);
    let now = 0;
    const running = queue.join(arrival('alice'), now).ticket as FairTicket;
    queue.next(now);
    queue.start(running, now);
    queue.join(arrival('alice'), now);
    const pauses = (count: number) =>
      Array.from({ length: count }, () => {
        queue.setAside(queue.next(now) as FairTicket, now);
        const since = now;
        now = queue.nextDeadline(now);
        return now - since;
      });
    expect(pauses(7)).toEqual([250, 500, 1000, 2000, 4000, 4000, 4000]);
    queue.end(running, now);
    expect(pauses(2)).toEqual([250, 500]);
  });
});

describe('the expected wait', () => {
  it('of others hardly depends on one job that is a thousand times as long as the others', () => {
    const lengths = new JobLengths();
    for (let i = 0; i < 100; i++) lengths.learn(`client-${i % 5}`, undefined, 2000);
    lengths.learn('slow', undefined, 2_000_000);
    expect(lengths.expected('newcomer', undefined)).toBeLessThan(2 * 2000);
    expect(lengths.expected('client-1', undefined)).toBeLessThan(1.2 * 2000);
    // Its own jobs are expected to be long.
    expect(lengths.expected('slow', undefined)).toBeGreaterThan(600_000);
  });

  it('follows jobs that have all become longer', () => {
    const lengths = new JobLengths();
    for (let i = 0; i < 100; i++) lengths.learn(`client-${i % 5}`, undefined, 2000);
    for (let i = 0; i < 100; i++) lengths.learn(`client-${i % 5}`, undefined, 60_000);
    expect(lengths.expected('newcomer', undefined)).toBeGreaterThan(50_000);
  });
});
