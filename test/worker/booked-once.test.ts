import { expect, it } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import type { Ledger } from '../../src/core/ledger.js';
import { sequence } from '../../src/core/sequence.js';
import { memoryLedger } from '../../src/observe/usage/memory-ledger.js';
import { meterUsage } from '../../src/observe/usage/meter-usage.js';
import { worker } from '../../src/worker/worker.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { listening, sleepingWorker } from './scene.js';
import { smallWorker } from './small-worker.js';

let token = Date.now();

/** An exchange of ada that holds a slot. */
async function admitted(ledger: Ledger): Promise<Exchange> {
  const { exchange } = testExchange({
    principal: { id: 'ada', scheme: 'test', scopes: [], credentialId: 'key' },
  });
  await sequence(meterUsage({ ledger }))(exchange);
  exchange.admission = new HeldAdmission({ token: ++token });
  return exchange;
}

it('a job whose worker has started again is booked with what was measured, since its list is lost', async () => {
  const [first, second] = [await sleepingWorker(), await sleepingWorker()];
  let { url } = first;
  const ledger = memoryLedger();
  const gpu = worker({
    url: first.url,
    onEvent: () => undefined,
    fetch: (target, init) => fetch(target.replace(first.url, url), init),
  });
  const exchange = await admitted(ledger);
  const job = gpu.run(exchange, { path: '/job', body: '5000' });
  await expect.poll(() => first.seen.running).toBe(1);
  url = second.url;
  exchange.abort();
  await job;
  await expect.poll(() => ledger.read().rows).toMatchObject([{ client: 'ada', jobsStarted: 1, jobsAborted: 1 }]);
  expect(ledger.read().rows[0]?.gpuTime).toBeGreaterThan(0);
});

it('a job that waits for its slot at the worker is started once', async () => {
  const { url, seen } = await sleepingWorker({ stopSeconds: 0.2 });
  const ledger = memoryLedger();
  const gpu = worker({ url, onEvent: () => undefined });
  // The older job in the slot belongs to a gateway that was stopped.
  const stopped = worker({ url, onEvent: () => undefined });
  const older = await admitted(memoryLedger());
  const lost = stopped.run(older, { path: '/job', body: '5000' });
  await expect.poll(() => seen.running).toBe(1);
  const result = await gpu.run(await admitted(ledger), { path: '/job', body: '1' });
  expect(result.kind).toBe('done');
  expect(seen.jobs.length).toBeGreaterThan(2);
  expect(ledger.read({ client: 'ada' }).rows).toMatchObject([{ jobsStarted: 1 }]);
  older.abort();
  await lost;
});

it('a job that the gateway has stopped at its deadline counts as aborted', async () => {
  const url = await listening(smallWorker({ jobMs: 5000, breaks: 'deadline', keepsEnded: false }));
  const ledger = memoryLedger();
  const gpu = worker({ url, deadline: '100ms', grace: '0ms', onEvent: () => undefined });
  const result = await gpu.run(await admitted(ledger), { path: '/job', body: '' });
  expect(result.kind).toBe('deadline-exceeded');
  await expect.poll(() => ledger.read().rows[0]?.jobsAborted).toBe(1);
  expect(ledger.read().rows).toMatchObject([{ jobsStarted: 1, jobsFinished: 0 }]);
  expect(ledger.read().rows[0]?.gpuTime).toBeGreaterThanOrEqual(100);
});
