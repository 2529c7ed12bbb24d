import { checksum } from './checksum.js';
import { padded } from './record-kinds.js';

/**
 * Bytes before the records of a frame: the number of bytes behind them, a checksum of all that follows, the offset up to
 * which the file was on the disk for good, the number of the frame, and the time by the clock of windows.
 */
export const FRAME_HEADER = 24;
const FIRST_ROOM = 65_536;
/** From here on, the checksum of the runtime is faster than one of our own. */
const LONG = 2048;
const HIGHEST_LATIN1 = 0xff;

type Crc32 = (data: Uint8Array, before?: number) => number;

/** The seed of a frame's checksum, so that a frame of another file or of another length is none of this one. */
export function frameSeed(nonce: number, length: number): number {
  return (nonce ^ length) >>> 0;
}

/** Records that wait to be written as one frame. */
export class FrameBuffer {
  bytes = Buffer.alloc(0);
  words = new Uint32Array(0);
  numbers = new Float64Array(0);
  /** Where the next record begins. */
  #at = FRAME_HEADER;
  readonly #crc32: Crc32;

  constructor(crc32: Crc32) {
    this.#crc32 = crc32;
    this.#grow(FIRST_ROOM);
  }

  get isEmpty(): boolean {
    return this.#at === FRAME_HEADER;
  }

  /** Bytes of the frame. */
  get length(): number {
    return this.#at;
  }

  /** Makes room for a record. Returns where it begins, in steps of 8 bytes. */
  add(bytes: number): number {
    const start = this.#at;
    this.#at = start + bytes;
    if (this.#at > this.bytes.length) this.#grow(this.#at);
    return start / 8;
  }

  /** Adds a key in as few bytes as it needs: the number of its characters and whether they are wide, a number, and the key. */
  addKey(key: string, number: number): void {
    let isWide = false;
    for (let i = 0; i < key.length && !isWide; i++) isWide = key.charCodeAt(i) > HIGHEST_LATIN1;
    const bytes = isWide ? 2 * key.length : key.length;
    const n = this.add(8 + padded(bytes));
    this.words[2 * n] = key.length * 2 + (isWide ? 1 : 0);
    this.words[2 * n + 1] = number;
    // The last word may still hold bytes of an earlier frame.
    if (bytes > 0) this.numbers[n + padded(bytes) / 8] = 0;
    this.bytes.write(key, 8 * n + 8, bytes, isWide ? 'utf16le' : 'latin1');
  }

  /** Adds a text. */
  addText(text: string): void {
    const bytes = Buffer.byteLength(text);
    const n = this.add(padded(bytes));
    this.numbers[n + padded(bytes) / 8 - 1] = 0;
    this.bytes.write(text, 8 * n, bytes);
  }

  /** Completes the frame. */
  seal(nonce: number, durable: number, number: number, time: number): void {
    const { words } = this;
    const length = this.#at - FRAME_HEADER;
    words[0] = length;
    words[2] = durable;
    words[3] = number;
    this.numbers[2] = time;
    const seed = frameSeed(nonce, length);
    words[1] =
      length < LONG ? checksum(words, 2, this.#at / 4, seed) : this.#crc32(this.bytes.subarray(8, this.#at), seed);
  }

  clear(): void {
    this.#at = FRAME_HEADER;
    // A large snapshot or key is rare.
    if (this.bytes.length > 16 * FIRST_ROOM) this.#grow(FIRST_ROOM);
  }

  #grow(needed: number): void {
    const former = this.bytes;
    const room = new ArrayBuffer(Math.max(FIRST_ROOM, 2 ** Math.ceil(Math.log2(needed))));
    this.bytes = Buffer.from(room);
    this.words = new Uint32Array(room);
    this.numbers = new Float64Array(room);
    if (needed > former.length) former.copy(this.bytes);
  }
}
