import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { QueuePlace } from '../../src/core/queue-place.js';
import { type Concurrency, concurrency } from '../../src/limit/policy.js';
import type { Joined, JoinRequest, QueueSettings, Ticket, WaitingQueue } from '../../src/limit/queue/waiting-queue.js';

/** The clock of a store, in epoch milliseconds. Tests move it. */
export interface QueueClock {
  now: number;
}

/** A queue of a store of its own, which nothing else uses. */
export interface OpenedQueue {
  readonly queue: WaitingQueue;
  /** Closes the store. */
  close(): Promise<void>;
}

export interface QueueUnderTest {
  readonly name: string;
  open(settings: QueueSettings, clock: QueueClock): OpenedQueue | Promise<OpenedQueue>;
}

const SECOND = 1000;
const KEY = 'global';

function slots(limit: number): Concurrency {
  const policy = concurrency({ limit, by: 'global' });
  return { ...policy, id: `global/${policy.id}` };
}

/** What every queue of a store promises, whatever store it is. */
export function queueContract({ name, open }: QueueUnderTest): void {
  describe(`the queue of ${name}`, () => {
    let clock: QueueClock;
    let opened: OpenedQueue[];

    beforeEach(() => {
      clock = { now: Date.UTC(2025, 5, 15, 12) };
      opened = [];
    });

    afterEach(async () => {
      for (const one of opened) await one.close();
    });

    async function queueOf(limit = 1, maxWaiting = 100) {
      const one = await open({ policy: slots(limit), maxWaiting }, clock);
      opened.push(one);
      const join = async (client: string, request: Partial<JoinRequest> = {}): Promise<Joined> =>
        one.queue.join({
          key: KEY,
          client,
          weight: 1,
          maxWait: 3600 * SECOND,
          estimate: undefined,
          onPlace: undefined,
          ...request,
        });
      /** Joins, and must wait. */
      const wait = async (client: string, request: Partial<JoinRequest> = {}): Promise<Waiter> => {
        const joined = await join(client, request);
        if (joined.kind !== 'waiting') throw new Error(`${client} should wait, but the queue answered ${joined.kind}`);
        return new Waiter(client, joined.ticket, joined.place);
      };
      /** Joins, and must have its turn. */
      const start = async (client: string, request: Partial<JoinRequest> = {}): Promise<Ticket> => {
        const joined = await join(client, request);
        if (joined.kind !== 'turn') throw new Error(`${client} should have its turn, but got ${joined.kind}`);
        joined.ticket.started();
        return joined.ticket;
      };
      return { join, wait, start };
    }

    it('gives a turn at once while slots are free, and lets the rest wait', async () => {
      const { start, wait } = await queueOf(2);
      await start('alice');
      await start('alice');
      expect((await wait('bob')).place.position).toBe(1);
      expect((await wait('carol')).place.position).toBe(2);
    });

    it('passes on a slot that is given back', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const waiting = await wait('bob');
      clock.now += SECOND;
      running.ended();
      expect(await waiting.turn()).toEqual({ kind: 'turn' });
    });

    it('serves the client next that was served least, and first in first out within one', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const flood = [await wait('alice'), await wait('alice')];
      const light = [await wait('bob'), await wait('bob')];
      const served: Waiter[] = [];
      const waiting = [...flood, ...light];
      let holder = running;
      for (let i = 0; i < 4; i++) {
        clock.now += i === 1 ? 3 * SECOND : SECOND;
        holder.ended();
        const next = await nextOf(waiting);
        waiting.splice(waiting.indexOf(next), 1);
        next.ticket.started();
        holder = next.ticket;
        served.push(next);
      }
      // Alice was served 1 s, bob then 3 s, and alice has both of hers before bob's second is due.
      expect(served.map(({ client }) => client)).toEqual(['bob', 'alice', 'alice', 'bob']);
      expect([served[1], served[2]]).toEqual(flood);
    });

    it('serves by weight', async () => {
      const { start, wait } = await queueOf();
      let holder = await start('carol');
      const waiting: Waiter[] = [];
      for (let i = 0; i < 4; i++) {
        waiting.push(await wait('alice', { weight: 3 }), await wait('bob'));
      }
      const served: string[] = [];
      for (let i = 0; i < 4; i++) {
        clock.now += SECOND;
        holder.ended();
        const next = await nextOf(waiting);
        waiting.splice(waiting.indexOf(next), 1);
        next.ticket.started();
        holder = next.ticket;
        served.push(next.client);
      }
      expect(served.toSorted()).toEqual(['alice', 'alice', 'alice', 'bob']);
    });

    it('gives the turn of one that leaves to the next', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const [gone, next] = [await wait('bob'), await wait('carol')];
      gone.ticket.leave();
      clock.now += SECOND;
      running.ended();
      expect(await next.turn()).toEqual({ kind: 'turn' });
    });

    it('gives the turn of one that leaves in its turn to the next', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const [first, next] = [await wait('bob'), await wait('carol')];
      running.ended();
      expect(await first.turn()).toEqual({ kind: 'turn' });
      first.ticket.leave();
      expect(await next.turn()).toEqual({ kind: 'turn' });
    });

    it('lets others pass one that is set aside, which keeps its place', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const [held, next] = [await wait('bob'), await wait('carol')];
      running.ended();
      expect(await held.turn()).toEqual({ kind: 'turn' });
      held.setAside();
      expect(await next.turn()).toEqual({ kind: 'turn' });
      next.ticket.started();
      const last = await wait('dave');
      clock.now += SECOND;
      next.ticket.ended();
      expect(await held.turn()).toEqual({ kind: 'turn' });
      held.ticket.started();
      held.ticket.ended();
      expect(await last.turn()).toEqual({ kind: 'turn' });
    });

    it('ignores what is called twice', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const waiting = [await wait('bob'), await wait('carol')] as const;
      running.started();
      running.ended();
      running.ended();
      running.leave();
      expect(await waiting[0].turn()).toEqual({ kind: 'turn' });
      waiting[0].ticket.started();
      waiting[0].ticket.leave();
      const settled = await Promise.race([waiting[1].turn(), pause(300)]);
      expect(settled).toBeUndefined();
      waiting[0].ticket.ended();
      expect(await waiting[1].turn()).toEqual({ kind: 'turn' });
    });

    it('refuses one that waited too long, and serves the next', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const [late, next] = [await wait('bob', { maxWait: 2 * SECOND }), await wait('carol')];
      clock.now += 2 * SECOND;
      const result = await late.turn();
      expect(result.kind).toBe('timeout');
      running.ended();
      expect(await next.turn()).toEqual({ kind: 'turn' });
    });

    it('pushes the last ticket of the client with most waiting out of a full queue', async () => {
      const { start, wait, join } = await queueOf(1, 3);
      await start('alice');
      const flood = [await wait('alice'), await wait('alice'), await wait('alice')] as const;
      expect((await join('alice')).kind).toBe('full');
      await wait('bob');
      expect((await flood[2].turn()).kind).toBe('pushed-out');
      await wait('carol');
      expect((await flood[1].turn()).kind).toBe('pushed-out');
      // Each client has one.
      expect((await join('dave')).kind).toBe('full');
    });

    it('knows nothing of the wait before the first job has ended, and expects what jobs took then', async () => {
      const { start, wait } = await queueOf();
      const first = await start('alice');
      const unknown = await wait('alice');
      expect(unknown.place).toEqual({ position: 1, expectedWait: undefined });
      clock.now += 10 * SECOND;
      first.ended();
      await unknown.turn();
      unknown.ticket.started();
      expect((await wait('alice')).place).toEqual({ position: 1, expectedWait: 10 * SECOND });
      clock.now += 4 * SECOND;
      expect((await wait('alice')).place).toEqual({ position: 2, expectedWait: 16 * SECOND });
      // It is served before the rest of the other's.
      expect((await wait('bob')).place).toEqual({ position: 1, expectedWait: 6 * SECOND });
    });

    it('expects what the service estimates, corrected by what jobs took', async () => {
      const { start, wait } = await queueOf();
      const first = await start('alice', { estimate: SECOND });
      clock.now += 2 * SECOND;
      first.ended();
      await start('alice', { estimate: 3 * SECOND });
      expect((await wait('alice', { estimate: SECOND })).place.expectedWait).toBe(6 * SECOND);
      expect((await wait('alice', { estimate: SECOND })).place.expectedWait).toBe(8 * SECOND);
    });

    it('refuses on arrival what could not be served in time', async () => {
      const { start, join } = await queueOf();
      const first = await start('alice');
      clock.now += 10 * SECOND;
      first.ended();
      await start('alice');
      expect(await join('bob', { maxWait: 9 * SECOND })).toEqual({ kind: 'full', expectedWait: 10 * SECOND });
      expect((await join('bob', { maxWait: 10 * SECOND })).kind).toBe('waiting');
    });

    it('tells those that want to know when their place changes', async () => {
      const { start, wait } = await queueOf();
      const running = await start('alice');
      const positions: number[] = [];
      const [next] = [await wait('bob'), await wait('carol', { onPlace: ({ position }) => positions.push(position) })];
      clock.now += SECOND;
      running.ended();
      await next.turn();
      next.ticket.started();
      await expect.poll(() => positions, { timeout: 5000 }).toEqual([1]);
    });

    it('keeps the queues of different keys apart', async () => {
      const { start, wait } = await queueOf();
      await start('alice');
      await start('alice', { key: 'other' });
      expect((await wait('bob', { key: 'other' })).place.position).toBe(1);
    });
  });
}

/** A ticket that waits, and the one promise of its turn. */
class Waiter {
  #turn: ReturnType<Ticket['turn']> | undefined;

  constructor(
    readonly client: string,
    readonly ticket: Ticket,
    readonly place: QueuePlace,
  ) {}

  turn(): ReturnType<Ticket['turn']> {
    this.#turn ??= this.ticket.turn();
    return this.#turn;
  }

  setAside(): void {
    this.#turn = undefined;
    this.ticket.setAside();
  }
}

/** The first that has its turn. */
async function nextOf(waiting: readonly Waiter[]): Promise<Waiter> {
  return Promise.race(
    waiting.map(async (waiter) => {
      const result = await waiter.turn();
      if (result.kind !== 'turn') throw new Error(`${waiter.client} got ${result.kind}`);
      return waiter;
    }),
  );
}

async function pause(milliseconds: number): Promise<undefined> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return undefined;
}
