import { checksum } from './checksum.js';

/** Bytes of the header. The first frame follows. */
export const FILE_HEADER = 256;
const WORDS = FILE_HEADER / 4;
const MAGIC = 'gwjournl';
const VERSION = 1;
const BYTE_ORDER = 0x01020304;
const LONGEST_BOOT = 64;

/** What the header of a file says. */
export interface FileHeader {
  /** The same in all files of a journal. */
  readonly journal: string;
  /** The number of the file. */
  readonly index: number;
  /** The number of the first file that is needed until this one has all counters. */
  readonly base: number;
  /** Bytes of the file. */
  readonly size: number;
  /** Milliseconds that the process added to the times of windows in earlier files. */
  readonly shift: number;
  /** Seeds the checksums. */
  readonly nonce: number;
  /** Whether the service passed the clock in. */
  readonly isClockGiven: boolean;
  /** Identifies the start of the machine. Empty if that is unknown. */
  readonly boot: string;
}

export function headerBytes(header: FileHeader): Buffer {
  const room = new ArrayBuffer(FILE_HEADER);
  const bytes = Buffer.from(room);
  const words = new Uint32Array(room);
  const numbers = new Float64Array(room);
  bytes.write(MAGIC, 0, 'latin1');
  words[2] = VERSION;
  words[3] = BYTE_ORDER;
  bytes.write(header.journal, 16, 'hex');
  numbers[4] = header.index;
  numbers[5] = header.base;
  numbers[6] = header.size;
  numbers[7] = header.shift;
  words[16] = header.nonce;
  words[17] = header.isClockGiven ? 1 : 0;
  bytes.write(header.boot.slice(0, LONGEST_BOOT), 72, 'latin1');
  words[WORDS - 1] = checksum(words, 0, WORDS - 1, 0);
  return bytes;
}

/** The header of a file, or a reason why it is none. */
export function readHeader(bytes: Buffer): FileHeader | string {
  if (bytes.length < FILE_HEADER || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    return 'is not a file of a journal';
  }
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, WORDS);
  const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, WORDS / 2);
  // First, since it decides how all numbers are read.
  if (bytes.readUInt32LE(12) !== BYTE_ORDER && bytes.readUInt32BE(12) !== BYTE_ORDER) return 'has a damaged header';
  if (words[3] !== BYTE_ORDER) return 'was written on a machine with another byte order';
  if (words[WORDS - 1] !== checksum(words, 0, WORDS - 1, 0)) return 'has a damaged header';
  if (words[2] !== VERSION) return `has format ${words[2]}, and this version reads format ${VERSION}`;
  return {
    journal: bytes.toString('hex', 16, 32),
    index: numbers[4] as number,
    base: numbers[5] as number,
    size: numbers[6] as number,
    shift: numbers[7] as number,
    nonce: words[16] as number,
    isClockGiven: words[17] === 1,
    boot: bytes.toString('latin1', 72, 72 + LONGEST_BOOT).replace(/\0.*$/s, ''),
  };
}
