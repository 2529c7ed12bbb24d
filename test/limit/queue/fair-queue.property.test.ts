import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Drift } from './fairness.js';
import { type Job, Simulation, seeded } from './simulation.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 150);
const LONG = { timeout: 60_000 + RUNS * 60 };

const WEIGHTS = [1, 1, 2, 0.5, 3];

/** Jobs of up to five clients: bursts, pauses, clients that leave while they wait, and some that come one at a time. */
const load = fc.record({
  slots: fc.constantFrom(1, 2, 4),
  weights: fc.array(fc.constantFrom(...WEIGHTS), { minLength: 2, maxLength: 5 }),
  bursts: fc.array(
    fc.record({
      client: fc.nat(4),
      pause: fc.oneof(fc.nat(300), fc.nat(3000)),
      jobs: fc.array(
        fc.record({
          length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constantFrom(1, 50, 100)),
          patience: fc.option(fc.nat(2000)),
        }),
        { minLength: 1, maxLength: 15 },
      ),
    }),
    { minLength: 5, maxLength: 40 },
  ),
  loops: fc.array(
    fc.record({
      client: fc.nat(4),
      length: fc.integer({ min: 1, max: 100 }),
      think: fc.constantFrom(0, 0, 1, 30),
      times: fc.integer({ min: 5, max: 40 }),
    }),
    { maxLength: 4 },
  ),
});

type Load = typeof load extends fc.Arbitrary<infer T> ? T : never;

/** Plays a load. Returns how far two clients drifted apart that both waited, and how far they may. */
function play(
  { slots, weights, bursts, loops }: Load,
  estimates: number | undefined,
): { worst: number; bound: number } {
  const simulation = new Simulation(slots);
  const names = weights.map((_, i) => `client-${i}`);
  const drift = new Drift(simulation, Object.fromEntries(names.map((name, i) => [name, weights[i] as number])));
  simulation.observe = () => drift.observe();
  let at = 0;
  let longest = 0;
  for (const { client, pause, jobs } of bursts) {
    at += pause;
    const i = client % weights.length;
    for (const { length, patience } of jobs) {
      longest = Math.max(longest, length);
      const job: Job = {
        client: names[i] as string,
        weight: weights[i] as number,
        length,
        ...(patience === null ? {} : { patience }),
        ...(estimates === undefined ? {} : { estimate: length * estimates }),
      };
      simulation.at(at, () => simulation.arrive(job));
    }
  }
  for (const { client, length, think, times } of loops) {
    const i = client % weights.length;
    longest = Math.max(longest, length);
    let left = times;
    const come = (): void => {
      if (left-- === 0) return;
      const job = { client: names[i] as string, weight: weights[i] as number, length };
      simulation.arrive(job, () => simulation.at(simulation.now + think, come));
    };
    simulation.at(0, come);
  }
  simulation.run();
  return { worst: drift.worst, bound: (2 * slots * longest) / Math.min(...weights) };
}

describe('a fair queue', () => {
  it.each([undefined, 0, 0.3, 3])(
    'serves clients that both wait alike, within 2 N longest jobs, with estimates x %s',
    LONG,
    (estimates) => {
      fc.assert(
        fc.property(load, (one) => {
          const { worst, bound } = play(one, estimates);
          expect(worst).toBeLessThanOrEqual(bound + 1e-6);
        }),
        { numRuns: RUNS },
      );
    },
  );

  it('admits, refuses or lets go each of 10,000 random arrivals exactly once, and keeps nothing', () => {
    const random = seeded(Number(process.env.PROPERTY_SEED ?? 1));
    const simulation = new Simulation(3, 12);
    const pick = <T>(...values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
    for (let i = 0, at = 0; i < 10_000; i++) {
      at += Math.floor(random() * pick(5, 40, 60));
      const job: Job = {
        client: `client-${Math.floor(random() * pick(3, 30))}`,
        weight: pick(0.5, 1, 4),
        length: Math.ceil(random() * pick(20, 200, 300)),
        maxWait: Math.floor(random() * pick(100, 2000, 10_000)),
        ...(random() < 0.3 ? { patience: Math.floor(random() * 500) } : {}),
        ...(random() < 0.3 ? { estimate: Math.floor(random() * 200) } : {}),
        isHeldBack: random() < 0.1,
      };
      simulation.at(at, () => void simulation.arrive(job));
    }
    simulation.run();
    const ends = new Map<string, number>();
    for (const { ends: found } of simulation.visits) {
      const end = found.join(' and ');
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    expect([...ends.keys()].toSorted()).toEqual(['done', 'full', 'left', 'pushed-out', 'timeout']);
    expect(Math.min(...ends.values())).toBeGreaterThan(50);
    const { waiting, taken, clients } = simulation.queue;
    expect([simulation.visits.length, waiting, taken, clients]).toEqual([10_000, 0, 0, 0]);
  });
});
