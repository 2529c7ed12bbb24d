import type { ByteSource } from './byte-source.js';

/** Media types of the images whose headers can be read. */
export type ImageType = 'image/png' | 'image/jpeg' | 'image/webp' | 'image/gif' | 'image/tiff';

/** What an image says of itself before anything is decoded. */
export interface ImageHeader {
  /** Of the largest page. */
  readonly width: number;
  readonly height: number;
  /** Frames of an animation, pages of a document: 1 for a plain image. Counted up to `MAX_PAGES`. */
  readonly pages: number;
}

/** More than anybody may allow; whoever has so many has too many. */
export const MAX_PAGES = 10_000;
/** Chunks, segments and frames that are passed over on the way. */
const MAX_STEPS = 100_000;
/** Of a whole GIF, at most 255 bytes each. */
const MAX_BLOCKS = 2_000_000;
/** Of all directories of a TIFF, some twenty a page; they may overlap, so that its size is no bound. */
const MAX_ENTRIES = 500_000;

/** The header says nothing that could be an image. */
export class BrokenImage extends Error {}

interface Reader {
  /** Whether a file of the type may begin so. */
  readonly begins: (head: string) => boolean;
  readonly read: (source: ByteSource) => Promise<ImageHeader>;
}

const READERS: Readonly<Record<ImageType, Reader>> = {
  'image/png': { begins: (head) => head.startsWith('\x89PNG\r\n\x1a\n'), read: readPng },
  'image/jpeg': { begins: (head) => head.startsWith('\xff\xd8\xff'), read: readJpeg },
  'image/webp': { begins: (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8), read: readWebp },
  'image/gif': { begins: (head) => head.startsWith('GIF87a') || head.startsWith('GIF89a'), read: readGif },
  'image/tiff': { begins: (head) => head.startsWith('II*\0') || head.startsWith('MM\0*'), read: readTiff },
};

export function isImageType(type: string): type is ImageType {
  return Object.hasOwn(READERS, type);
}

/**
 * Reads width, height and pages from an image's header, whatever its file is like: few bytes at a time, in bounded time,
 * and nothing is decoded.
 * @throws BrokenImage
 */
export async function readImageHeader(type: ImageType, source: ByteSource): Promise<ImageHeader> {
  const { begins, read } = READERS[type];
  // What tells types looks behind marks at the beginning that decoders of images do not know.
  if (!begins((await source.read(0, 12)).toString('latin1'))) throw new BrokenImage('it does not begin as one');
  const header = await read(source);
  if (header.width < 1 || header.height < 1 || header.pages < 1) throw new BrokenImage('it has no size');
  return header;
}

async function bytesAt(source: ByteSource, offset: number, length: number): Promise<Buffer> {
  const bytes = await source.read(offset, length);
  if (bytes.length < length) throw new BrokenImage('it ends too early');
  return bytes;
}

/** https://www.w3.org/TR/png-3/ sections 5 and 11; `acTL`, which tells of an animation, comes before the first `IDAT`. */
async function readPng(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 33);
  if (head.toString('latin1', 12, 16) !== 'IHDR' || head.readUInt32BE(8) !== 13)
    throw new BrokenImage('it has no IHDR');
  let pages = 1;
  let at = 33;
  for (let step = 0; step < MAX_STEPS && at < source.size; step++) {
    const chunk = await bytesAt(source, at, 8);
    const length = chunk.readUInt32BE(0);
    const name = chunk.toString('latin1', 4, 8);
    if (name === 'IDAT') return { width: head.readUInt32BE(16), height: head.readUInt32BE(20), pages };
    if (name === 'acTL') pages = Math.max(pages, (await bytesAt(source, at + 8, 8)).readUInt32BE(0));
    at += length + 12;
  }
  throw new BrokenImage('it has no IDAT');
}

/** Markers before the frame that have a length: DHT, DAC, DQT, DNL, DRI, APP0 to APP15, COM. */
const SEGMENTS: ReadonlySet<number> = new Set([
  0xc4,
  0xcc,
  0xdb,
  0xdc,
  0xdd,
  ...Array.from({ length: 16 }, (_, n) => 0xe0 + n),
  0xfe,
]);

/**
 * ITU-T T.81 annex B: the frame header is the first marker SOF0 to SOF15, without DHT, JPG and DAC. Markers without a
 * length, such as RST0 to RST7, have no place before it: readers that disagree about them would find different frames.
 */
async function readJpeg(source: ByteSource): Promise<ImageHeader> {
  let at = 2;
  for (let step = 0; step < MAX_STEPS; step++) {
    const marker = await bytesAt(source, at, 4);
    if (marker[0] !== 0xff) throw new BrokenImage('it has no marker where one must be');
    const code = marker[1] ?? 0;
    // Markers may be preceded by any number of fill bytes.
    if (code === 0xff) {
      at += 1;
      continue;
    }
    if (SEGMENTS.has(code)) {
      const length = marker.readUInt16BE(2);
      if (length < 2) throw new BrokenImage('it has a segment without a length');
      at += 2 + length;
      continue;
    }
    if (code < 0xc0 || code > 0xcf || code === 0xc8) throw new BrokenImage('it has no frame');
    const frame = await bytesAt(source, at + 5, 4);
    return { height: frame.readUInt16BE(0), width: frame.readUInt16BE(2), pages: 1 };
  }
  throw new BrokenImage('it has too many segments');
}

/** RFC 9649 section 2. */
async function readWebp(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 30);
  switch (head.toString('latin1', 12, 16)) {
    case 'VP8 ':
      if (head.readUIntBE(23, 3) !== 0x9d012a) throw new BrokenImage('it has no key frame');
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff, pages: 1 };
    case 'VP8L': {
      if (head[20] !== 0x2f) throw new BrokenImage('it has no signature of VP8L');
      const bits = head.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, pages: 1 };
    }
    case 'VP8X': {
      const animated = ((head[20] ?? 0) & 0x02) !== 0;
      const size = { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 };
      return { ...size, pages: animated ? await countChunks(source, 'ANMF') : 1 };
    }
    default:
      throw new BrokenImage('it has no image chunk');
  }
}

async function countChunks(source: ByteSource, wanted: string): Promise<number> {
  let count = 0;
  let at = 12;
  for (let step = 0; step < MAX_STEPS; step++) {
    if (at + 8 > source.size || count >= MAX_PAGES) return count;
    const chunk = await bytesAt(source, at, 8);
    if (chunk.toString('latin1', 0, 4) === wanted) count++;
    const length = chunk.readUInt32LE(4);
    at += 8 + length + (length % 2);
  }
  throw new BrokenImage('it has too many chunks');
}

/** https://www.w3.org/Graphics/GIF/spec-gif89a.txt sections 18 to 23. Frames may be larger than the screen they are on. */
async function readGif(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 13);
  let width = head.readUInt16LE(6);
  let height = head.readUInt16LE(8);
  let pages = 0;
  let at = 13 + colorTable(head[10] ?? 0);
  const budget = { blocks: MAX_BLOCKS };
  for (let step = 0; step < MAX_STEPS; step++) {
    const introducer = (await source.some(at))[0];
    if (introducer === 0x21) {
      at = await afterBlocks(source, at + 2, budget);
      continue;
    }
    // The trailer, or what no decoder reads: the frames so far are what there is.
    if (introducer !== 0x2c || pages >= MAX_PAGES) return { width, height, pages };
    const frame = await bytesAt(source, at, 10);
    width = Math.max(width, frame.readUInt16LE(1) + frame.readUInt16LE(5));
    height = Math.max(height, frame.readUInt16LE(3) + frame.readUInt16LE(7));
    pages++;
    at = await afterBlocks(source, at + 11 + colorTable(frame[9] ?? 0), budget);
  }
  throw new BrokenImage('it has too many extensions');
}

function colorTable(flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 0x07) + 1);
}

/** Blocks may be of one byte: they are passed over many at a time. */
async function afterBlocks(source: ByteSource, from: number, budget: { blocks: number }): Promise<number> {
  let at = from;
  for (;;) {
    const bytes = await source.some(at);
    if (bytes.length === 0) return source.size;
    let i = 0;
    while (i < bytes.length) {
      const length = bytes[i] ?? 0;
      i += 1 + length;
      if (length === 0) return at + i;
      if (--budget.blocks < 0) throw new BrokenImage('it has too many blocks');
    }
    at += i;
  }
}

const TIFF_SIZES: Readonly<Record<number, number>> = { 3: 2, 4: 4 };

/** TIFF 6.0 section 2: a list of directories, one a page, of which each may be anywhere. */
async function readTiff(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 8);
  const little = head.toString('latin1', 0, 2) === 'II';
  const short = (bytes: Buffer, at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const long = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  if (short(head, 2) !== 42) throw new BrokenImage('it is no TIFF of 32 bits');
  let width = 0;
  let height = 0;
  let pages = 0;
  let left = MAX_ENTRIES;
  const seen = new Set<number>();
  for (let at = long(head, 4); at !== 0 && pages < MAX_PAGES; ) {
    if (seen.has(at)) throw new BrokenImage('its pages go in a circle');
    seen.add(at);
    const count = short(await bytesAt(source, at, 2), 0);
    left -= count;
    if (left < 0) throw new BrokenImage('its directories are too large');
    const entries = await bytesAt(source, at + 2, count * 12 + 4);
    for (let i = 0; i < count; i++) {
      const tag = short(entries, i * 12);
      if (tag !== 256 && tag !== 257) continue;
      const size = TIFF_SIZES[short(entries, i * 12 + 2)];
      if (size === undefined) throw new BrokenImage('its size is of no known type');
      const value = size === 2 ? short(entries, i * 12 + 8) : long(entries, i * 12 + 8);
      if (tag === 256) width = Math.max(width, value);
      else height = Math.max(height, value);
    }
    pages++;
    at = long(entries, count * 12);
  }
  return { width, height, pages };
}
