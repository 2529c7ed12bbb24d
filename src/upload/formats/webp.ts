import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, type ImageFormat, type ImageHeader, MAX_PAGES, MAX_STEPS } from './format.js';

export const WEBP: ImageFormat = {
  name: 'webp',
  loader: 'VipsForeignLoadWebp',
  matches: (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8),
  read: readWebp,
  sample: Buffer.from('UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA=', 'base64'),
};

/** RFC 9649 section 2. */
async function readWebp(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 30);
  switch (head.toString('latin1', 12, 16)) {
    case 'VP8 ':
      if (head.readUIntBE(23, 3) !== 0x9d012a) throw new BrokenImage('webpKeyFrame');
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff, pages: 1 };
    case 'VP8L': {
      if (head[20] !== 0x2f) throw new BrokenImage('webpSignature');
      const bits = head.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, pages: 1 };
    }
    case 'VP8X': {
      const animated = ((head[20] ?? 0) & 0x02) !== 0;
      const size = { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 };
      return { ...size, pages: animated ? await countChunks(source, 'ANMF') : 1 };
    }
    default:
      throw new BrokenImage('webpImage');
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
  throw new BrokenImage('webpChunks');
}
