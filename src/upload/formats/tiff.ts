import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, type ImageFormat, type ImageHeader, MAX_PAGES } from './format.js';

/**
 * In all directories together; a page has about twenty. Directories can overlap, so the file's size does not bound
 * them.
 */
const MAX_ENTRIES = 500_000;
/** Bytes per value of the field types SHORT and LONG. */
const FIELD_BYTES: Readonly<Record<number, number>> = { 3: 2, 4: 4 };

export const TIFF: ImageFormat = {
  name: 'tiff',
  loader: 'VipsForeignLoadTiff',
  matches: (head) => head.startsWith('II*\0') || head.startsWith('MM\0*'),
  read: readTiff,
  sample: Buffer.from(
    'SUkqAAwAAAD///8ADwAAAQMAAQAAAAEAAAABAQMAAQAAAAEAAAACAQMAAwAAANYAAAADAQMAAQAAAAEAAAAGAQMAAQAAAAIAAAARAQQAAQAAAAgAAAASAQMAAQAAAAEAAAAVAQMAAQAAAAMAAAAWAQMAAQAAAAABAAAXAQQAAQAAAAMAAAAaAQUAAQAAAMYAAAAbAQUAAQAAAM4AAAAcAQMAAQAAAAEAAAAoAQMAAQAAAAIAAABTAQMAAwAAANwAAAAAAAAAMzPLAAAACAAzM8sAAAAIAAgACAAIAAEAAQABAA==',
    'base64',
  ),
};

/** TIFF 6.0 section 2: a linked list of directories, one for each page, at any offset. */
async function readTiff(source: ByteSource): Promise<ImageHeader> {
  const head = await bytesAt(source, 0, 8);
  const little = head.toString('latin1', 0, 2) === 'II';
  const short = (bytes: Buffer, at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const long = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  let width = 0;
  let height = 0;
  let pages = 0;
  let entriesLeft = MAX_ENTRIES;
  const seen = new Set<number>();
  for (let at = long(head, 4); at !== 0 && pages < MAX_PAGES; ) {
    if (seen.has(at)) throw new BrokenImage('tiffLoop');
    seen.add(at);
    const count = short(await bytesAt(source, at, 2), 0);
    entriesLeft -= count;
    if (entriesLeft < 0) throw new BrokenImage('tiffEntries');
    const entries = await bytesAt(source, at + 2, count * 12 + 4);
    for (let i = 0; i < count; i++) {
      const tag = short(entries, i * 12);
      if (tag !== 256 && tag !== 257) continue;
      const size = FIELD_BYTES[short(entries, i * 12 + 2)];
      if (size === undefined) throw new BrokenImage('tiffFieldType');
      const value = size === 2 ? short(entries, i * 12 + 8) : long(entries, i * 12 + 8);
      if (tag === 256) width = Math.max(width, value);
      else height = Math.max(height, value);
    }
    pages++;
    at = long(entries, count * 12);
  }
  return { width, height, pages };
}
