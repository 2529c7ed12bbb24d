import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, type ImageFormat, type ImageStructure, MAX_PAGES, MAX_STEPS } from './format.js';

export const WEBP: ImageFormat = {
  name: 'webp',
  loader: 'VipsForeignLoadWebp',
  matches: (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8),
  read: readWebp,
  sample: Buffer.from('UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA=', 'base64'),
};

/** The largest header of an image chunk, after the RIFF header. A lossless image can be shorter. */
const CHUNK_HEADER_BYTES = { 'VP8 ': 18, VP8L: 13, VP8X: 18 };
/** What libwebp and libvips hold of a decoded pixel. Measured with sharp 0.34; an animation also holds its canvas. */
const HELD_PER_PIXEL = 8;
const HELD_PER_CANVAS_PIXEL = 12;

/** RFC 9649 section 2. */
async function readWebp(source: ByteSource): Promise<ImageStructure> {
  const name = (await bytesAt(source, 12, 4)).toString('latin1');
  if (!isImageChunk(name)) throw new BrokenImage('webpImage');
  const chunk = await bytesAt(source, 12, CHUNK_HEADER_BYTES[name]);
  switch (name) {
    case 'VP8 ':
      if (chunk.readUIntBE(11, 3) !== 0x9d012a) throw new BrokenImage('webpKeyFrame');
      return structure(chunk.readUInt16LE(14) & 0x3fff, chunk.readUInt16LE(16) & 0x3fff, 1);
    case 'VP8L': {
      if (chunk[8] !== 0x2f) throw new BrokenImage('webpSignature');
      const bits = chunk.readUInt32LE(9);
      return structure((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1, 1);
    }
    case 'VP8X': {
      const animated = ((chunk[8] ?? 0) & 0x02) !== 0;
      const [width, height] = [chunk.readUIntLE(12, 3) + 1, chunk.readUIntLE(15, 3) + 1];
      if (!animated) return structure(width, height, 1);
      const pages = await countChunks(source, 'ANMF');
      return { ...structure(width, height, pages), heldBytes: width * height * HELD_PER_CANVAS_PIXEL };
    }
  }
}

function isImageChunk(name: string): name is keyof typeof CHUNK_HEADER_BYTES {
  return Object.hasOwn(CHUNK_HEADER_BYTES, name);
}

function structure(width: number, height: number, pages: number): ImageStructure {
  const pixels = width * height;
  return { width, height, pages, decodedBytes: pixels * pages * 4, heldBytes: pixels * HELD_PER_PIXEL };
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
  throw new BrokenImage('webpChunks');
}
