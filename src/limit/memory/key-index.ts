/** A Map of more keys stops the process for more than 5 ms when it grows or shrinks. Measured at this size: 4 ms. */
const SHARD_SIZE = 100_000;
/** Keys that move to the shards with each new one. */
const MOVED_AT_ONCE = 4;

/**
 * A map from partition keys to slots. One Map while it is small. A larger one is divided, step by step, into shards, each
 * small enough that growing or shrinking it takes little time.
 */
export class KeyIndex {
  readonly #shardCount: number;
  #shards: readonly Map<string, number>[] = [];
  /** All keys, or after the division those that have not moved yet. */
  #whole: Map<string, number> | undefined = new Map();
  #moving: Iterator<[string, number]> | undefined = undefined;
  #seed = 0;

  constructor(maxEntries: number) {
    // A power of two, and twice as many shards as evenly spread keys would need.
    this.#shardCount = maxEntries <= SHARD_SIZE ? 1 : 2 ** Math.ceil(Math.log2((2 * maxEntries) / SHARD_SIZE));
  }

  get(key: string): number | undefined {
    if (this.#shards.length === 0) return this.#whole?.get(key);
    return this.#shard(key).get(key) ?? this.#whole?.get(key);
  }

  /** Adds a key that the index does not have. */
  add(key: string, slot: number): void {
    const whole = this.#whole;
    if (whole !== undefined && this.#shards.length === 0) {
      whole.set(key, slot);
      if (whole.size === SHARD_SIZE && this.#shardCount > 1) this.#divide(whole);
      return;
    }
    this.#shard(key).set(key, slot);
    for (let i = 0; i < MOVED_AT_ONCE && this.#whole !== undefined; i++) this.#moveOne(this.#whole);
  }

  delete(key: string): void {
    if (this.#shards.length === 0 || !this.#shard(key).delete(key)) this.#whole?.delete(key);
  }

  #divide(whole: Map<string, number>): void {
    // Nobody can choose keys that all fall into one shard.
    this.#seed = Math.floor(Math.random() * 2 ** 32);
    this.#shards = Array.from({ length: this.#shardCount }, () => new Map());
    this.#moving = whole.entries();
  }

  #moveOne(whole: Map<string, number>): void {
    const next = this.#moving?.next();
    if (next === undefined || next.done === true) {
      this.#whole = undefined;
      this.#moving = undefined;
      return;
    }
    const [key, slot] = next.value;
    this.#shard(key).set(key, slot);
    whole.delete(key);
  }

  #shard(key: string): Map<string, number> {
    // FNV-1a over the UTF-16 units, from a secret start.
    let hash = 0x811c9dc5 ^ this.#seed;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return this.#shards[(hash ^ (hash >>> 15)) & (this.#shardCount - 1)] as Map<string, number>;
  }
}
