import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import type { UsageRow } from '../../../../src/core/ledger.js';
import { redisLedger } from '../../../../src/observe/usage/redis/redis-ledger.js';
import { describeRedis } from '../../../redis/describe.js';
import { type SpawnedWorker, spawnWorker, until } from '../../../redis/processes.js';
import { startRedis } from '../../../redis/server.js';

const GATEWAY = new URL('gateway-process.ts', import.meta.url);
const WORKER = new URL('worker-process.ts', import.meta.url);
const KILLS = 10;
const CLIENTS = ['ada', 'bob', 'grace', undefined, 'stranger', 'greedy', 'ada'];

/** Posts a job, and returns the status, or `left` without one. */
function post(port: number, client: string | undefined, body: string, leaveAfter?: number): Promise<string> {
  return new Promise((resolve) => {
    const headers = { 'Content-Type': 'text/plain', ...(client !== undefined && { 'X-Client': client }) };
    const outgoing = request({ port, path: '/job', method: 'POST', headers }, (response) => {
      response.resume();
      response.on('error', () => resolve('left'));
      response.on('end', () => resolve(String(response.statusCode)));
    });
    outgoing.on('error', () => resolve('left'));
    if (leaveAfter !== undefined) setTimeout(() => outgoing.destroy(), leaveAfter);
    outgoing.end(body);
  });
}

describeRedis('the account of two gateways', () => {
  it(`has the GPU time that the worker has counted, through refusals, failures, aborts and ${KILLS} kills`, async () => {
    const redis = await startRedis();
    const worker = spawnWorker(WORKER);
    const gateways: { process: SpawnedWorker; port: number }[] = [];
    const client = new Redis(redis.url);
    onTestFinished(async () => {
      client.disconnect();
      await Promise.all([worker.stop(), ...gateways.map(({ process }) => process.stop())]);
      await redis.stop();
    }, 60_000);
    const workerUrl = `http://127.0.0.1:${await worker.receive(60_000)}`;

    async function startGateway(i: number): Promise<void> {
      const process = spawnWorker(GATEWAY, { USAGE_REDIS: redis.url, USAGE_WORKER: workerUrl });
      gateways[i] = { process, port: Number(await process.receive(60_000)) };
    }
    await Promise.all([startGateway(0), startGateway(1)]);

    async function workerCount(): Promise<{ readonly gpu_ms: number; readonly running: number }> {
      const { gpu_ms } = (await (await fetch(`${workerUrl}/jobs/ended?after=0`)).json()) as { gpu_ms: number };
      const { jobs } = (await (await fetch(`${workerUrl}/jobs`)).json()) as { jobs: readonly unknown[] };
      return { gpu_ms, running: jobs.length };
    }

    const answers = new Map<string, number>();
    let isOver = false;
    let kind = 0;
    const load = Array.from({ length: 8 }, async (_, i) => {
      while (!isOver) {
        kind++;
        const name = CLIENTS[kind % CLIENTS.length];
        // Of eight jobs one fails, one is refused for its body, one takes too long, and two are left by their clients.
        const body = [`${20 + (kind % 300)}`, '50 fail', '30 bad', '3000', '250', '90', '400', '35'][
          kind % 8
        ] as string;
        const leaveAfter = kind % 8 === 4 ? 120 : kind % 8 === 5 ? 15 : undefined;
        const status = await post(gateways[i % 2]?.port ?? 1, name, body, leaveAfter);
        answers.set(status, (answers.get(status) ?? 0) + 1);
        await sleep(status === 'left' ? 100 : 40);
      }
    });

    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(700);
      // While it runs a job, or at least has run some.
      await until('a job runs', async () => (await workerCount()).running > 0);
      process.kill(gateways[1]?.process.pid as number, 'SIGKILL');
      await startGateway(1);
    }
    await sleep(500);
    isOver = true;
    await Promise.all(load);
    await until('all jobs have ended', async () => (await workerCount()).running === 0, 30_000);

    const ledger = redisLedger({ client, prefix: 'exact-usage:' });
    const rows = async (): Promise<readonly UsageRow[]> => (await ledger.read()).rows;
    const sum = (some: readonly UsageRow[], figure: 'gpuTime' | 'jobsFinished' | 'jobsAborted' | 'jobsStarted') =>
      some.reduce((all, row) => all + row[figure], 0);
    const isComplete = async () => {
      const { gpu_ms, running } = await workerCount();
      return running === 0 && sum(await rows(), 'gpuTime') === gpu_ms;
    };
    await until('the account is complete', isComplete, 30_000);
    // It stays so: whatever is still repeated or read again is not booked again.
    await sleep(6000);
    const { gpu_ms: counted } = await workerCount();
    const final = await rows();
    const today = await ledger.read({ day: ledger.today() });
    worker.send('count');
    const { started, measured } = (await worker.receive()) as { readonly started: number; readonly measured: number };
    const refusals: Record<string, number> = {};
    for (const row of final) {
      for (const [code, count] of Object.entries(row.refusals)) refusals[code] = (refusals[code] ?? 0) + count;
    }
    process.stdout.write(
      `usage: ${KILLS} kills, ${JSON.stringify(Object.fromEntries(answers))}, refusals ${JSON.stringify(refusals)}; ` +
        `${started} jobs ran, ${sum(final, 'jobsFinished')} finished and ${sum(final, 'jobsAborted')} aborted in the ` +
        `ledger; GPU time of the worker ${counted} ms, of the ledger ${sum(final, 'gpuTime')} ms, ` +
        `difference ${counted - sum(final, 'gpuTime')}\n`,
    );
    expect(sum(final, 'gpuTime')).toBe(counted);
    expect(sum(today.rows, 'gpuTime')).toBe(counted);
    expect(sum(final, 'jobsFinished') + sum(final, 'jobsAborted')).toBe(started);
    // The worker's own clock agrees: it rounds each job up, and a job takes a moment to stop.
    expect(counted).toBeGreaterThan(measured);
    expect(counted).toBeLessThan(measured + started * 100);
    // All of it was there.
    expect(Object.keys(refusals).sort()).toEqual(
      expect.arrayContaining(['credentials-invalid', 'queue-timeout', 'quota-exceeded']),
    );
    expect(answers.get('502')).toBeGreaterThan(0);
    expect(answers.get('504')).toBeGreaterThan(0);
    expect(answers.get('left')).toBeGreaterThan(0);
    expect(final.map(({ client: name }) => name).sort()).toEqual(['ada', 'anonymous', 'bob', 'grace', 'greedy']);
  }, 280_000);
});
