import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { JobTable } from '../../examples/workers/job-table.js';
import type { Exchange } from '../../src/core/exchange.js';
import type { Ledger } from '../../src/core/ledger.js';
import { OptionError } from '../../src/core/option.js';
import { sequence } from '../../src/core/sequence.js';
import { memoryLedger } from '../../src/observe/usage/memory-ledger.js';
import { meterUsage } from '../../src/observe/usage/meter-usage.js';
import { accountOf, accountText } from '../../src/worker/account-text.js';
import { type WorkerOptions, worker } from '../../src/worker/worker.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { listening, sleepingWorker } from './scene.js';
import { smallWorker } from './small-worker.js';

let token = Date.now();

/** An exchange of a client that holds a slot. */
async function admitted(ledger: Ledger | undefined, client = 'ada'): Promise<Exchange> {
  const { exchange } = testExchange();
  if (ledger !== undefined) await sequence(meterUsage({ ledger }))(exchange);
  exchange.principal = { id: client, scheme: 'test', scopes: [], credentialId: 'key' };
  exchange.admission = new HeldAdmission({ token: ++token });
  return exchange;
}

const usageOf = (ledger: ReturnType<typeof memoryLedger>, client = 'ada') => ledger.read({ client }).rows[0];
const gpu = (url: string, options: Partial<WorkerOptions> = {}) =>
  worker({ url, onEvent: () => undefined, ...options });

/** What the worker says itself. */
async function countedBy(url: string): Promise<{ readonly gpu_ms: number; readonly ended: readonly unknown[] }> {
  return (await (await fetch(`${url}/jobs/ended`)).json()) as Awaited<ReturnType<typeof countedBy>>;
}

/** A job of a gateway that has died since. */
async function postAs(url: string, account: string | undefined, ms = 30): Promise<void> {
  const { instance } = (await (await fetch(`${url}/jobs`)).json()) as Pick<JobTable, 'instance'>;
  const headers = {
    'X-Job-Id': 'lost',
    'X-Slot': '0',
    'X-Fencing-Token': String(++token),
    'X-Worker-Instance': instance,
    'X-Deadline-Ms': '10000',
    ...(account !== undefined && { 'X-Job-Account': account }),
  };
  const response = await fetch(`${url}/job`, { method: 'POST', headers, body: String(ms) });
  expect(response.status).toBe(200);
  await response.text();
}

describe('the GPU time of a job', () => {
  it("is booked with the worker's word, with the client whose job it was", async () => {
    const { url, seen } = await sleepingWorker();
    const ledger = memoryLedger();
    const result = await gpu(url).run(await admitted(ledger), { path: '/job', body: '50' });
    expect(result).toMatchObject({ kind: 'done' });
    const { gpu_ms } = await countedBy(url);
    expect(usageOf(ledger)).toMatchObject({ gpuTime: gpu_ms, jobsStarted: 1, jobsFinished: 1, jobsAborted: 0 });
    expect(gpu_ms).toBeGreaterThanOrEqual(50);
    expect(accountOf(String(seen.jobs[0]?.['x-job-account']))).toEqual({ client: 'ada', place: undefined });
  });

  it('is booked also if the job fails, which costs the client nothing', async () => {
    const { url } = await sleepingWorker();
    const ledger = memoryLedger();
    const exchange = await admitted(ledger);
    await expect(gpu(url).run(exchange, { path: '/job', body: 'fail' })).resolves.toMatchObject({ kind: 'failed' });
    expect(exchange.admission).toMatchObject({ done: [{ settle: { concurrency: 0 } }, { settle: 0 }] });
    const { gpu_ms } = await countedBy(url);
    expect(usageOf(ledger)).toMatchObject({ gpuTime: gpu_ms, jobsFinished: 1 });
  });

  it('is that of the list if the client leaves', async () => {
    const { url, seen } = await sleepingWorker({ stopSeconds: 0.1 });
    const ledger = memoryLedger();
    const exchange = await admitted(ledger);
    const job = gpu(url).run(exchange, { path: '/job', body: '5000' });
    await expect.poll(() => seen.running).toBe(1);
    exchange.abort();
    await expect(job).resolves.toMatchObject({ kind: 'cancelled' });
    await expect.poll(() => usageOf(ledger)?.jobsAborted).toBe(1);
    const { gpu_ms } = await countedBy(url);
    expect(gpu_ms).toBeGreaterThan(100);
    expect(usageOf(ledger)).toMatchObject({ gpuTime: gpu_ms, jobsStarted: 1, jobsFinished: 0 });
  });

  it('is nothing if the worker has refused the job', async () => {
    const { url } = await sleepingWorker();
    const ledger = memoryLedger();
    const one = gpu(url);
    await expect(one.run(await admitted(ledger), { path: '/job', body: 'bad' })).resolves.toMatchObject({
      status: 400,
    });
    await one.run(await admitted(ledger, 'bob'), { path: '/job', body: '1' });
    expect(usageOf(ledger)).toMatchObject({ gpuTime: 0, jobsFinished: 0 });
  });

  it('is what was measured if the worker keeps no list and does not say', async () => {
    const url = await listening(smallWorker({ jobMs: 80, breaks: 'gpu-seconds', keepsEnded: false }));
    const ledger = memoryLedger();
    const exchange = await admitted(ledger);
    const result = await gpu(url).run(exchange, { path: '/job', body: '' });
    if (result.kind !== 'done') throw new Error(result.reason);
    await result.response.text();
    await expect.poll(() => usageOf(ledger)?.jobsFinished).toBe(1);
    expect(usageOf(ledger)?.gpuTime).toBeGreaterThanOrEqual(80);
  });

  it('is not metered without meterUsage', async () => {
    const { url, seen, count } = await sleepingWorker();
    await gpu(url).run(await admitted(undefined), { path: '/job', body: '1' });
    expect(seen.jobs[0]).not.toHaveProperty('x-job-account');
    expect(count('GET /jobs/ended')).toBe(0);
  });

  it("is nobody else's, also if a handler passes on what its client has sent", async () => {
    const { url, seen } = await sleepingWorker();
    const headers = { 'x-job-account': accountText({ client: 'bob', place: undefined }) };
    await gpu(url).run(await admitted(undefined), { path: '/job', body: '1', headers });
    expect(seen.jobs[0]).not.toHaveProperty('x-job-account');
  });
});

describe('jobs of gateways that have died', () => {
  it('are booked by another one, once, in the rows of their clients', async () => {
    const { url } = await sleepingWorker();
    const lost = accountText({ client: 'ü 😀', place: undefined });
    for (let i = 0; i < 3; i++) await postAs(url, lost);
    await postAs(url, undefined);
    await postAs(url, 'not.of a gateway'.replace(/ /g, '-'));
    const ledger = memoryLedger();
    // Two gateways read the same list.
    gpu(url, { ledger });
    gpu(url, { ledger });
    await expect.poll(() => usageOf(ledger, 'ü 😀')?.jobsFinished).toBe(3);
    await sleep(100);
    const listed = (await countedBy(url)).ended as readonly { account?: string; gpu_ms: number }[];
    const sum = listed.filter(({ account }) => account === lost).reduce((all, { gpu_ms }) => all + gpu_ms, 0);
    expect(usageOf(ledger, 'ü 😀')).toMatchObject({ gpuTime: sum, jobsStarted: 0, jobsFinished: 3, requests: 0 });
  });

  it('are booked from a long list', async () => {
    const { url } = await sleepingWorker();
    for (let i = 0; i < 250; i++) await postAs(url, accountText({ client: `c${i % 3}`, place: undefined }), 0);
    const ledger = memoryLedger();
    gpu(url, { ledger });
    await expect.poll(() => ledger.read().rows.reduce((sum, { jobsFinished }) => sum + jobsFinished, 0)).toBe(250);
  });

  it('are booked from the first number on when the worker has started again', async () => {
    const first = await sleepingWorker();
    const second = await sleepingWorker();
    let url = first.url;
    const fetchNow = (target: string, init: RequestInit) => fetch(target.replace(first.url, url), init);
    const ledger = memoryLedger();
    await postAs(first.url, undefined);
    const one = gpu(first.url, { fetch: fetchNow });
    await one.run(await admitted(ledger), { path: '/job', body: '1' });
    await expect.poll(() => first.count('GET /jobs/ended')).toBeGreaterThan(1);
    url = second.url;
    await postAs(second.url, accountText({ client: 'bob', place: undefined }));
    const exchange = await admitted(ledger);
    const job = one.run(exchange, { path: '/job', body: '3000' });
    await expect.poll(() => second.seen.running).toBe(1);
    exchange.abort();
    await job;
    await expect.poll(() => usageOf(ledger, 'bob')?.jobsFinished).toBe(1);
    await expect.poll(() => usageOf(ledger)?.jobsAborted).toBe(1);
  });

  it('are asked for once at a time if the worker lists the same ones whatever it is asked', async () => {
    const account = accountText({ client: 'ada', place: undefined });
    const ended = [{ number: 1, id: 'a', slot: 0, token: 1, account, gpu_ms: 5, end: 'done', age_ms: 10 }];
    let asked = 0;
    const url = await listening(
      createServer((_, res) => {
        asked++;
        res.setHeader('X-Worker-Instance', 'one').end(JSON.stringify({ gpu_ms: 5, ended }));
      }),
    );
    const ledger = memoryLedger();
    gpu(url, { ledger });
    await expect.poll(() => usageOf(ledger)?.gpuTime).toBe(5);
    await sleep(100);
    expect(asked).toBeLessThan(4);
  });

  it('are read again later if the ledger cannot book', async () => {
    const { url } = await sleepingWorker();
    await postAs(url, accountText({ client: 'ada', place: undefined }));
    const ledger = memoryLedger();
    let failures = 0;
    const failing: Ledger = {
      ...ledger,
      book(bookings) {
        if (failures++ === 0) throw new Error('away');
        ledger.book(bookings);
      },
    };
    const one = gpu(url, { ledger: failing });
    await expect.poll(() => failures).toBe(1);
    await one.run(await admitted(failing, 'bob'), { path: '/job', body: '1' });
    const exchange = await admitted(failing, 'bob');
    const job = one.run(exchange, { path: '/job', body: '3000' });
    await sleep(50);
    exchange.abort();
    await job;
    await expect.poll(() => usageOf(ledger)?.jobsFinished).toBe(1);
  });
});

describe('worker "ledger"', () => {
  it('must be a ledger', () => {
    const make = () => worker({ url: 'http://127.0.0.1:1', ledger: {} as Ledger });
    expect(make).toThrow(OptionError);
    expect(make).toThrow('gatewarden: worker "ledger" must be a ledger, got [Object]; pass that of meterUsage');
  });
});

describe('the account text of a job', () => {
  it.each(['ada', 'ü😀', 'a\nb', '__proto__', 'x'.repeat(128), '\u0000'.repeat(128), 'ü'.repeat(128)])(
    'keeps %j',
    (client) => {
      const text = accountText({ client, place: 'a1' });
      expect(text).toMatch(/^[\w.-]{1,700}$/);
      expect(accountOf(text)).toEqual({ client, place: 'a1' });
    },
  );

  it.each(['', '.', 'ada', 'A.YWRh', 'a/b.YWRh', `.${'A'.repeat(1000)}`, '{x}.YWRh'])('is not %j', (text) => {
    expect(accountOf(text)).toBeUndefined();
  });
});
