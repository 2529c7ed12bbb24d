import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { concurrency, limit, sequence } from '../../src/index.js';
import { worker } from '../../src/worker/index.js';
import { testExchange } from '../exchange-fixture.js';
import { sleepingWorker } from './scene.js';

/** All of them in `npm run test:long`. */
const RUNS = process.env.PROPERTY_RUNS === undefined ? 1000 : 10_000;
const AT_ONCE = 8;

it(`leaves no timer, socket or listener behind after ${RUNS} jobs`, { timeout: 300_000 }, async () => {
  const resources = () => process.getActiveResourcesInfo().filter((name) => /Timeout|TCP/.test(name));
  const before = resources().length;
  const scene = await sleepingWorker({ slots: AT_ONCE, log: () => undefined });
  const gpu = worker({ url: scene.url, deadline: '60s' });
  const entrance = sequence(gpu.ready(), limit({ by: 'global', policies: concurrency({ limit: AT_ONCE }) }));
  let started = 0;
  let left = 0;

  async function client(): Promise<void> {
    while (started < RUNS) {
      const leaves = ++started % 10 === 0;
      const { exchange, faults } = testExchange({ method: 'POST' });
      const { signal } = exchange;
      const refused = await entrance(exchange);
      if (refused !== undefined) {
        // The slot of a client that has left is not free yet.
        exchange.end({ kind: 'refused', status: refused.status, code: refused.problem?.code });
        started--;
        await new Promise((resolve) => setTimeout(resolve, 2));
        continue;
      }
      const lost = exchange.admission?.lost;
      const running = gpu.run(exchange, { path: '/job', body: leaves ? '1000' : '0' });
      if (leaves) {
        setTimeout(() => exchange.abort(), 5);
        expect((await running).kind).toBe('cancelled');
        left++;
      } else {
        const result = await running;
        expect(result.kind).toBe('done');
        if (result.kind === 'done') await result.response.text();
        exchange.end({ kind: 'completed', status: 200 });
      }
      expect(getEventListeners(signal, 'abort')).toEqual([]);
      expect(faults).toEqual([]);
      if (!leaves && lost !== undefined) expect(getEventListeners(lost, 'abort')).toEqual([]);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  expect(left).toBe(RUNS / 10);
  // Each client that left before its job was sent is not seen there.
  expect(scene.count('DELETE')).toBeLessThanOrEqual(left);
  await vi.waitFor(() => expect(scene.seen.running).toBe(0), 5000);
  expect(scene.seen.most).toBeLessThanOrEqual(AT_ONCE);
  expect(scene.seen.doubled).toBe(0);
  // Once the worker's last word has arrived, every slot is free, and no more than there are.
  const codes = async () => {
    const last = Array.from({ length: AT_ONCE + 1 }, () => testExchange().exchange);
    const replies = await Promise.all(last.map((exchange) => entrance(exchange)));
    for (const exchange of last) exchange.end({ kind: 'completed', status: 200 });
    return replies.map((reply) => reply?.problem?.code);
  };
  await vi.waitFor(async () => expect(await codes()).toEqual([...Array(AT_ONCE), 'capacity-exceeded']), 5000);
  scene.server.closeAllConnections();
  await new Promise((closed) => scene.server.close(closed));
  scene.server.listen(0);
  let after = resources();
  for (let i = 0; i < 100 && after.length > before + 1; i++) {
    await sleep(100);
    after = resources();
  }
  // The socket that listens.
  expect(after.length).toBeLessThanOrEqual(before + 1);
});
