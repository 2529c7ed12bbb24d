import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { Cluster, Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { JobBooking } from '../../../src/core/ledger.js';
import { concurrency, gpuTime, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent } from '../../../src/limit/redis/redis-store-options.js';
import type { Receipt } from '../../../src/limit/store.js';
import { redisLedger } from '../../../src/observe/usage/redis/redis-ledger.js';
import { describeRedis } from '../../redis/describe.js';
import { LossyProxy } from '../../redis/lossy-proxy.js';
import { startRedis } from '../../redis/server.js';
import { useCluster, useRedis } from '../../redis/suite.js';
import { receiptOf } from './outage-scene.js';

const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 500) / 25);

const slots = concurrency({ limit: 50, lease: '20s' });
const gpu = gpuTime({ limit: '1h', window: '1h', estimate: '1s', lease: '20s' });
const requests = slidingWindow({ limit: 1000, window: '1h' });
const policies: readonly QuotaPolicy[] = [requests, slots, gpu];

function booking(job: string, gpuTime: number, more: Partial<JobBooking> = {}): JobBooking {
  return { job, client: 'ada', gpuTime, isFinal: true, end: 'finished', place: '', ...more };
}

describeRedis('redisStore and redisLedger of one client', () => {
  const server = useRedis();

  function open(client: Redis | Cluster, prefix: string) {
    const events: RedisStoreEvent[] = [];
    const store = redisStore({ client, prefix: `${prefix}:`, timeout: '5s', onEvent: (event) => events.push(event) });
    const ledger = redisLedger({ client, prefix: `${prefix}-usage:` });
    const refused: string[] = [];
    /** Settles an admission, and books jobs with it. */
    const settle = (receipt: Receipt, used: number, bookings: readonly JobBooking[]) =>
      store.settle(receipt, [undefined, 0, used], {
        ledger,
        bookings,
        refuse() {
          refused.push(...bookings.map(({ job }) => job));
          void ledger.book(bookings);
        },
      });
    const admit = (key: string | readonly string[]) =>
      receiptOf(store.admit(policies, typeof key === 'string' ? policies.map(() => key) : key, [1, 1, 1000]));
    return { store, ledger, settle, admit, events, refused };
  }

  it('settle and book in one call', async () => {
    const client = server.client();
    const { store, ledger, settle, admit, refused } = open(client, 'one-call');
    const [first, second] = [await admit('key'), await admit('key')];
    expect(store.bookingPlace?.(first, ledger)).toBe('');
    await server.cli('CONFIG', 'RESETSTAT');
    await settle(first, 700, [booking('a', 700)]);
    const stats = await server.cli('INFO', 'commandstats');
    expect(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1]).toBe('1');
    expect(/cmdstat_set:calls=(\d+)/.exec(stats)?.[1]).toBe('3'); // the counters, the job, and the call's own mark
    expect((await ledger.read()).rows).toMatchObject([{ client: 'ada', gpuTime: 700, jobsFinished: 1 }]);
    expect(await store.peek(policies, ['key', 'key', 'key'])).toMatchObject([
      { remaining: 998 },
      { remaining: 49 },
      { remaining: 3_600_000 - 700 - 1000 },
    ]);
    await settle(second, 50, [
      booking('b', 50, { end: 'aborted', client: 'ü😀' }),
      booking('c', 5, { isFinal: false }),
    ]);
    expect((await ledger.read({ sort: 'client' })).rows).toMatchObject([
      { client: 'ada', gpuTime: 705, jobsFinished: 2 },
      { client: 'ü😀', gpuTime: 50, jobsAborted: 1 },
    ]);
    expect(refused).toEqual([]);
    store.close();
  });

  it('book by themselves what no settlement can take along', async () => {
    const { store, ledger, settle, admit, refused } = open(server.client(), 'refused');
    const receipt = await admit('key');
    await settle(receipt, 10, [booking('a', 10)]);
    // It was settled before, so that there is nothing to correct.
    await settle(receipt, 20, [booking('b', 20)]);
    expect(refused).toEqual(['b']);
    expect((await ledger.read()).rows).toMatchObject([{ gpuTime: 30, jobsFinished: 2 }]);
    store.close();
  });

  it('name no place if the ledger is somewhere else', async () => {
    const { store, admit } = open(server.client(), 'elsewhere');
    const receipt = await admit('key');
    expect(store.bookingPlace?.(receipt, redisLedger({ client: server.client() }))).toBeUndefined();
    const { ledger } = open(server.client(), 'other');
    expect(store.bookingPlace?.(receipt, ledger)).toBeUndefined();
    store.close();
  });

  it('settle also if the ledger has a foreign value under its key, and report that', async () => {
    const client = server.client();
    const { store, settle, admit, events } = open(client, 'foreign');
    const receipt = await admit('key');
    await client.set('foreign-usage:all', 'x');
    await settle(receipt, 10, [booking('a', 10)]);
    expect(await store.peek([slots], ['key'])).toMatchObject([{ remaining: 50 }]);
    expect(events).toMatchObject([{ kind: 'correction-lost', count: 1 }]);
    store.close();
  });
});

describeRedis('bookings of a settlement that is given up during an outage', () => {
  it('are booked by themselves, once Redis is back', async () => {
    const server = await startRedis();
    const client = server.client({ maxRetriesPerRequest: 0, retryStrategy: () => 20 });
    const store = redisStore({ client, prefix: 'given-up:', timeout: '200ms', onEvent: () => undefined });
    const ledger = redisLedger({ client, prefix: 'given-up-usage:', interval: '50ms' });
    const bookings = [booking('a', 700)];
    const receipt = await receiptOf(store.admit(policies, ['key', 'key', 'key'], [1, 1, 1000]));
    await server.kill();
    let booked: Promise<void> | undefined;
    const refuse = () => {
      booked = ledger.book(bookings);
    };
    await store.settle(receipt, [undefined, 0, 700], { ledger, bookings, refuse });
    store.close();
    await expect.poll(() => booked !== undefined).toBe(true);
    await server.restart();
    await booked;
    expect((await ledger.read()).rows).toMatchObject([{ client: 'ada', gpuTime: 700, jobsFinished: 1 }]);
    client.disconnect();
    await server.stop();
  });
});

describeRedis('redisStore and redisLedger of one Cluster', () => {
  const cluster = useCluster();

  it('book in the slot of the counters, and a report adds up all slots', async () => {
    const client = cluster.client();
    const store = redisStore({ client, prefix: 'slots:', timeout: '5s' });
    const ledger = redisLedger({ client, prefix: 'slots-usage:' });
    const refused: string[] = [];
    for (let i = 0; i < 12; i++) {
      const receipt = await receiptOf(store.admit(policies, [`a-${i}`, 'global', `b-${i}`], [1, 1, 1000]));
      const place = store.bookingPlace?.(receipt, ledger);
      expect(place).toMatch(/^[a-z0-9]+$/);
      const bookings = [booking(`job-${i}`, 10 + i, { place })];
      await store.settle(receipt, [undefined, 0, 10 + i], { ledger, bookings, refuse: () => refused.push(`job-${i}`) });
      // Another gateway, which reads the worker's list, books in the same place.
      await redisLedger({ client, prefix: 'slots-usage:' }).book(bookings);
    }
    expect(refused).toEqual([]);
    const other = redisLedger({ client, prefix: 'slots-usage:' });
    expect((await other.read()).rows).toMatchObject([{ client: 'ada', gpuTime: 186, jobsFinished: 12 }]);
    expect((await other.read({ day: other.today() })).rows).toMatchObject([{ gpuTime: 186 }]);
    store.close();
  }, 30_000);
});

interface Job {
  readonly word: number;
  readonly measured: number;
}
type Step =
  | { readonly kind: 'settle'; readonly job: number; readonly isWord: boolean; readonly isLost: boolean }
  | {
      readonly kind: 'book';
      readonly job: number;
      readonly isWord: boolean;
      readonly by: 0 | 1;
      readonly isLost: boolean;
    }
  | { readonly kind: 'list'; readonly upTo: number; readonly by: 0 | 1; readonly isLost: boolean };

describeRedis('whatever is settled, repeated, listed and lost', () => {
  const server = useRedis();
  let proxy: LossyProxy;
  let client: Redis;
  beforeEach(async () => {
    proxy = await LossyProxy.start(server);
    client = await proxy.client({ retryStrategy: () => 5 });
  });
  afterEach(() => proxy.stop());

  it('each job is booked once, with the word of its worker', async () => {
    const jobs = fc.array(fc.record({ word: fc.nat(5000), measured: fc.nat(5000) }), { minLength: 1, maxLength: 5 });
    const place = { job: fc.nat(4), isLost: fc.boolean() };
    const by = fc.constantFrom(0 as const, 1 as const);
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ kind: fc.constant('settle' as const), ...place, isWord: fc.boolean() }),
      fc.record({ kind: fc.constant('book' as const), ...place, isWord: fc.boolean(), by }),
      fc.record({ kind: fc.constant('list' as const), upTo: fc.nat(5), by, isLost: fc.boolean() }),
    );
    let lost = 0;
    const property = fc.asyncProperty(jobs, fc.array(step, { maxLength: 12 }), async (all: readonly Job[], steps) => {
      const prefix = randomUUID();
      const direct = server.client();
      const store = redisStore({ client, prefix: `${prefix}:`, timeout: '5s' });
      const ledgers = [redisLedger({ client, prefix }), redisLedger({ client: direct, prefix })] as const;
      const receipts: Receipt[] = [];
      for (const _ of all) receipts.push(await receiptOf(store.admit(policies, ['k', 'k', 'k'], [1, 1, 1000])));
      const of = (i: number, isWord: boolean): JobBooking => {
        const { word, measured } = all[i] as Job;
        return booking(`${prefix} ${i}`, isWord ? word : measured, { isFinal: isWord });
      };
      const known = (i: number) => i % all.length;
      for (const one of steps) {
        proxy.dropNext = one.isLost && !('by' in one && one.by === 1);
        if (one.kind === 'settle') {
          const i = known(one.job);
          const bookings = [of(i, one.isWord)];
          let refusal: Promise<void> | undefined;
          await store.settle(receipts[i] as Receipt, [undefined, 0, 1], {
            ledger: ledgers[0],
            bookings,
            refuse() {
              refusal = ledgers[0].book(bookings);
            },
          });
          await refusal;
        } else if (one.kind === 'book') await ledgers[one.by].book([of(known(one.job), one.isWord)]);
        else {
          const listed = all.slice(0, one.upTo).map((_, i) => of(i, true));
          if (listed.length > 0) await ledgers[one.by].book(listed);
        }
        if (proxy.dropNext) proxy.dropNext = false;
        else if (one.isLost) lost++;
      }
      // In the end a gateway reads all of the worker's list.
      await ledgers[1].book(all.map((_, i) => of(i, true)));
      const [row] = (await ledgers[0].read()).rows;
      const [today] = (await ledgers[1].read({ day: ledgers[1].today() })).rows;
      const sum = all.reduce((total, { word }) => total + word, 0);
      for (const found of [row, today]) {
        expect(found).toMatchObject({ gpuTime: sum, jobsFinished: all.length, jobsAborted: 0 });
      }
      store.close();
      direct.disconnect();
    });
    await fc.assert(property, { numRuns: RUNS });
    expect(lost).toBeGreaterThan(0);
  }, 120_000);
});
