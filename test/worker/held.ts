import type { Admission, AdmissionHold } from '../../src/core/admission.js';

/** An admission that keeps what is done with it, in the order in which it is done. */
export class HeldAdmission implements Admission {
  readonly quotas = [];
  holds: readonly AdmissionHold[];
  readonly previous: Admission | undefined = undefined;
  readonly done: unknown[] = [];
  readonly #lost = new AbortController();
  #pending = 0;

  constructor(...holds: readonly Partial<AdmissionHold>[]) {
    this.holds = holds.map((hold) => ({
      policy: 'concurrency',
      kind: 'concurrency',
      isGlobal: true,
      slot: 0,
      token: Date.now(),
      lease: 30_000,
      ...hold,
    }));
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether some work must end before the holds do. */
  get isPending(): boolean {
    return this.#pending > 0;
  }

  lose(): void {
    this.#lost.abort();
  }

  settle(units: number | Readonly<Record<string, number>>): void {
    this.done.push({ settle: units });
    if (typeof units === 'object') this.holds = this.holds.filter(({ policy }) => !Object.hasOwn(units, policy));
  }

  /** How often it was told to keep its charge. */
  kept = 0;

  keep(): void {
    this.kept++;
  }

  release(): void {
    this.done.push('release');
    this.holds = [];
  }

  holdUntil(work: Promise<unknown>): void {
    this.#pending++;
    const settled = () => {
      this.#pending--;
    };
    work.then(settled, settled);
  }
}
