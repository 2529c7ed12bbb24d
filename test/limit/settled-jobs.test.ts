import { describe, expect, it } from 'vitest';
import type { JobBooking, Ledger } from '../../src/core/ledger.js';
import { UsageAccount } from '../../src/core/usage-account.js';
import { gpuTime, type LimitStore, limit, memoryStore } from '../../src/index.js';
import type { SettledJobs } from '../../src/limit/store.js';
import { testExchange } from '../exchange-fixture.js';

const GPU = gpuTime({ limit: '10m', window: '1h', estimate: '1s', by: () => 'k' });

/** A ledger in whose place `here` the store books together with a settlement. `settle` is what that store does. */
function scene(settle: (jobs: SettledJobs | undefined) => void | Promise<void>) {
  const memory = memoryStore();
  const booked: JobBooking[] = [];
  const ledger: Ledger = {
    add: () => undefined,
    book: (bookings) => void booked.push(...bookings),
    read: () => ({ rows: [], total: 0 }),
    today: () => '2026-11-22',
    close: () => undefined,
  };
  const store: LimitStore = {
    admit: memory.admit.bind(memory),
    renew: memory.renew.bind(memory),
    release: memory.release.bind(memory),
    peek: memory.peek.bind(memory),
    reset: memory.reset.bind(memory),
    bookingPlace: (_receipt, asked) => (asked === ledger ? 'here' : undefined),
    settle: (_receipt, _units, jobs) => settle(jobs),
  };
  const { exchange, faults } = testExchange();
  exchange.usageAccount = new UsageAccount(ledger, exchange);
  return { guard: limit({ policies: GPU, store }), exchange, faults, booked };
}

describe('what a settlement takes along to be booked', () => {
  it('is booked by the store, and not by the ledger as well', async () => {
    const taken: (readonly JobBooking[])[] = [];
    const { guard, exchange, booked } = scene((jobs) => void taken.push(jobs?.bookings ?? []));
    await guard(exchange);
    await exchange.admission?.settle({ 'gpu-time': 700 });
    expect(taken).toMatchObject([[{ client: 'anonymous', gpuTime: 700, isFinal: true, place: 'here' }]]);
    expect(booked).toEqual([]);
  });

  it.each<[string, (jobs: SettledJobs | undefined) => void | Promise<void>]>([
    ['throws', () => fail()],
    ['rejects', async () => fail()],
    [
      'refuses it and then rejects',
      async (jobs) => {
        jobs?.refuse();
        fail();
      },
    ],
    ['refuses it', (jobs) => jobs?.refuse()],
  ])('is booked by the ledger if the store %s', async (how, settle) => {
    const { guard, exchange, booked } = scene(settle);
    await guard(exchange);
    const settled = (async () => exchange.admission?.settle({ 'gpu-time': 700 }))();
    if (how === 'refuses it') await settled;
    else await expect(settled).rejects.toThrow('no settling today');
    expect(new Set(booked.map(({ job }) => job)).size).toBe(1);
    expect(booked[0]).toMatchObject({ client: 'anonymous', gpuTime: 700 });
  });
});

function fail(): never {
  throw new Error('no settling today');
}
