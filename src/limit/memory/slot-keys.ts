const PIECE_BITS = 12;
const PIECE_MASK = (1 << PIECE_BITS) - 1;

/** The partition key of each slot. In pieces: one array of a million keys would stop the process each time it grows. */
export class SlotKeys {
  readonly #pieces: string[][] = [];

  get(slot: number): string {
    return this.#pieces[slot >> PIECE_BITS]?.[slot & PIECE_MASK] as string;
  }

  set(slot: number, key: string): void {
    const piece = this.#pieces[slot >> PIECE_BITS];
    if (piece === undefined) this.#pieces[slot >> PIECE_BITS] = [key];
    else piece[slot & PIECE_MASK] = key;
  }
}

/** V8 copies substrings that are shorter than this. A longer one keeps the string it was cut from alive. */
const SHORTEST_SLICE = 13;

/** The same key in memory of its own, so that it does not keep a long header alive. */
export function detachedKey(key: string): string {
  if (key.length < SHORTEST_SLICE) return key;
  const latin1 = Buffer.from(key, 'latin1').toString('latin1');
  return latin1 === key ? latin1 : Buffer.from(key, 'utf16le').toString('utf16le');
}
