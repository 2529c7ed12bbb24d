import type { FileBytes } from './frame-reader.js';

/** Reads the records of a file, one after the other. */
export class RecordReader {
  readonly words: Uint32Array;
  readonly numbers: Float64Array;
  /** The next byte. */
  at = 0;
  readonly #file: FileBytes;
  readonly #fault: (what: string, at: number) => Error;

  constructor(file: FileBytes, fault: (what: string, at: number) => Error) {
    this.#file = file;
    this.#fault = fault;
    this.words = file.words;
    this.numbers = file.numbers;
  }

  word(): number {
    const word = this.words[this.at / 4];
    this.at += 4;
    return word as number;
  }

  number(): number {
    const number = this.numbers[this.at / 8];
    this.at += 8;
    return number as number;
  }

  /** Passes over bytes. Returns where they begin. */
  skip(bytes: number): number {
    const start = this.at;
    this.at += bytes;
    if (this.at > this.#file.bytes.length) throw this.fault('a record that is too long');
    return start;
  }

  /** A key, and the number beside it. */
  key(): { readonly key: string; readonly number: number } {
    const info = this.word();
    const number = this.word();
    const length = Math.floor(info / 2);
    const isWide = info % 2 === 1;
    const bytes = isWide ? 2 * length : length;
    const start = this.skip((bytes + 7) & ~7);
    return { key: this.#file.bytes.toString(isWide ? 'utf16le' : 'latin1', start, start + bytes), number };
  }

  text(bytes: number): string {
    const start = this.skip((bytes + 7) & ~7);
    return this.#file.bytes.toString('utf8', start, start + bytes);
  }

  /** The error for a record that cannot be used. */
  fault(what: string): Error {
    return this.#fault(what, this.at);
  }
}
