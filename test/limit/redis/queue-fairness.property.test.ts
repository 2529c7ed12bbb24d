import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { beforeAll, expect, it } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import type { RedisTarget } from '../../redis/server.js';
import { useAnyRedis } from '../../redis/suite.js';
import { Drift } from '../queue/fairness.js';
import { type End, type Job, RedisSimulation } from './queue-simulation.js';

/** `npm run test:long` asks for more. */
const FACTOR = Number(process.env.PROPERTY_RUNS ?? 1000) / 1000;
const FAIRNESS_RUNS = Math.ceil(FACTOR * 40);
const ARRIVALS = Math.ceil(FACTOR * 500);

const WEIGHTS = [1, 1, 2, 0.5];

const bursts = fc.record({
  slots: fc.constantFrom(1, 2, 3),
  estimates: fc.constantFrom(undefined, 0, 0.3, 3),
  bursts: fc.array(
    fc.record({
      client: fc.nat(3),
      process: fc.nat(1),
      pause: fc.oneof(fc.nat(100), fc.nat(1500)),
      jobs: fc.array(
        fc.record({
          length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constantFrom(1, 50, 100)),
          patience: fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined }),
        }),
        { minLength: 1, maxLength: 8 },
      ),
    }),
    { minLength: 3, maxLength: 8 },
  ),
});

describeRedis(
  'the queue of several processes',
  () => {
    const target = useAnyRedis();
    let clients: Redis[];
    beforeAll(() => {
      clients = [target.client(), target.client()];
      for (const client of clients) client.setMaxListeners(100);
    });

    it(
      'serves clients that both wait alike, within 2 N longest jobs',
      async () => {
        const property = fc.asyncProperty(bursts, async ({ slots, estimates, bursts }) => {
          const simulation = new RedisSimulation(target, clients, slots);
          const drift = new Drift(simulation, Object.fromEntries(WEIGHTS.map((weight, i) => [`client-${i}`, weight])));
          simulation.observe = () => drift.observe();
          let at = 0;
          let longest = 0;
          for (const { client, process, pause, jobs } of bursts) {
            at += pause;
            for (const { length, patience } of jobs) {
              longest = Math.max(longest, length);
              const estimate = estimates === undefined ? undefined : estimates * length;
              const job: Job = { client: `client-${client}`, weight: WEIGHTS[client] ?? 1, length, estimate, patience };
              simulation.at(at, () => simulation.arrive(job, process));
            }
          }
          await simulation.run();
          await simulation.stop();
          expect(drift.worst).toBeLessThanOrEqual((2 * slots * longest) / Math.min(...WEIGHTS) + 1e-6);
          expect(simulation.visits.map(({ ends }) => ends)).toEqual(
            simulation.visits.map(({ ends }) => [ends[0] === 'left' ? 'left' : 'done']),
          );
          expect(simulation.mostRunning).toBeLessThanOrEqual(slots);
        });
        await fc.assert(property, { numRuns: FAIRNESS_RUNS });
      },
      FAIRNESS_RUNS * 5000 + 30_000,
    );

    it(
      'ends every waiting exactly once, among arrivals, departures and crashes',
      async () => {
        const count: Partial<Record<End, number>> = {};
        const property = fc.asyncProperty(
          fc.array(
            fc.record({
              client: fc.nat(3),
              process: fc.nat(2),
              pause: fc.oneof(fc.constant(0), fc.nat(60), fc.nat(400)),
              length: fc.integer({ min: 1, max: 200 }),
              patience: fc.option(fc.integer({ min: 1, max: 500 }), { nil: undefined, freq: 4 }),
              maxWait: fc.constantFrom(50, 500, 5000),
              crashes: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
            }),
            { minLength: 50, maxLength: 50 },
          ),
          fc.integer({ min: 1, max: 3 }),
          async (arrivals, slots) => {
            const own = [target.client(), target.client(), target.client()];
            const simulation = new RedisSimulation(target, own, slots, 6);
            let at = 0;
            for (const { client, process, pause, crashes, ...job } of arrivals) {
              at += pause;
              simulation.at(at, () => {
                simulation.arrive({ ...job, client: `client-${client}`, weight: WEIGHTS[client] ?? 1 }, process);
                if (crashes) simulation.crash(process + 1);
              });
            }
            // By then, the leases of what has crashed have ended. The next call forgets it.
            simulation.at(at + 60_000, () => simulation.arrive({ client: 'last', weight: 1, length: 1 }, 0));
            await simulation.run(300);
            await simulation.stop();
            for (const { ends } of simulation.visits) {
              expect(ends).toHaveLength(1);
              count[ends[0] as End] = (count[ends[0] as End] ?? 0) + 1;
            }
            // What is known of the jobs stays for a while.
            expect(Number(await target.cli('PTTL', simulation.key))).toBeGreaterThan(0);
            expect(await tickets(target, simulation.key)).toBe(0);
          },
        );
        await fc.assert(property, { numRuns: Math.ceil(ARRIVALS / 50), endOnFailure: true });
        console.log(`${ARRIVALS} arrivals over Redis: ${JSON.stringify(count)}`);
      },
      ARRIVALS * 200 + 30_000,
    );
  },
  { anyServer: true },
);

/** How many tickets Redis still has. */
async function tickets(target: RedisTarget, key: string): Promise<number> {
  const script = `
    local raw = redis.call('GET', KEYS[1])
    return raw and #cmsgpack.unpack(string.sub(raw, #'gatewarden-queue-1:' + 1)).tickets or 0`;
  return Number(await target.cli('EVAL', script, '1', key));
}
