/** Entries of one chunk. Every block size divides it, so that no block lies across two chunks. */
const CHUNK_BITS = 14;
const CHUNK = 1 << CHUNK_BITS;
const MASK = CHUNK - 1;
const NONE = -1;

/**
 * The largest block holds 2 ** MAX_SIZE_CLASS entries: 512 exact ones, and beside them the ticks of a window (at most
 * 129) where the limit of one policy id was raised above 512 meanwhile.
 */
export const MAX_SIZE_CLASS = 10;

/**
 * Room for the window entries (a time and the quota units admitted then) of all keys together: blocks of 1, 2, 4 up to
 * 1024 entries cut from shared chunks, twelve bytes an entry. A key that makes one request pays for one entry, and no
 * key has an object or an array of its own for the garbage collector to follow.
 */
export class EntrySlab {
  readonly #times: Float64Array[] = [];
  readonly #units: Uint32Array[] = [];
  /** First free block of each size; each holds the next one's number, plus one, as its units. */
  readonly #free = new Int32Array(MAX_SIZE_CLASS + 1).fill(NONE);
  #next = 0;

  /** Takes a block of 2 ** sizeClass entries; what they hold is not defined. */
  take(sizeClass: number): number {
    const reused = this.#free[sizeClass] as number;
    if (reused !== NONE) {
      this.#free[sizeClass] = this.units(reused) - 1;
      return reused;
    }
    const size = 1 << sizeClass;
    // Blocks lie at multiples of their size; what is skipped serves smaller ones.
    while ((this.#next & (size - 1)) !== 0) {
      const skipped = 31 - Math.clz32(this.#next & -this.#next);
      this.give(this.#next, skipped);
      this.#next += 1 << skipped;
    }
    if (this.#next >> CHUNK_BITS >= this.#times.length) {
      this.#times.push(new Float64Array(CHUNK));
      this.#units.push(new Uint32Array(CHUNK));
    }
    const block = this.#next;
    this.#next += size;
    return block;
  }

  give(block: number, sizeClass: number): void {
    this.write(block, 0, (this.#free[sizeClass] as number) + 1);
    this.#free[sizeClass] = block;
  }

  // An index outside a chunk cannot come about, and a check of each read would be half of its cost.
  time(entry: number): number {
    return (this.#times[entry >> CHUNK_BITS] as Float64Array)[entry & MASK] as number;
  }

  units(entry: number): number {
    return (this.#units[entry >> CHUNK_BITS] as Uint32Array)[entry & MASK] as number;
  }

  write(entry: number, time: number, units: number): void {
    (this.#times[entry >> CHUNK_BITS] as Float64Array)[entry & MASK] = time;
    (this.#units[entry >> CHUNK_BITS] as Uint32Array)[entry & MASK] = units;
  }
}
