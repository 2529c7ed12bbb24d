import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { Chaos } from './scene.js';

/** All of them in `npm run test:long`. */
const DISTURBANCES = process.env.PROPERTY_RUNS === undefined ? 10 : 200;
const LEASE = 1500;
/** Short, so that jobs often outlive the lease of a gateway that is stopped. */
const SHORT_LEASE = 1000;

/** A random generator whose run can be repeated (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Posts a job until it is done, and returns how long that took in milliseconds. */
async function untilDone(chaos: Chaos, gateway: number, jobMs = 1): Promise<number> {
  const started = performance.now();
  await until('a job is done', async () => (await chaos.post(gateway, jobMs).answer) === '200 done', 20_000);
  return performance.now() - started;
}

/** Posts a job until it runs: the slot of the job before is given back a moment after its answer. */
async function untilItRuns(chaos: Chaos, gateway: number, jobMs: number): Promise<ReturnType<Chaos['post']>> {
  for (;;) {
    const job = chaos.post(gateway, jobMs);
    let isOver = false;
    void job.answer.then(() => {
      isOver = true;
    });
    await until('the job runs, or is refused', () => chaos.running === 1 || isOver);
    if (chaos.running === 1) return job;
  }
}

describeRedis('gateways that share the slots of a worker', () => {
  it('get the slot of a killed gateway within one lease and a second, and its job stops at once', async () => {
    const chaos = await Chaos.start({ gateways: 2, slots: 1, leaseMs: LEASE, stopSeconds: 0.1 });
    await untilDone(chaos, 1);
    const job = await untilItRuns(chaos, 0, 4000);
    await sleep(LEASE);
    const killedAt = performance.now();
    chaos.signal(0, 'SIGKILL');
    expect(await job.answer).toBe('left');
    await until('the job has stopped', () => chaos.running === 0);
    const stoppedAfter = (chaos.reports.at(-1)?.at ?? 0) - killedAt;
    const freeAfter = await untilDone(chaos, 1);
    process.stdout.write(
      `killed: the job stopped after ${Math.round(stoppedAfter)} ms, free after ${Math.round(freeAfter)} ms\n`,
    );
    expect(stoppedAfter).toBeLessThan(1000);
    expect(freeAfter).toBeLessThan(LEASE + 1000);
    expect(chaos.most).toEqual({ running: 1, inSlot: 1 });
  }, 60_000);

  it('run no second job for a gateway that was stopped past its lease, which frees nobody else when it wakes', async () => {
    const chaos = await Chaos.start({ gateways: 3, slots: 1, leaseMs: LEASE, stopSeconds: 0.3 });
    await untilDone(chaos, 1);
    const first = await untilItRuns(chaos, 0, 4500);
    chaos.signal(0, 'SIGSTOP');
    await sleep(LEASE + 500);
    // The job of the stopped gateway still runs, since its connection is open. The next one stops it.
    expect(chaos.running).toBe(1);
    const second = chaos.post(1, 3000);
    const started = () => chaos.reports.filter(({ kind }) => kind === 'start').length;
    await until('the second job runs', () => started() === 3);
    chaos.signal(0, 'SIGCONT');
    expect(await first.answer).toMatch(/^503 .*worker-unavailable/);
    expect(await chaos.post(2, 1).answer).toMatch(/^503 .*capacity-exceeded/);
    expect(await second.answer).toBe('200 done');
    await untilDone(chaos, 2);
    expect(chaos.most).toEqual({ running: 1, inSlot: 1 });
  }, 60_000);

  it(
    `never run more jobs than slots through ${DISTURBANCES} kills, stops, restarts, lost and late messages`,
    async () => {
      const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 2 ** 31);
      const chance = random(seed);
      const between = (low: number, high: number) => low + Math.floor(chance() * (high - low));
      const [gateways, slots] = [3, 2];
      const chaos = await Chaos.start({ gateways, slots, leaseMs: LEASE, stopSeconds: 0.2 });
      let isOver = false;
      /** Gateways that are stopped. A client would only wait for them. */
      const asleep = new Set<number>();
      const seen = { done: 0, left: 0, refused: 0 };
      const clients = Array.from({ length: 8 }, async () => {
        while (!isOver) {
          const awake = Array.from({ length: gateways }, (_, i) => i).filter((i) => !asleep.has(i));
          const job = chaos.post(
            awake[between(0, awake.length)] ?? 0,
            chance() < 0.5 ? between(20, 400) : between(400, 2800),
          );
          const leaving = chance() < 0.25 ? setTimeout(() => job.leave(), between(0, 600)) : undefined;
          const answer = await job.answer;
          clearTimeout(leaving);
          if (answer === '200 done') seen.done++;
          else if (answer === 'left') seen.left++;
          else seen.refused++;
          await sleep(between(5, 60));
        }
      });

      const disturbances: Readonly<Record<string, () => Promise<void>>> = {
        killGateway: () => chaos.restartGateway(between(0, gateways)),
        stopGateways: async () => {
          // All but one, which then gets the slots of jobs that outlive their lease.
          const awake = between(0, gateways);
          const stopped = chaos.gateways.map((_, i) => i).filter((i) => i !== awake);
          for (const i of stopped) asleep.add(i);
          for (const i of stopped) chaos.signal(i, 'SIGSTOP');
          await sleep(between(SHORT_LEASE, SHORT_LEASE * 2.5));
          for (const i of stopped) chaos.signal(i, 'SIGCONT');
          asleep.clear();
        },
        restartWorker: () => chaos.restartWorker(),
        late: async () => {
          chaos.proxy.fate = () => (chance() < 0.5 ? between(50, 2 * SHORT_LEASE) : 0);
          await sleep(between(500, 2000));
          chaos.proxy.fate = () => 0;
        },
        lost: async () => {
          chaos.proxy.fate = () => (chance() < 0.2 ? 'lost' : chance() < 0.2 ? 'broken' : 0);
          await sleep(between(300, 1500));
          chaos.proxy.fate = () => 0;
        },
      };
      const names = [...Object.keys(disturbances), 'stopGateways'];
      for (let i = 0; i < DISTURBANCES; i++) {
        await sleep(between(50, 300));
        // Every kind, also in a short run.
        const name = names[i < names.length ? i : between(0, names.length)] ?? '';
        await disturbances[name]?.();
        expect({ seed, name, ...chaos.most }).toMatchObject({
          inSlot: 1,
          running: expect.toSatisfy((n) => n <= slots),
        });
      }
      isOver = true;
      await Promise.all(clients);
      process.stdout.write(`seed ${seed}: ${JSON.stringify({ ...seen, disturbances: DISTURBANCES, ...chaos.most })}\n`);
      // Whatever was lost, every slot is free again at the end.
      await until(
        'both slots are free',
        async () => {
          const answers = await Promise.all([chaos.post(0, 300).answer, chaos.post(1, 300).answer]);
          return answers.every((answer) => answer === '200 done');
        },
        20_000,
      );
      expect(seen.done).toBeGreaterThan(DISTURBANCES / 4);
      expect({ seed, ...chaos.most }).toEqual({ seed, running: slots, inSlot: 1 });
    },
    60_000 + DISTURBANCES * 5000,
  );
});
