import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { type SpawnedWorker, spawnWorker, until } from '../../redis/processes.js';
import { useAnyRedis } from '../../redis/suite.js';
import { LEASED_MS } from './gateway-policies.js';

const REQUESTS = 100;

/** A worker that counts the jobs it gets and answers none before it is told to. */
class Worker {
  readonly #waiting: ServerResponse[] = [];
  readonly #server: Server;
  readonly jobs: string[] = [];

  constructor() {
    this.#server = createServer((req, res) => {
      this.jobs.push(req.url ?? '');
      this.#waiting.push(res);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  finish(): void {
    for (const res of this.#waiting.splice(0)) res.end('done');
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

describeRedis(
  'three gateways on one Redis',
  () => {
    const worker = new Worker();
    const gateways: SpawnedWorker[] = [];
    const ports: number[] = [];
    const target = useAnyRedis();

    beforeAll(async () => {
      const env = {
        WORKER_REDIS_URL: target.url,
        WORKER_PREFIX: `gateways-${process.pid}:`,
        WORKER_URL: await worker.listen(),
      };
      for (let i = 0; i < 3; i++) gateways.push(spawnWorker(new URL('gateway-worker.ts', import.meta.url), env));
      for (const gateway of gateways) ports.push((await gateway.receive(60_000)) as number);
    }, 90_000);

    afterAll(async () => {
      for (const gateway of gateways) await gateway.stop();
      await worker.stop();
    });

    /** Sends requests to all gateways at once, and returns the status of each. */
    function send(kind: string, count: number): readonly Promise<number>[] {
      return Array.from({ length: count }, async (_, i) => {
        const answer = await fetch(`http://127.0.0.1:${ports[i % ports.length]}/${kind}`, { method: 'POST' });
        await answer.text();
        return answer.status;
      });
    }

    const count = (statuses: readonly number[], status: number) => statuses.filter((each) => each === status).length;

    it.each([
      ['requests', 429, 0],
      ['day', 429, 0],
      ['slots', 503, 5],
      ['gpu-window', 429, 4],
      ['gpu-day', 429, 4],
      ['all', 503, 5],
    ] as const)(
      'let exactly five of 100 parallel requests with five credits of %s reach the worker',
      async (kind, refusal, again) => {
        const reached = () => worker.jobs.filter((path) => path === `/${kind}`).length;
        const answers = send(kind, REQUESTS);
        let refused = 0;
        for (const answer of answers) {
          answer.then(
            (status) => {
              if (status === refusal) refused++;
            },
            () => undefined,
          );
        }
        await until('all requests are decided', () => refused + reached() >= REQUESTS, 30_000);
        expect([reached(), refused]).toEqual([5, REQUESTS - 5]);
        worker.finish();
        const statuses = await Promise.all(answers);
        expect([count(statuses, 200), count(statuses, refusal)]).toEqual([5, REQUESTS - 5]);
        expect(reached()).toBe(5);

        // What was held is held no more, and what was used stays used.
        const more: Promise<number>[] = [];
        if (again === 0) {
          more.push(...send(kind, 5));
          expect(await Promise.all(more)).toEqual(Array(5).fill(refusal));
        } else {
          await until('as many pass again', async () => {
            if (reached() < 5 + again) more.push(...send(kind, 1));
            await new Promise((turn) => setTimeout(turn, 20));
            return reached() >= 5 + again;
          });
          worker.finish();
          expect(count(await Promise.all(more), 200)).toBe(again);
        }
      },
      60_000,
    );

    it('free the slot of a gateway that was killed within one lease and a second', async () => {
      const reached = () => worker.jobs.filter((path) => path === '/leased').length;
      const [first] = send('leased', 1);
      first?.catch(() => undefined);
      await until('the first gateway holds the slot', () => reached() === 1);
      // Its lease is renewed as long as it lives.
      await new Promise((done) => setTimeout(done, 2 * LEASED_MS));
      await gateways[0]?.stop();
      const killedAt = performance.now();
      ports.shift();
      const statuses: Promise<number>[] = [];
      await until('another gateway holds it', async () => {
        if (reached() === 1) statuses.push(...send('leased', 1));
        await new Promise((done) => setTimeout(done, 20));
        return reached() === 2;
      });
      const elapsed = performance.now() - killedAt;
      console.log(
        `a slot with a lease of ${LEASED_MS} ms was free ${Math.round(elapsed)} ms after its gateway was killed`,
      );
      expect(elapsed).toBeLessThan(LEASED_MS + 1000);
      worker.finish();
      expect(count(await Promise.all(statuses), 200)).toBe(1);
    }, 60_000);
  },
  { anyServer: true },
);
