const PIECE_BITS = 12;
const PIECE_MASK = (1 << PIECE_BITS) - 1;

/** The partition key of each slot. In pieces: one array of a million keys would stop the process each time it grows. */
export class SlotKeys {
  readonly #pieces: string[][] = [];

  get(slot: number): string {
    return this.#pieces[slot >> PIECE_BITS]?.[slot & PIECE_MASK] as string;
  }

  set(slot: number, key: string): void {
    const pieces = this.#pieces;
    // Filled up from the front, as slots may be given away in any order: a list with holes is slow.
    while (pieces.length <= slot >> PIECE_BITS) pieces.push([]);
    const piece = pieces[slot >> PIECE_BITS] as string[];
    const i = slot & PIECE_MASK;
    while (piece.length < i) piece.push('');
    piece[i] = key;
  }
}

/** V8 copies substrings that are shorter than this. A longer one keeps the string it was cut from alive. */
const SHORTEST_SLICE = 13;
const ROOM = 256;

/** Copies keys, so that a counter does not keep the long header alive that its key was cut from. */
export class KeyCopier {
  /** Made once: a buffer for each new key would be most of the garbage that new keys make. */
  #room: Buffer | undefined = undefined;

  /** The same key in memory of its own. */
  copy(key: string): string {
    if (key.length < SHORTEST_SLICE) return key;
    if (key.length <= ROOM) {
      this.#room ??= Buffer.allocUnsafeSlow(ROOM);
      const latin1 = this.#room.toString('latin1', 0, this.#room.write(key, 'latin1'));
      if (latin1 === key) return latin1;
    }
    const latin1 = Buffer.from(key, 'latin1').toString('latin1');
    return latin1 === key ? latin1 : Buffer.from(key, 'utf16le').toString('utf16le');
  }
}
