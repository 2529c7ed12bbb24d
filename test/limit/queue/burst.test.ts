import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import express from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import { limit } from '../../../src/limit/limit.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { concurrency } from '../../../src/limit/policy.js';
import type { QueueOptions } from '../../../src/limit/queue/queue-options.js';
import { Client } from '../../raw-client.js';

const servers: Server[] = [];
const clients: Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

interface Answer {
  readonly status: number;
  readonly code: unknown;
  readonly retryAfter: string | undefined;
}

interface Arrival {
  readonly arrivedAt: number;
  /** Whether the guard refused it before it returned. */
  wasRefusedAtOnce: boolean;
  refusedAt: number | undefined;
  /** When a timer of its own has fired that was set for the longest wait on arrival. */
  timerAt: number | undefined;
}

/** A service with one slot, which its first request holds until `release`. It reads bodies only behind the guard. */
async function service(queue: QueueOptions, maxWait: number) {
  const app = express();
  const arrivals: Arrival[] = [];
  let bodies = 0;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const guards = guard(
    limit({
      store: memoryStore(),
      policies: concurrency({ limit: 1, by: 'global' }),
      queue: { by: ({ request }) => request.fieldLines('x-client')[0] ?? 'none', maxWait: `${maxWait}ms`, ...queue },
    }),
  );
  app.post(
    '/work',
    (_req, res, next) => {
      const arrival: Arrival = {
        arrivedAt: performance.now(),
        wasRefusedAtOnce: false,
        refusedAt: undefined,
        timerAt: undefined,
      };
      arrivals.push(arrival);
      setTimeout(() => {
        arrival.timerAt = performance.now();
      }, maxWait).unref();
      res.on('finish', () => {
        if (res.statusCode === 503) arrival.refusedAt = performance.now();
      });
      next();
    },
    (req, res, next) => {
      guards(req, res, next);
      const arrival = arrivals.at(-1) as Arrival;
      arrival.wasRefusedAtOnce = res.headersSent;
    },
    async (req, res) => {
      bodies++;
      let bytes = 0;
      for await (const chunk of req) bytes += (chunk as Buffer).length;
      await released;
      res.json({ bytes });
    },
  );
  const server = createServer(app);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connect = async (): Promise<Client> => {
    const connection = await Client.connect(port);
    clients.push(connection);
    return connection;
  };
  async function post(client: string, connection?: Client): Promise<Answer> {
    const used = connection ?? (await connect());
    used.send('POST /work', `X-Client: ${client}`, 'Content-Length: 1000');
    used.socket.write(Buffer.alloc(1000));
    const { status, body, field } = await used.answer();
    const { code } = JSON.parse(body.toString()) as { code?: unknown };
    return { status, code, retryAfter: field('retry-after') };
  }
  const arrived = async (count: number): Promise<void> => {
    while (arrivals.length < count) await nextTurn();
    await nextTurn();
  };
  return { connect, post, arrived, arrivals, bodies: () => bodies, release };
}

describe('a queue of 10 in front of one slot', () => {
  it('reads the bodies of 11 requests of a burst of 200, and refuses the others when they arrive', async () => {
    const { connect, post, arrived, arrivals, bodies, release } = await service({ maxWaiting: 10 }, 60_000);
    const connections = await Promise.all(Array.from({ length: 200 }, connect));
    const answers = connections.map((connection, i) => post(`client-${i % 20}`, connection));
    await arrived(200);
    expect(bodies()).toBe(1);
    release();
    const refused = (await Promise.all(answers)).filter(({ status }) => status === 503);
    expect([refused.length, bodies()]).toEqual([189, 11]);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['queue-full']));
    expect(refused.every(({ retryAfter }) => Number(retryAfter) >= 1)).toBe(true);
    const waits = arrivals.flatMap(({ arrivedAt, refusedAt }) =>
      refusedAt === undefined ? [] : [refusedAt - arrivedAt],
    );
    expect(waits).toHaveLength(189);
    // Those that are not refused before the guard returns had a place until another client's request took it.
    expect(arrivals.filter(({ wasRefusedAtOnce }) => wasRefusedAtOnce).length).toBeGreaterThanOrEqual(179);
    expect(waits.toSorted((a, b) => a - b)[94]).toBeLessThan(100);
  });

  it('refuses what waited too long at its time, while the worker is busy', async () => {
    const { post, arrived, arrivals, bodies, release } = await service({ maxWaiting: 10 }, 400);
    const running = post('a');
    await arrived(1);
    const waiting: Promise<Answer>[] = [];
    for (let i = 0; i < 10; i++) {
      waiting.push(post(`client-${i}`));
      await arrived(i + 2);
    }
    const answers = await Promise.all(waiting);
    expect(answers.map(({ code }) => code)).toEqual(Array(10).fill('queue-timeout'));
    // The last answer may come before the last of the timers.
    while (arrivals.some(({ timerAt }) => timerAt === undefined)) await nextTurn();
    for (const { refusedAt, timerAt } of arrivals.slice(1)) {
      // A timer of the same length says when that time was on a machine that is busy with other things.
      expect(Math.abs((refusedAt as number) - (timerAt as number))).toBeLessThan(50);
    }
    expect(bodies()).toBe(1);
    release();
    expect((await running).status).toBe(200);
  });

  it('refuses no request of a client that has none waiting because of a flood of another', async () => {
    const { connect, post, arrived, release } = await service({ maxWaiting: 10 }, 60_000);
    const connections = await Promise.all(Array.from({ length: 150 }, connect));
    const flood = connections.slice(0, 100).map((connection) => post('flood', connection));
    await arrived(100);
    const others = Array.from({ length: 9 }, (_, i) => post(`light-${i}`));
    await arrived(109);
    const more = connections.slice(100).map((connection) => post('flood', connection));
    await arrived(159);
    release();
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual(Array(9).fill(200));
    const served = (await Promise.all([...flood, ...more])).filter(({ status }) => status === 200);
    // The one that ran, and the one that kept its place.
    expect(served).toHaveLength(2);
  });
});
