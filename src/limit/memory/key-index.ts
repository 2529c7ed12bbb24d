import type { SlotKeys } from './slot-keys.js';

const NONE = -1;

/**
 * Finds the slot of a key: a hash table with linear probing. Two numbers for each key, at most half of them in use, and no
 * object for the garbage collector to follow. Unlike a Map, it only grows when it is told to, and never shrinks.
 */
export class KeyIndex {
  readonly #keys: SlotKeys;
  #hashes = new Int32Array(0);
  /** Each slot plus one. Zero where there is none. */
  #slots = new Int32Array(0);
  #mask = -1;

  constructor(keys: SlotKeys) {
    this.#keys = keys;
  }

  /** Makes room for `count` keys. */
  grow(count: number): void {
    const [hashes, slots] = [this.#hashes, this.#slots];
    const length = 2 ** Math.ceil(Math.log2(2 * count));
    this.#hashes = new Int32Array(length);
    this.#slots = new Int32Array(length);
    this.#mask = length - 1;
    for (let i = 0; i < slots.length; i++) {
      if (slots[i] !== 0) this.add(hashes[i] as number, (slots[i] as number) - 1);
    }
  }

  /** The slot of a key, or -1. */
  find(hash: number, key: string): number {
    const mask = this.#mask;
    if (mask === -1) return NONE;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const slot = (this.#slots[i] as number) - 1;
      if (slot === NONE) return NONE;
      if (this.#hashes[i] === hash && this.#keys.get(slot) === key) return slot;
    }
  }

  /** Adds a key that the index does not have. */
  add(hash: number, slot: number): void {
    let i = hash & this.#mask;
    while (this.#slots[i] !== 0) i = (i + 1) & this.#mask;
    this.#hashes[i] = hash;
    this.#slots[i] = slot + 1;
  }

  /** Removes a key that the index has. */
  delete(hash: number, slot: number): void {
    const mask = this.#mask;
    let hole = hash & mask;
    while (this.#slots[hole] !== slot + 1) hole = (hole + 1) & mask;
    // What follows moves up if it may stand there, so that no search ends at the hole.
    for (let i = (hole + 1) & mask; this.#slots[i] !== 0; i = (i + 1) & mask) {
      const home = (this.#hashes[i] as number) & mask;
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      this.#hashes[hole] = this.#hashes[i] as number;
      this.#slots[hole] = this.#slots[i] as number;
      hole = i;
    }
    this.#slots[hole] = 0;
  }
}
