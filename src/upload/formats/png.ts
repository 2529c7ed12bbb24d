import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, heldRows, type ImageFormat, type ImageStructure, MAX_STEPS } from './format.js';

export const PNG: ImageFormat = {
  name: 'png',
  loader: 'VipsForeignLoadPng',
  matches: (head) => head.startsWith('\x89PNG\r\n\x1a\n'),
  read: readPng,
  sample: Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC',
    'base64',
  ),
};

/** Samples per decoded pixel, by color type. A palette can have an alpha channel. */
const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 4, 4: 2, 6: 4 };

/** https://www.w3.org/TR/png-3/ sections 5 and 11. `acTL`, which counts the frames, comes before the first `IDAT`. */
async function readPng(source: ByteSource): Promise<ImageStructure> {
  const head = await bytesAt(source, 0, 33);
  if (head.toString('latin1', 12, 16) !== 'IHDR' || head.readUInt32BE(8) !== 13) throw new BrokenImage('pngHeader');
  const [width, height] = [head.readUInt32BE(16), head.readUInt32BE(20)];
  let samples = SAMPLES[head[25] ?? 0] ?? 4;
  let pages = 1;
  let at = 33;
  for (let step = 0; step < MAX_STEPS && at < source.size; step++) {
    const chunk = await bytesAt(source, at, 8);
    const length = chunk.readUInt32BE(0);
    const name = chunk.toString('latin1', 4, 8);
    if (name === 'IDAT') {
      const bytesPerPixel = samples * (head[24] === 16 ? 2 : 1);
      const decodedBytes = width * height * pages * bytesPerPixel;
      // The passes of an interlaced image are complete only together.
      const heldBytes = head[28] === 0 ? heldRows(width, height, bytesPerPixel) : width * height * bytesPerPixel;
      return { width, height, pages, decodedBytes, heldBytes };
    }
    // A transparent color becomes an alpha channel.
    if (name === 'tRNS' && samples % 2 === 1) samples++;
    if (name === 'acTL') pages = Math.max(pages, (await bytesAt(source, at + 8, 8)).readUInt32BE(0));
    at += length + 12;
  }
  throw new BrokenImage('pngData');
}
