import type { SlotKeys } from './slot-keys.js';

const NONE = -1;
/** Keys of one shard, so that growing it takes little time. */
const SHARD_SIZE = 16_384;
const FIRST_PLACES = 16;

/** Finds the slot of a key. The keys are spread over shards by the first bits of their hashes. */
export class KeyIndex {
  readonly #shards: readonly Shard[];
  /** How many bits of a hash are not the number of its shard. */
  readonly #shift: number;

  constructor(keys: SlotKeys, maxEntries: number) {
    const bits = Math.max(0, Math.ceil(Math.log2(maxEntries / SHARD_SIZE)));
    this.#shift = 31 - bits;
    this.#shards = Array.from({ length: 2 ** bits }, () => new Shard(keys));
  }

  /** The slot of a key, or -1. */
  find(hash: number, key: string): number {
    return this.#shard(hash).find(hash, key);
  }

  /** Adds a key that the index does not have. */
  add(hash: number, slot: number): void {
    this.#shard(hash).add(hash, slot);
  }

  /** Removes a key that the index has. */
  delete(hash: number, slot: number): void {
    this.#shard(hash).delete(hash, slot);
  }

  #shard(hash: number): Shard {
    return this.#shards[(hash >>> 1) >>> this.#shift] as Shard;
  }
}

/**
 * A hash table with linear probing. At most half of its places are in use, and there is no object for the garbage collector
 * to follow. Unlike a Map, it never shrinks.
 */
class Shard {
  readonly #keys: SlotKeys;
  /** Pairs of a hash and a slot plus one, which is zero in a free place. Side by side, so that a search reads one place. */
  #places = new Int32Array(2 * FIRST_PLACES);
  /** Of the index of a pair's first number, which is even. */
  #mask = 2 * FIRST_PLACES - 2;
  #count = 0;

  constructor(keys: SlotKeys) {
    this.#keys = keys;
  }

  find(hash: number, key: string): number {
    const places = this.#places;
    const mask = this.#mask;
    for (let i = (hash << 1) & mask; ; i = (i + 2) & mask) {
      const slot = (places[i + 1] as number) - 1;
      if (slot === NONE) return NONE;
      if (places[i] === hash && this.#keys.get(slot) === key) return slot;
    }
  }

  add(hash: number, slot: number): void {
    if (4 * ++this.#count > this.#places.length) this.#grow();
    this.#put(hash, slot + 1);
  }

  delete(hash: number, slot: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let hole = (hash << 1) & mask;
    while (places[hole + 1] !== slot + 1) hole = (hole + 2) & mask;
    // Later entries move into the gap if their probe sequence passes it. Otherwise a search would stop at the gap.
    for (let i = (hole + 2) & mask; places[i + 1] !== 0; i = (i + 2) & mask) {
      const home = ((places[i] as number) << 1) & mask;
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      places[hole] = places[i] as number;
      places[hole + 1] = places[i + 1] as number;
      hole = i;
    }
    places[hole + 1] = 0;
    this.#count--;
  }

  #put(hash: number, value: number): void {
    const places = this.#places;
    const mask = this.#mask;
    let i = (hash << 1) & mask;
    while (places[i + 1] !== 0) i = (i + 2) & mask;
    places[i] = hash;
    places[i + 1] = value;
  }

  #grow(): void {
    const old = this.#places;
    this.#places = new Int32Array(2 * old.length);
    this.#mask = this.#places.length - 2;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0) this.#put(old[i] as number, old[i + 1] as number);
    }
  }
}
