import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { sequence } from '../../src/core/sequence.js';
import { memoryLedger } from '../../src/observe/usage/memory-ledger.js';
import { meterUsage } from '../../src/observe/usage/meter-usage.js';
import { accountText, bookedName } from '../../src/worker/account-text.js';
import { endedJobs } from '../../src/worker/contract.js';
import { EndedJobs } from '../../src/worker/ended-jobs.js';
import { worker } from '../../src/worker/worker.js';
import type { WorkerEvent } from '../../src/worker/worker-event.js';
import type { WorkerLink } from '../../src/worker/worker-link.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { listening, sleepingWorker } from './scene.js';

const account = accountText({ client: 'ada', place: undefined });
const ended = (number: number, more: object = {}) => ({
  number,
  id: 'a',
  slot: 0,
  token: number,
  account,
  gpu_ms: 5,
  end: 'done',
  age_ms: 10,
  ...more,
});

/** A server that answers every request with what `list` returns for the number after which it is asked. */
async function lister(list: (after: number) => object): Promise<{ readonly url: string; asked(): number }> {
  let asked = 0;
  const url = await listening(
    createServer((req, res) => {
      asked++;
      const after = Number(new URL(req.url ?? '', 'http://worker').searchParams.get('after'));
      res.setHeader('X-Worker-Instance', 'one').end(JSON.stringify(list(after)));
    }),
  );
  return { url, asked: () => asked };
}

describe('a list of ended jobs', () => {
  it.each([
    ['a negative time', { gpu_ms: -1 }],
    ['a part of a millisecond', { gpu_ms: 0.5 }],
    ['a time that no job takes', { gpu_ms: 10_000_000_000 }],
    ['a time that is no number', { gpu_ms: '5' }],
    ['no slot', { slot: -1 }],
    ['an unknown end', { end: 'lost' }],
    ['no age', { age_ms: undefined }],
  ])('is not one with %s', (_what, more) => {
    expect(endedJobs({ ended: [ended(1)] })).toHaveLength(1);
    expect(endedJobs({ ended: [ended(1), ended(2, more)] })).toBeUndefined();
  });

  it('books nothing if it is malformed, and says so once', async () => {
    const { url, asked } = await lister(() => ({ ended: [ended(1), ended(2, { gpu_ms: -5 })] }));
    const ledger = memoryLedger();
    const events: WorkerEvent[] = [];
    const gpu = worker({ url, ledger, onEvent: (event) => events.push(event) });
    await expect.poll(() => events).toEqual([{ kind: 'ended-jobs-unreadable', reason: expect.any(String) }]);
    expect(ledger.read().total).toBe(0);
    const { exchange } = testExchange();
    await sequence(meterUsage({ ledger }))(exchange);
    exchange.admission = new HeldAdmission({ token: 1 });
    const before = asked();
    await gpu.run(exchange, { path: '/job', body: '' }).catch(() => undefined);
    exchange.abort();
    await expect.poll(asked).toBeGreaterThan(before + 1);
    expect(events.filter(({ kind }) => kind === 'ended-jobs-unreadable')).toHaveLength(1);
  });

  it('is not read without end if it never ends', async () => {
    let asked = 0;
    const link = {
      instance: 'one',
      ended: async (after: number) => {
        asked++;
        return { instance: 'one', jobs: endedJobs({ ended: [ended(after + 1)] }) };
      },
    };
    const jobs = new EndedJobs(link as unknown as WorkerLink, () => undefined);
    jobs.bookIn(memoryLedger());
    // It may be read again while it is read: both give up.
    expect(await jobs.read()).toBe(false);
    expect(asked).toBe(2000);
  });
});

it('a job that ended more than twelve hours ago is not booked, since a ledger may have forgotten that it was', async () => {
  const { url } = await lister((after) => ({
    ended: after > 0 ? [] : [ended(1, { age_ms: 43_200_001, gpu_ms: 7 }), ended(2, { age_ms: 43_200_000 })],
  }));
  const ledger = memoryLedger();
  worker({ url, ledger, onEvent: () => undefined });
  await expect.poll(() => ledger.read().rows).toMatchObject([{ gpuTime: 5, jobsFinished: 1 }]);
});

it('a job has a name that a ledger accepts, however long the instance of its worker is', () => {
  const long = bookedName('x'.repeat(8000), 3, 2 ** 52);
  expect(long.length).toBeLessThanOrEqual(128);
  expect(bookedName('x'.repeat(8000), 3, 2 ** 52)).toBe(long);
  expect(bookedName(`${'x'.repeat(7999)}y`, 3, 2 ** 52)).not.toBe(long);
  expect(bookedName('one', 3, 4)).toBe('one 3 4');
});

it('a worker that books in one ledger runs no job that is metered in another', async () => {
  const { url, count } = await sleepingWorker();
  const [own, other] = [memoryLedger(), memoryLedger()];
  const gpu = worker({ url, ledger: own, onEvent: () => undefined });
  const { exchange } = testExchange();
  await sequence(meterUsage({ ledger: other }))(exchange);
  exchange.admission = new HeldAdmission({ token: Date.now() });
  await expect(gpu.run(exchange, { path: '/job', body: '1' })).rejects.toThrow(
    'gatewarden: worker.run books in another ledger than meterUsage; pass one ledger to both',
  );
  expect(count('POST')).toBe(0);
});
