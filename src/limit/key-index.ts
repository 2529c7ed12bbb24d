const SHARDS = 64;

/**
 * A map from partition keys to slots, in shards: a JavaScript Map of a million keys stops the process for tens of
 * milliseconds when it grows or shrinks, 64 of them do so one at a time and in a small part of that.
 */
export class KeyIndex {
  readonly #shards: Map<string, number>[] = Array.from({ length: SHARDS }, () => new Map());

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
    // A few characters spread addresses, /64 prefixes and ids well enough; uneven shards are only slower to grow.
    const n = key.length;
    const hash =
      key.charCodeAt(n - 1) +
      key.charCodeAt(n - 2) * 7 +
      key.charCodeAt(n - 3) * 31 +
      key.charCodeAt(n - 6) * 5 +
      key.charCodeAt(n - 7) * 17 +
      key.charCodeAt(n >> 1) * 3;
    return this.#shards[hash & (SHARDS - 1)] as Map<string, number>;
  }
}
