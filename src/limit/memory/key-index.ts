/** A Map of more keys stops the process for more than 5 ms when it grows or shrinks. Measured at this size: 4 ms. */
const SHARD_SIZE = 100_000;

/** A map from partition keys to slots. It has enough shards that growing or shrinking one of them takes little time. */
export class KeyIndex {
  readonly #shards: readonly Map<string, number>[];

  constructor(maxEntries: number) {
    // A power of two, and twice as many shards as evenly spread keys would need.
    const shards = maxEntries <= SHARD_SIZE ? 1 : 2 ** Math.ceil(Math.log2((2 * maxEntries) / SHARD_SIZE));
    this.#shards = Array.from({ length: shards }, () => new Map());
  }

  get(key: string): number | undefined {
    return this.#shard(key).get(key);
  }

  set(key: string, slot: number): void {
    this.#shard(key).set(key, slot);
  }

  delete(key: string): void {
    this.#shard(key).delete(key);
  }

  #shard(key: string): Map<string, number> {
    const last = this.#shards.length - 1;
    if (last === 0) return this.#shards[0] as Map<string, number>;
    // FNV-1a over the UTF-16 units. Keys chosen to fall into one shard make that Map slower and do no other harm.
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return this.#shards[(hash ^ (hash >>> 15)) & last] as Map<string, number>;
  }
}
