/** Hashes partition keys with a secret seed, so that a client cannot choose keys with the same hash. Each store has its own. */
export class KeyHash {
  /** Chosen at the first use, since not every runtime has random numbers while it loads a program. */
  #seed = 0;

  /** 32 bits, signed. */
  of(key: string): number {
    if (this.#seed === 0) this.#seed = 1 + Math.floor(Math.random() * 0x7fffffff);
    let hash = this.#seed;
    // FNV-1a over the UTF-16 units, and then mixed, since the low bits of FNV only depend on low bits.
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 13), 0x85ebca6b);
    return hash ^ (hash >>> 16);
  }
}
