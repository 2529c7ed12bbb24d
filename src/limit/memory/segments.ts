/** Slots of one segment. Small, so that the next one is made without a pause, and a small service takes little memory. */
export const SEGMENT = 4096;
const BITS = 12;
const MASK = SEGMENT - 1;

/**
 * Columns for any number of slots, in segments that are made when a slot of theirs is first written. Nothing is ever copied
 * to grow.
 */
export class Segments<Columns> {
  readonly #make: () => Columns;
  readonly #segments: (Columns | undefined)[] = [];

  constructor(make: () => Columns) {
    this.#make = make;
  }

  /** The columns of a slot, or undefined if none of its segment was written yet. */
  get(slot: number): Columns | undefined {
    return this.#segments[slot >> BITS];
  }

  /** The columns of a slot, to write to. */
  of(slot: number): Columns {
    return this.#segments[slot >> BITS] ?? this.#add(slot >> BITS);
  }

  #add(number: number): Columns {
    // Filled up from the front, since a list with holes is slow.
    while (this.#segments.length <= number) this.#segments.push(undefined);
    const columns = this.#make();
    this.#segments[number] = columns;
    return columns;
  }
}

/** The place of a slot in the columns of its segment. */
export function placeOf(slot: number): number {
  return slot & MASK;
}
