import type { Simulation } from './simulation.js';

/**
 * Follows how far the worker time per weight of two clients drifts apart while both wait. Each interval in which both wait
 * is covered: within one, the difference is largest between its extremes.
 */
export class Drift {
  /** The worst of all pairs, in milliseconds of worker time per weight. */
  worst = 0;
  readonly #simulation: Pick<Simulation, 'waiting' | 'served'>;
  readonly #clients: readonly { readonly id: string; readonly weight: number }[];
  readonly #since = new Map<string, { least: number; most: number }>();

  constructor(simulation: Pick<Simulation, 'waiting' | 'served'>, weights: Readonly<Record<string, number>>) {
    this.#simulation = simulation;
    this.#clients = Object.entries(weights).map(([id, weight]) => ({ id, weight }));
  }

  /** After each event. */
  observe(): void {
    const { waiting, served } = this.#simulation;
    this.#clients.forEach((a, i) => {
      for (const b of this.#clients.slice(i + 1)) {
        const pair = `${a.id} ${b.id}`;
        const apart = (served.get(a.id) ?? 0) / a.weight - (served.get(b.id) ?? 0) / b.weight;
        const known = this.#since.get(pair);
        // The event that ends an interval is still part of it: until then both waited.
        if (known !== undefined) {
          known.least = Math.min(known.least, apart);
          known.most = Math.max(known.most, apart);
          this.worst = Math.max(this.worst, known.most - known.least);
        }
        const bothWait = waiting.has(a.id) && waiting.has(b.id);
        if (!bothWait) this.#since.delete(pair);
        else if (known === undefined) this.#since.set(pair, { least: apart, most: apart });
      }
    });
  }
}
