import { RuleBroken, type WorkerProbe } from './worker-probe.js';

/** One rule of the contract, and how a worker is tested for it. */
export interface WorkerRule {
  readonly name: string;
  /** What a worker must do. */
  readonly rule: string;
  /** Whether it can be checked on this worker. Default yes; a text says why not. */
  readonly skipped?: (probe: WorkerProbe) => string | undefined;
  /** @throws RuleBroken if the worker breaks the rule */
  readonly check: (probe: WorkerProbe) => Promise<void>;
}

/** @throws RuleBroken unless `held` */
export function must(held: boolean, whatHappened: string): asserts held {
  if (!held) throw new RuleBroken(whatHappened);
}
