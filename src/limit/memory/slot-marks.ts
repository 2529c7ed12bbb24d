import { placeOf, SEGMENT, Segments } from './segments.js';

// Two numbers of each slot:
const NUMBERS = 2;
/** The limit under which the slot was last charged. Zero for a slot without a counter. */
const LIMIT = 0;
const GENERATION = 1;

/** What is known of each counter besides its log and its holds. */
export class SlotMarks {
  readonly #segments = new Segments(() => new Uint32Array(NUMBERS * SEGMENT));

  /** Notes the limit under which a slot was charged last. Returns its generation. */
  mark(slot: number, limit: number): number {
    const numbers = this.#segments.of(slot);
    const d = placeOf(slot) * NUMBERS;
    numbers[d + LIMIT] = limit;
    return numbers[d + GENERATION] as number;
  }

  /** Zero for a slot without a counter. */
  limit(slot: number): number {
    return this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + LIMIT] ?? 0;
  }

  /** Changes with each `clear`. */
  generation(slot: number): number {
    return this.#segments.get(slot)?.[placeOf(slot) * NUMBERS + GENERATION] ?? 0;
  }

  clear(slot: number): void {
    const numbers = this.#segments.of(slot);
    const d = placeOf(slot) * NUMBERS;
    numbers[d + LIMIT] = 0;
    numbers[d + GENERATION] = (numbers[d + GENERATION] as number) + 1;
  }
}
