/** Entries of one chunk. Every block size divides it, so that no block spans two chunks. */
const CHUNK_BITS = 14;
const CHUNK = 1 << CHUNK_BITS;
const MASK = CHUNK - 1;
const NONE = -1;

/**
 * The largest block holds 2 ** MAX_SIZE_CLASS entries: 512 exact ones, and the at most 129 ticks of a window whose limit
 * was meanwhile raised above 512 under the same policy id.
 */
export const MAX_SIZE_CLASS = 10;

/**
 * Memory for the window entries of all keys: a time and the quota units charged then, twelve bytes an entry. Blocks of
 * 1, 2, 4 up to 1024 entries are cut from shared chunks. A key that makes one request occupies one entry, and no key has
 * an object or an array of its own for the garbage collector to follow.
 */
export class EntrySlab {
  readonly #times: Float64Array[] = [];
  readonly #units: Uint32Array[] = [];
  /** The first free block of each size. Its units hold the number of the next free block, plus one. */
  readonly #free = new Int32Array(MAX_SIZE_CLASS + 1).fill(NONE);
  #next = 0;

  /** Allocates a block of 2 ** sizeClass entries. Their content is undefined. */
  allocate(sizeClass: number): number {
    const reused = this.#free[sizeClass] as number;
    if (reused !== NONE) {
      this.#free[sizeClass] = this.units(reused) - 1;
      return reused;
    }
    const size = 1 << sizeClass;
    // Blocks start at multiples of their size. What is skipped becomes free blocks of smaller sizes.
    while ((this.#next & (size - 1)) !== 0) {
      const skipped = 31 - Math.clz32(this.#next & -this.#next);
      this.release(this.#next, skipped);
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

  /** Frees a block of 2 ** sizeClass entries. */
  release(block: number, sizeClass: number): void {
    this.write(block, 0, (this.#free[sizeClass] as number) + 1);
    this.#free[sizeClass] = block;
  }

  // Entries are never outside the chunks, and a check would double the cost of each read.

  /** The times of the chunk that a block is in. Entry `n` of the block is at `placeInChunk(block) + n`. */
  timesOf(block: number): Float64Array {
    return this.#times[block >> CHUNK_BITS] as Float64Array;
  }

  /** The units of the chunk that a block is in. */
  unitsOf(block: number): Uint32Array {
    return this.#units[block >> CHUNK_BITS] as Uint32Array;
  }

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

/** Where a block begins in its chunk. */
export function placeInChunk(block: number): number {
  return block & MASK;
}
