import { checksum } from './checksum.js';
import { FRAME_HEADER, frameSeed } from './frame-buffer.js';

type Crc32 = (data: Uint8Array, before?: number) => number;

const LONG = 2048;

/** One frame of a file. All places are bytes. */
export interface Frame {
  readonly start: number;
  readonly end: number;
  /** The file was on the disk for good up to here when the frame was written. */
  readonly durable: number;
  readonly number: number;
  /** When it was written, by the clock of windows. */
  readonly time: number;
}

/** The bytes of a file. */
export class FileBytes {
  readonly words: Uint32Array;
  readonly numbers: Float64Array;

  /** `bytes` begin at the first byte of their memory. */
  constructor(
    readonly bytes: Buffer,
    readonly nonce: number,
    readonly crc32: Crc32,
  ) {
    const { buffer } = bytes;
    this.words = new Uint32Array(buffer, 0, Math.floor(bytes.length / 4));
    this.numbers = new Float64Array(buffer, 0, Math.floor(bytes.length / 8));
  }

  /** The frame at this place, or undefined if there is none whose checksum is right. */
  frameAt(start: number): Frame | undefined {
    const { words, bytes } = this;
    const w = start / 4;
    const length = words[w] ?? 0;
    const end = start + FRAME_HEADER + length;
    if (length === 0 || length % 8 !== 0 || end > bytes.length) return undefined;
    const seed = frameSeed(this.nonce, length);
    const sum =
      length < LONG ? checksum(words, w + 2, end / 4, seed) : this.crc32(bytes.subarray(start + 8, end), seed);
    if (sum !== words[w + 1]) return undefined;
    return {
      start,
      end,
      durable: words[w + 2] as number,
      number: words[w + 3] as number,
      time: this.numbers[start / 8 + 2] as number,
    };
  }

  /** The first frame behind a place whose number is at least `number`. Frames begin at multiples of 8. */
  frameBehind(start: number, number: number): Frame | undefined {
    const { words } = this;
    const last = words.length - FRAME_HEADER / 4;
    for (let w = start / 4 + 2; w <= last; w += 2) {
      if (words[w] === 0) continue;
      // No file has as many frames more as bytes, so that a wrong number costs no checksum.
      const found = words[w + 3] as number;
      if (found < number || found > number + this.bytes.length / FRAME_HEADER) continue;
      const frame = this.frameAt(4 * w);
      if (frame !== undefined) return frame;
    }
    return undefined;
  }

  /** Whether nothing was ever written from here on. */
  isBlankFrom(start: number): boolean {
    const { words } = this;
    for (let w = start / 4; w < words.length; w++) if (words[w] !== 0) return false;
    // Whatever remains of an odd length.
    for (let i = words.length * 4; i < this.bytes.length; i++) if (this.bytes[i] !== 0) return false;
    return true;
  }
}
