import { setTimeout as after } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { concurrency, limit, memoryStore } from '../../../src/index.js';
import { ABORTED, completed } from './routes.js';
import type { Handler, Route } from './service.js';
import { gate, type Promised, type Stage, turns } from './stage.js';

/** One slot, which the first request to `/work` holds until the gate opens, and a queue before it. */
function queued(queue: { readonly maxWait?: `${number}s` | `${number}ms`; readonly maxWaiting?: number } = {}) {
  const first = gate();
  let count = 0;
  const handler: Handler = {
    does: 'answer',
    status: 200,
    body: { done: true },
    after: async () => {
      count++;
      if (count === 1) await first.promise;
    },
  };
  const guard = limit({
    store: memoryStore(),
    policies: concurrency({ limit: 1, by: 'global' }),
    // Every request of these tests comes from one address. Here, its client names itself.
    queue: { ...queue, by: ({ request }) => request.url, headers: true },
  });
  const routes = ['a', 'b', 'c', 'd'].map((name): Route => {
    return { method: 'GET', path: `/${name}`, guards: [[guard]], handler };
  });
  return { first, routes };
}

/** Sends a request on a connection of its own, and waits until it is in the queue. */
async function wait(stage: Stage, path: string) {
  const client = await stage.connect();
  const before = stage.entries.length;
  client.send(`GET ${path}`);
  await until(() => stage.entries.slice(before).some(({ exchange }) => exchange.queuePlace !== undefined));
  return client;
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await after(2);
}

/** Requests that wait for a slot. */
export function queue(promise: Promised): void {
  describe('a queue', () => {
    promise('serves a request that waited when the slot is free', async (stage) => {
      const { first, routes } = queued();
      await stage.serve(routes);
      const running = await stage.connect();
      running.send('GET /a');
      await stage.handlers(1);
      const waiting = await wait(stage, '/b');
      await turns();
      expect(stage.entered).toHaveLength(1);
      first.resolve();
      expect((await running.answer()).json()).toEqual({ done: true });
      const answer = await waiting.answer();
      expect([answer.status, answer.json(), answer.field('queue-position')]).toEqual([200, { done: true }, '1']);
      expect(await stage.outcomes(2)).toEqual([completed(200), completed(200)]);
    });

    promise('refuses at once what comes when the queue is full', async (stage) => {
      const { first, routes } = queued({ maxWaiting: 1 });
      await stage.serve(routes);
      const running = await stage.connect();
      running.send('GET /a');
      await stage.handlers(1);
      const waiting = await wait(stage, '/b');
      const refused = await stage.ask('GET /c');
      expect([refused.status, refused.json()]).toEqual([
        503,
        {
          title: 'Service Unavailable',
          status: 503,
          detail: 'Too many requests are waiting for this service. Try again later.',
          code: 'queue-full',
        },
      ]);
      expect(Number(refused.field('retry-after'))).toBeGreaterThan(0);
      first.resolve();
      expect([(await running.answer()).status, (await waiting.answer()).status]).toEqual([200, 200]);
    });

    promise('refuses a request that waited too long, and serves the next on its connection', async (stage) => {
      const { first, routes } = queued({ maxWait: '150ms' });
      await stage.serve(routes);
      const running = await stage.connect();
      running.send('GET /a');
      await stage.handlers(1);
      const waiting = await wait(stage, '/b');
      const refused = await waiting.answer();
      expect([refused.status, refused.json()]).toMatchObject([503, { code: 'queue-timeout' }]);
      first.resolve();
      await running.answer();
      waiting.send('GET /c');
      expect((await waiting.answer()).status).toBe(200);
      expect(stage.entered).toHaveLength(2);
    });

    promise('frees the place of a client that leaves, and never calls its handler', async (stage) => {
      const { first, routes } = queued({ maxWaiting: 1 });
      await stage.serve(routes);
      const running = await stage.connect();
      running.send('GET /a');
      await stage.handlers(1);
      const leaving = await wait(stage, '/b');
      leaving.socket.destroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      const waiting = await wait(stage, '/c');
      first.resolve();
      expect([(await running.answer()).status, (await waiting.answer()).status]).toEqual([200, 200]);
      expect(stage.entered.map(({ request }) => request.url)).toEqual(['/a', '/c']);
    });

    promise('serves further requests on a connection whose request waited', async (stage) => {
      const { first, routes } = queued();
      await stage.serve(routes);
      const running = await stage.connect();
      running.send('GET /a');
      await stage.handlers(1);
      const waiting = await wait(stage, '/b');
      first.resolve();
      await running.answer();
      for (const path of ['/b', '/c', '/d']) {
        expect((await waiting.answer()).status).toBe(200);
        waiting.send(`GET ${path}`);
      }
      expect((await waiting.answer()).status).toBe(200);
      expect(await stage.outcomes(5)).toEqual(Array(5).fill(completed(200)));
    });
  });
}
