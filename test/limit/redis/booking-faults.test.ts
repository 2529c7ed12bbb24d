import { expect, it } from 'vitest';
import type { JobBooking } from '../../../src/core/ledger.js';
import { concurrency, gpuTime, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { PartsReceipt } from '../../../src/limit/redis/receipt.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent } from '../../../src/limit/redis/redis-store-options.js';
import { redisLedger } from '../../../src/observe/usage/redis/redis-ledger.js';
import { describeRedis } from '../../redis/describe.js';
import { useCluster, useRedis } from '../../redis/suite.js';
import { receiptOf } from './outage-scene.js';

const slots = concurrency({ limit: 50, lease: '20s' });
const gpu = gpuTime({ limit: '1h', window: '1h', estimate: '1s', lease: '20s' });
const policies: readonly QuotaPolicy[] = [slots, gpu];

function booking(job: string, gpuTime: number): JobBooking {
  return { job, client: 'ada', gpuTime, isFinal: true, end: 'finished', place: '' };
}

describeRedis('a settlement with jobs that cannot be booked in the same call', () => {
  const server = useRedis();

  function open(prefix: string) {
    const client = server.client();
    const events: RedisStoreEvent[] = [];
    const store = redisStore({ client, prefix: `${prefix}:`, timeout: '5s', onEvent: (event) => events.push(event) });
    const ledger = redisLedger({ client, prefix: `${prefix}-usage:`, interval: '20ms' });
    const booked: Promise<void>[] = [];
    /** Holds a slot and GPU time, and settles them with these jobs. */
    const settle = async (bookings: readonly JobBooking[]) => {
      const receipt = await receiptOf(store.admit(policies, ['key', 'key'], [1, 1000]));
      const refuse = () => booked.push(ledger.book(bookings));
      await store.settle(receipt, [0, 10], { ledger, bookings, refuse });
    };
    return { client, store, ledger, events, booked, settle };
  }

  it.each([
    ['all days', () => 'all'],
    ['today', (today: string) => `day:${today}`],
  ])('ends its holds, and books the jobs once the foreign value under the key of %s is gone', async (_, nameOf) => {
    const name = nameOf(redisLedger({ client: server.client() }).today());
    const prefix = `foreign-${name}`;
    const { client, store, ledger, events, booked, settle } = open(prefix);
    const key = `${prefix}-usage:${name}`;
    await client.set(key, 'x');
    await settle([booking('a', 700), booking('b', 50)]);
    expect(await store.peek(policies, ['key', 'key'])).toMatchObject([
      { remaining: 50 },
      { remaining: 3_600_000 - 10 },
    ]);
    expect(events).toMatchObject([
      { kind: 'correction-lost', count: 1, error: { message: expect.stringContaining(`${prefix}-usage:all`) } },
    ]);
    await client.del(key);
    await Promise.all(booked);
    for (const day of [undefined, ledger.today()]) {
      expect((await ledger.read({ day })).rows).toMatchObject([{ client: 'ada', gpuTime: 750, jobsFinished: 2 }]);
    }
    store.close();
  });

  it('keeps a day on which only jobs were booked for as long as every day', async () => {
    const { client, store, ledger, settle } = open('kept');
    await settle([booking('a', 700)]);
    const days = (await client.pttl(`kept-usage:day:${ledger.today()}`)) / 86_400_000;
    // 400 days by default, and the day itself.
    expect(days).toBeGreaterThan(400);
    expect(days).toBeLessThanOrEqual(401);
    store.close();
  });

  it.each([255, 256, 300])('books %d jobs, each once', async (count) => {
    const { store, ledger, events, booked, settle } = open(`many-${count}`);
    await settle(Array.from({ length: count }, (_, i) => booking(`job ${i}`, 2)));
    await Promise.all(booked);
    expect((await ledger.read()).rows).toMatchObject([{ gpuTime: 2 * count, jobsFinished: count }]);
    expect(await store.peek(policies, ['key', 'key'])).toMatchObject([
      { remaining: 50 },
      { remaining: 3_600_000 - 10 },
    ]);
    expect(events).toEqual([]);
    store.close();
  });
});

describeRedis('a settlement in several parts', () => {
  const server = useRedis();

  it('takes jobs along once, if a part was decided from units that were taken ahead', async () => {
    const client = server.client();
    const store = redisStore({ client, prefix: 'parts:', timeout: '5s', ahead: { share: 0.1, maxAge: '10s' } });
    const ledger = redisLedger({ client, prefix: 'parts-usage:' });
    const window = slidingWindow({ limit: 10_000, window: '10m' });
    for (let i = 0; i < 60; i++) await store.admit([window], ['key'], [1]);
    const refused: string[] = [];
    let inParts = 0;
    for (let i = 0; i < 5; i++) {
      const receipt = await receiptOf(store.admit([window, ...policies], ['key', 'key', 'key'], [1, 1, 1000]));
      if (receipt instanceof PartsReceipt) inParts++;
      const bookings = [booking(`job ${i}`, 100)];
      expect(store.bookingPlace?.(receipt, ledger)).toBe('');
      await store.settle(receipt, [0, 0, 100], { ledger, bookings, refuse: () => refused.push(`job ${i}`) });
    }
    expect(inParts).toBe(5);
    expect(refused).toEqual([]);
    expect((await ledger.read()).rows).toMatchObject([{ gpuTime: 500, jobsFinished: 5 }]);
    store.close();
  });
});

describeRedis('a settlement of counters in several slots of a Cluster', () => {
  const cluster = useCluster();

  it('takes jobs along to the slot of what is held, also if another is corrected before', async () => {
    const client = cluster.client();
    const events: RedisStoreEvent[] = [];
    const store = redisStore({ client, prefix: 'gw:', timeout: '5s', onEvent: (event) => events.push(event) });
    const ledger = redisLedger({ client });
    const refused: number[] = [];
    for (let i = 0; i < 10; i++) {
      const keys = [`window-${i}`, `held-${i}`, `held-${i}`];
      const window = slidingWindow({ limit: 10, window: '1h' });
      const receipt = await receiptOf(store.admit([window, ...policies], keys, [1, 1, 1000]));
      const bookings = [{ ...booking(`job ${i}`, 10), place: store.bookingPlace?.(receipt, ledger) }];
      await store.settle(receipt, [0, 0, 10], { ledger, bookings, refuse: () => refused.push(i) });
      expect(await store.peek([window, slots], keys.slice(0, 2))).toMatchObject([{ remaining: 10 }, { remaining: 50 }]);
    }
    expect(refused).toEqual([]);
    expect(events).toEqual([]);
    expect((await ledger.read()).rows).toMatchObject([{ gpuTime: 100, jobsFinished: 10 }]);
    store.close();
  });
});
