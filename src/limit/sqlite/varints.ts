const MORE = 128;
/** Below this, whole numbers fit the bit operations. */
const SMALL = 2 ** 31;
/** The most bytes of one number: 53 bits, seven to a byte. */
const MOST_BYTES = 8;

/** Writes whole numbers from 0 to 2 ** 53 - 1, seven bits to a byte, the lowest first. */
export class NumberWriter {
  #bytes = new Uint8Array(512);
  #at = 0;

  /** Starts again. What `bytes` returned before is overwritten. */
  restart(): void {
    this.#at = 0;
  }

  write(value: number): void {
    if (this.#at + MOST_BYTES > this.#bytes.length) this.#grow();
    let rest = value;
    while (rest >= SMALL) {
      this.#bytes[this.#at++] = MORE | (rest % MORE);
      rest = Math.floor(rest / MORE);
    }
    while (rest >= MORE) {
      this.#bytes[this.#at++] = MORE | (rest & 127);
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  /** What was written. Valid until the next `restart`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}

/** Reads what a `NumberWriter` has written. */
export class NumberReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws RangeError if the bytes end, or are not a number */
  read(): number {
    let byte = this.#next();
    if (byte < MORE) return byte;
    let value = byte & 127;
    let factor = MORE;
    do {
      byte = this.#next();
      value += (byte & 127) * factor;
      factor *= MORE;
    } while (byte >= MORE && factor <= Number.MAX_SAFE_INTEGER);
    if (byte >= MORE || !Number.isSafeInteger(value)) throw new RangeError('not a number');
    return value;
  }

  #next(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new RangeError('the bytes end too early');
    return byte;
  }
}
