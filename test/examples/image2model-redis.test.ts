import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { createImage2ModelStandIn } from '../../examples/workers/image2model-stand-in.js';
import { describeRedis } from '../redis/describe.js';
import { useRedis } from '../redis/suite.js';
import { ENV, KEYS, photo, type Started, startImage2Model } from './image2model-fixture.js';

describeRedis('the Image2Model API with REDIS_URL', () => {
  const redis = useRedis();
  let directory: string;
  let worker: Server;
  const services: Started[] = [];

  afterEach(async () => {
    for (const service of services.splice(0)) await service.close();
    worker.closeAllConnections();
    worker.close();
    await rm(directory, { recursive: true });
    await redis.cli('FLUSHALL');
  });

  /** Starts gateways in front of one worker, with one directory. */
  async function start(count: number, seconds: number): Promise<readonly Started[]> {
    directory = await mkdtemp(join(tmpdir(), 'image2model-redis-'));
    worker = createImage2ModelStandIn({ seconds, log: () => undefined });
    await once(worker.listen(0, '127.0.0.1'), 'listening');
    return Promise.all(Array.from({ length: count }, another));
  }

  async function another(): Promise<Started> {
    const env = { ...ENV, REDIS_URL: redis.url, GPU_SLOTS: '1', RATE_LIMIT_PER_MINUTE: '10000' };
    const service = await startImage2Model({ env, worker, directory });
    services.push(service);
    return service;
  }

  async function submit(service: Started, headers: Record<string, string> = {}) {
    const images = [
      ['chair.png', await photo()],
      ['table.png', await photo(1)],
    ] as const;
    const response = await service.submit(KEYS.alice, images, {}, headers);
    return { code: response.status, ...((await response.json()) as { job_id: string }) };
  }

  it('shows a job only to its owner, through every process', async () => {
    const [first, second] = (await start(2, 0)) as [Started, Started];
    const { job_id } = await submit(first);
    expect(await second.ended(job_id, KEYS.alice)).toMatchObject({ status: 'succeeded' });
    expect((await second.send(`/download/${job_id}/chair.glb`, KEYS.aliceNext)).status).toBe(200);
    for (const path of [`/status/${job_id}`, `/download/${job_id}/chair.glb`, `/download/${job_id}/all`]) {
      expect((await second.send(path, KEYS.bob)).status).toBe(404);
    }
    expect(await redis.cli('KEYS', '*')).not.toContain('c4n4ry');
  });

  it('starts one job for duplicates that reach two processes', async () => {
    const [first, second] = (await start(2, 0)) as [Started, Started];
    const headers = { 'Idempotency-Key': '"once"' };
    const answers = await Promise.all([first, second, first].map((service) => submit(service, headers)));
    const jobs = new Set(answers.filter(({ code }) => code === 202).map(({ job_id }) => job_id));
    expect(jobs.size).toBe(1);
    expect(answers.every(({ code }) => code === 202 || code === 409)).toBe(true);
    const [job = ''] = jobs;
    expect((await submit(second, headers)).job_id).toBe(job);
    expect(await first.ended(job, KEYS.alice)).toMatchObject({ status: 'succeeded' });
    expect(await readdir(join(directory, 'models'))).toEqual([job]);
  });

  it('has the finished and the waiting jobs when it starts again, and says which one was lost', async () => {
    const [first] = (await start(1, 0.4)) as [Started];
    const finished = await submit(first);
    await first.ended(finished.job_id, KEYS.alice);
    const running = await submit(first);
    const waiting = await submit(first);
    await vi.waitFor(async () => {
      const status = await (await first.send(`/status/${running.job_id}`, KEYS.alice)).json();
      expect(status).toMatchObject({ status: 'running' });
    }, 5000);
    services.splice(0);
    await first.stop();

    const again = await another();
    expect((await again.send(`/download/${finished.job_id}/chair.glb`, KEYS.alice)).status).toBe(200);
    expect(await again.ended(running.job_id, KEYS.alice)).toMatchObject({
      status: 'failed',
      problem: { code: 'job-lost' },
    });
    expect(await again.ended(waiting.job_id, KEYS.alice)).toMatchObject({ status: 'succeeded' });
    expect((await again.send(`/download/${waiting.job_id}/chair.glb`, KEYS.alice)).status).toBe(200);
  }, 90_000);
});
