import type { QuotaPolicy } from '../../policy.js';
import { placeOf, SEGMENT, Segments } from '../segments.js';

/** What a journal has of the counters of one policy. */
export class KnownCounters {
  /** The number of the file in which they were last declared. */
  declaredIn = -1;
  /** Generations plus one of the slots whose keys were written. */
  readonly #slots = new Segments(() => new Uint32Array(SEGMENT));

  constructor(
    /** Names them in records. */
    readonly id: number,
    /** The policy as it was last declared. */
    public policy: QuotaPolicy,
    /** The keys of the slots. Undefined if keys share the counters. */
    readonly keys: { keyOf(slot: number): string } | undefined,
    /** What assigns keys to shared counters. */
    readonly shared: { readonly secret: string; readonly count: number } | undefined,
    /** Whether they are written at all. */
    readonly areWritten: boolean,
  ) {}

  /** Whether the key of a slot was written since the slot has this generation. */
  has(slot: number, generation: number): boolean {
    return this.#slots.get(slot)?.[placeOf(slot)] === generation + 1;
  }

  add(slot: number, generation: number): void {
    this.#slots.of(slot)[placeOf(slot)] = generation + 1;
  }

  /** The next record of a slot is preceded by its key again. */
  forget(slot: number): void {
    const slots = this.#slots.get(slot);
    if (slots !== undefined) slots[placeOf(slot)] = 0;
  }
}
