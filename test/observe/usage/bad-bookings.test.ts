import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JobBooking } from '../../../src/core/ledger.js';
import { UsageAccount } from '../../../src/core/usage-account.js';
import { memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { type RedisLedgerOptions, redisLedger } from '../../../src/observe/usage/redis/redis-ledger.js';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-bookings-'));
  file = join(folder, 'usage.json');
});
afterEach(() => rm(folder, { recursive: true }));

function job(gpuTime: number, more: Partial<JobBooking> = {}): JobBooking {
  return { job: 'a', client: 'ada', gpuTime, isFinal: true, end: 'finished', ...more };
}

describe('a booking that is no booking', () => {
  it.each([
    ['a negative time', job(-1), '"gpuTime" of a booking must be a whole number of milliseconds, 0 or more, got -1'],
    ['no number', job(Number.NaN), '"gpuTime" of a booking must be a whole number of milliseconds, 0 or more, got NaN'],
    ['a part of a millisecond', job(1.5), '"gpuTime" of a booking must be a whole number'],
    ['more than can be counted', job(2 ** 60), '"gpuTime" of a booking must be a whole number'],
    ['a name without an end', job(1, { job: 'x'.repeat(129) }), '"job" of a booking must be 1 to 128 characters'],
    ['no name', job(1, { job: '' }), '"job" of a booking must be 1 to 128 characters'],
  ])('changes nothing: %s', async (_what, booking, message) => {
    const ledger = memoryLedger({ file });
    expect(() => ledger.book([job(5, { job: 'b' }), booking])).toThrow(message);
    ledger.add([{ client: 'ada', requests: 1 }]);
    await ledger.close();
    expect(memoryLedger({ file }).read().rows).toMatchObject([{ gpuTime: 0, requests: 1, jobsFinished: 0 }]);
  });
});

it('a file can be read again, whatever lengths of time workers have named', async () => {
  const ledger = memoryLedger({ file });
  for (const name of ['a', 'b', 'c']) ledger.book([job(Number.MAX_SAFE_INTEGER, { job: name })]);
  await ledger.close();
  expect(memoryLedger({ file }).read().rows).toMatchObject([{ gpuTime: Number.MAX_SAFE_INTEGER, jobsFinished: 3 }]);
});

it('redisLedger rejects it before it is in the way of others', async () => {
  const answers = async () => 1;
  const ledger = redisLedger({ client: { eval: answers, evalsha: answers } as RedisLedgerOptions['client'] });
  await expect(ledger.book([job(Number.NaN)])).rejects.toThrow('"gpuTime" of a booking must be a whole number');
  await ledger.book([job(5)]);
  await ledger.close();
});

it('what cannot be booked for an exchange is a fault, and does not keep the rest from being booked', () => {
  const ledger = memoryLedger();
  const faults: unknown[] = [];
  const account = new UsageAccount(ledger, { principal: undefined, fault: (error) => void faults.push(error) });
  account.book(job(Number.NaN));
  account.book(job(5, { job: 'b' }));
  account.flush();
  expect(faults).toMatchObject([{ message: expect.stringContaining('got NaN') }]);
  expect(ledger.read().rows).toMatchObject([{ client: 'ada', gpuTime: 5 }]);
});
