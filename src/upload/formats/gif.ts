import type { ByteSource } from '../byte-source.js';
import {
  BrokenImage,
  bytesAt,
  heldRows,
  type ImageFormat,
  type ImageStructure,
  MAX_PAGES,
  MAX_STEPS,
} from './format.js';

/** How many data blocks, of at most 255 bytes each, are walked over in one file. */
const MAX_BLOCKS = 2_000_000;

/** The extension that says what becomes of the canvas after a frame. To restore it, decoders keep a second one. */
const GRAPHIC_CONTROL = 0xf9;
const DISPOSAL_BITS = 0x1c;
/** Decoders treat the undefined values alike. */
const RESTORE_PREVIOUS = 0x0c;

export const GIF: ImageFormat = {
  name: 'gif',
  loader: 'VipsForeignLoadNsgif',
  matches: (head) => head.startsWith('GIF87a') || head.startsWith('GIF89a'),
  read: readGif,
  sample: Buffer.from('R0lGODlhAQABAIAAAExpcf///yH5BAUAAAAALAAAAAABAAEAAAICTAEAOw==', 'base64'),
};

/**
 * https://www.w3.org/Graphics/GIF/spec-gif89a.txt sections 18 to 23. A frame may extend beyond the logical screen.
 * Decoders enlarge the screen to the first frame and cut off later ones. Some enlarge it to any frame, so all frames
 * count as pixels.
 */
async function readGif(source: ByteSource): Promise<ImageStructure> {
  const head = await bytesAt(source, 0, 13);
  let width = head.readUInt16LE(6);
  let height = head.readUInt16LE(8);
  let [right, bottom] = [width, height];
  let pages = 0;
  let canvases = 1;
  let at = 13 + colorTableBytes(head[10] ?? 0);
  const budget = { blocks: MAX_BLOCKS };
  for (let step = 0; step < MAX_STEPS; step++) {
    const introducer = (await source.readAvailable(at))[0];
    if (introducer === 0x21) {
      const [, label, , flags = 0] = await source.read(at, 4);
      if (label === GRAPHIC_CONTROL && (flags & DISPOSAL_BITS) === RESTORE_PREVIOUS) canvases = 2;
      at = await skipBlocks(source, at + 2, budget);
      continue;
    }
    // The trailer, or a byte at which every decoder stops: no more frames follow.
    if (introducer !== 0x2c || pages >= MAX_PAGES) {
      const pixels = right * bottom * pages;
      const heldBytes = heldRows(right, bottom, 4) + right * bottom * canvases * 4;
      return { width, height, pages, pixels, decodedBytes: pixels * 4, heldBytes };
    }
    const frame = await bytesAt(source, at, 10);
    right = Math.max(right, frame.readUInt16LE(1) + frame.readUInt16LE(5));
    bottom = Math.max(bottom, frame.readUInt16LE(3) + frame.readUInt16LE(7));
    if (pages === 0) [width, height] = [right, bottom];
    pages++;
    at = await skipBlocks(source, at + 11 + colorTableBytes(frame[9] ?? 0), budget);
  }
  throw new BrokenImage('gifExtensions');
}

function colorTableBytes(flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 0x07) + 1);
}

/** Skips a chain of data blocks. It walks over many in one read, since each can be as small as one byte. */
async function skipBlocks(source: ByteSource, from: number, budget: { blocks: number }): Promise<number> {
  let at = from;
  for (;;) {
    const bytes = await source.readAvailable(at);
    if (bytes.length === 0) return source.size;
    let i = 0;
    while (i < bytes.length) {
      const length = bytes[i] ?? 0;
      i += 1 + length;
      if (length === 0) return at + i;
      if (--budget.blocks < 0) throw new BrokenImage('gifBlocks');
    }
    at += i;
  }
}
