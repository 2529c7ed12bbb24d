import { getEventListeners } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import express from 'express';
import { afterAll, expect, it } from 'vitest';
import { guard, sendReply } from '../../src/adapters/express.js';
import { concurrency, type Exchange, limit, memoryStore } from '../../src/index.js';
import { folder, jobs, memoryJobStore, type RunningJob } from '../../src/jobs/index.js';
import { listening } from '../worker/scene.js';

/** All of them in `npm run test:long`. */
const RUNS = process.env.PROPERTY_RUNS === undefined ? 300 : 5000;
const AT_ONCE = 8;

const directory = await mkdtemp(join(tmpdir(), 'gatewarden-leftovers-'));
afterAll(() => rm(directory, { recursive: true, force: true }));

it(`leaves no timer, socket, listener, watcher, file or slot behind after ${RUNS} jobs`, {
  timeout: 300_000,
}, async () => {
  const resources = () =>
    process.getActiveResourcesInfo().filter((name) => /Timeout|TCP|FS|Immediate/.test(name)).length;
  const before = resources();
  const inner = memoryJobStore();
  let watchers = 0;
  const store = Object.assign(Object.create(inner) as typeof inner, {
    watch: (id: string, onChange: () => void) => {
      watchers++;
      const stop = inner.watch(id, onChange);
      return () => {
        watchers--;
        stop();
      };
    },
  });
  for (const verb of ['create', 'read', 'change', 'renew', 'cancel'] as const) {
    Object.assign(store, { [verb]: (...args: never[]) => (inner[verb] as (...args: never[]) => unknown)(...args) });
  }
  const queue = jobs({ store, results: folder({ directory }), wait: '5s', heartbeat: '20ms', adminScope: false });
  const slots = limit({ store: memoryStore(), by: 'global', policies: concurrency({ limit: AT_ONCE * 2 }) });
  const signals: AbortSignal[] = [];
  const run = async (job: RunningJob) => {
    signals.push(job.signal);
    job.progress(0.5);
    const kind = job.exchange.request.url.slice(-1);
    if (kind === '1') throw new Error('broken');
    if (kind === '2') await job.file('a.bin', 'application/octet-stream', Readable.from([Buffer.alloc(10_000)]));
    if (kind === '3') await new Promise((resolve) => job.signal.addEventListener('abort', resolve));
    return kind === '2' ? undefined : { ok: true };
  };
  const app = express();
  const quiet = (exchange: Exchange) => {
    exchange.faultReporter = () => undefined;
    return undefined;
  };
  app.use(guard(quiet));
  app.post('/jobs/:kind', async (req, res) => {
    sendReply(req, res, await queue.respond(req.exchange, { guards: [slots], run }));
  });
  app.get('/jobs/:id/events', guard(queue.events()));
  app.get('/jobs/:id/result', guard(queue.result()));
  app.delete('/jobs/:id', guard(queue.cancel()));
  const server = createServer(app);
  const url = await listening(server);

  let started = 0;
  async function client(): Promise<void> {
    while (started < RUNS) {
      const kind = ++started % 4;
      const prefer = kind === 0 ? 'wait=5' : 'respond-async';
      const response = await fetch(`${url}/jobs/${kind}`, { method: 'POST', headers: { prefer } });
      if (kind === 0) {
        expect([response.status, await response.json()]).toEqual([200, { ok: true }]);
        continue;
      }
      const { id, token } = (await response.json()) as { id: string; token: string };
      const headers = { 'job-token': token };
      const leave = new AbortController();
      const events = await fetch(`${url}/jobs/${id}/events`, { headers, signal: leave.signal });
      if (kind === 3) {
        await events.body?.getReader().read();
        leave.abort();
        expect((await fetch(`${url}/jobs/${id}`, { method: 'DELETE', headers })).status).toBe(200);
        continue;
      }
      expect(await events.text()).toContain(kind === 1 ? '"status":"failed"' : '"status":"succeeded"');
      const result = await fetch(`${url}/jobs/${id}/result`, { headers });
      expect([result.status, (await result.arrayBuffer()).byteLength > 0]).toEqual([kind === 1 ? 500 : 200, true]);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  await queue.close();
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));

  expect(started).toBeGreaterThanOrEqual(RUNS);
  await expect.poll(() => watchers).toBe(0);
  expect(signals.filter((signal) => getEventListeners(signal, 'abort').length > (signal.aborted ? 1 : 0))).toEqual([]);
  expect((await slots.peek('global'))[0]?.remaining).toBe(AT_ONCE * 2);
  const succeeded = [...(await readdir(directory))];
  expect(succeeded.filter((id) => inner.read(id)?.state !== 'succeeded')).toEqual([]);
  // Those of the connections that `fetch` keeps.
  await expect.poll(resources, { timeout: 20_000 }).toBeLessThanOrEqual(before + AT_ONCE);
});
