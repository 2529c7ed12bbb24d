import type { SlotKeys } from './slot-keys.js';

const NONE = -1;

/**
 * Finds the slot of a key: a hash table with linear probing. Two numbers for each key, at most half of the places in use, and
 * no object for the garbage collector to follow. Unlike a Map, it only grows when it is told to, and never shrinks.
 */
export class KeyIndex {
  readonly #keys: SlotKeys;
  /** Pairs of a hash and a slot plus one, which is zero in a free place. Side by side, so that a search reads one place. */
  #places = new Int32Array(0);
  /** Of the index of a pair's first number, which is even. */
  #mask = NONE;

  constructor(keys: SlotKeys) {
    this.#keys = keys;
  }

  /** Makes room for `count` keys. */
  grow(count: number): void {
    const old = this.#places;
    const length = 4 * 2 ** Math.ceil(Math.log2(count));
    this.#places = new Int32Array(length);
    this.#mask = length - 2;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0) this.add(old[i] as number, (old[i + 1] as number) - 1);
    }
  }

  /** The slot of a key, or -1. */
  find(hash: number, key: string): number {
    const places = this.#places;
    const mask = this.#mask;
    if (mask === NONE) return NONE;
    for (let i = (hash << 1) & mask; ; i = (i + 2) & mask) {
      const slot = (places[i + 1] as number) - 1;
      if (slot === NONE) return NONE;
      if (places[i] === hash && this.#keys.get(slot) === key) return slot;
    }
  }

  /** Adds a key that the index does not have. */
  add(hash: number, slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let i = (hash << 1) & mask;
    while (places[i + 1] !== 0) i = (i + 2) & mask;
    places[i] = hash;
    places[i + 1] = slot + 1;
  }

  /** Removes a key that the index has. */
  delete(hash: number, slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let hole = (hash << 1) & mask;
    while (places[hole + 1] !== slot + 1) hole = (hole + 2) & mask;
    // What follows moves up if it may stand there, so that no search ends at the hole.
    for (let i = (hole + 2) & mask; places[i + 1] !== 0; i = (i + 2) & mask) {
      const home = ((places[i] as number) << 1) & mask;
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      places[hole] = places[i] as number;
      places[hole + 1] = places[i + 1] as number;
      hole = i;
    }
    places[hole + 1] = 0;
  }
}
