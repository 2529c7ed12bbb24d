import { randomBytes } from 'node:crypto';

/**
 * Hashes partition keys with secret numbers, so that a client cannot choose keys with the same hash. Each store has its own.
 */
export class KeyHash {
  /** Chosen at the first use, since not every runtime has random numbers while it loads a program. */
  #isSeeded = false;
  #even = 0;
  #odd = 0;
  #factor = 0;
  #join = 0;

  /** 32 bits, signed. */
  of(key: string): number {
    if (!this.#isSeeded) this.#seed();
    const factor = this.#factor;
    const length = key.length;
    // The units of UTF-16 in two sums, which a processor computes side by side. What one unit changes is multiplied by a
    // number that no client knows before the next unit could undo it.
    let even = this.#even ^ length;
    let odd = this.#odd;
    let i = 1;
    for (; i < length; i += 2) {
      even = Math.imul(even ^ key.charCodeAt(i - 1), factor);
      odd = Math.imul(odd ^ key.charCodeAt(i), factor);
    }
    if (i === length) even = Math.imul(even ^ key.charCodeAt(i - 1), factor);
    // The low bits of both only depend on low bits, so they are mixed.
    let hash = Math.imul(even ^ (even >>> 15), this.#join) ^ odd;
    hash = Math.imul(hash ^ (hash >>> 13), 0x85ebca6b);
    return hash ^ (hash >>> 16);
  }

  #seed(): void {
    const secret = randomBytes(16);
    this.#even = secret.readInt32LE(0);
    this.#odd = secret.readInt32LE(4);
    // Odd, so that multiplying by it loses nothing, and 3 more than a multiple of 8, so that all bits are reached.
    this.#factor = (secret.readInt32LE(8) & ~7) | 3;
    this.#join = secret.readInt32LE(12) | 1;
    this.#isSeeded = true;
  }
}
