import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, heldRows, type ImageFormat, type ImageStructure, MAX_PAGES } from './format.js';

/**
 * In all directories together; a page has about twenty. Directories can overlap, so the file's size does not bound
 * them.
 */
const MAX_ENTRIES = 500_000;
/** What reading a value outside of its directory counts for. */
const ENTRIES_PER_VALUE = 50;
/** Bytes per value of the field types BYTE, SHORT and LONG. */
const FIELD_BYTES: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4 };
const BIG_TIFF = ['II+\0', 'MM\0+'];
/** A BigTIFF counts as a TIFF, so that it is refused as what it is. */
const SIGNATURES = ['II*\0', 'MM\0*', ...BIG_TIFF];

export const TIFF: ImageFormat = {
  name: 'tiff',
  loader: 'VipsForeignLoadTiff',
  matches: (head) => SIGNATURES.some((signature) => head.startsWith(signature)),
  read: readTiff,
  sample: Buffer.from(
    'SUkqAAwAAAD///8ADwAAAQMAAQAAAAEAAAABAQMAAQAAAAEAAAACAQMAAwAAANYAAAADAQMAAQAAAAEAAAAGAQMAAQAAAAIAAAARAQQAAQAAAAgAAAASAQMAAQAAAAEAAAAVAQMAAQAAAAMAAAAWAQMAAQAAAAABAAAXAQQAAQAAAAMAAAAaAQUAAQAAAMYAAAAbAQUAAQAAAM4AAAAcAQMAAQAAAAEAAAAoAQMAAQAAAAIAAABTAQMAAwAAANwAAAAAAAAAMzPLAAAACAAzM8sAAAAIAAgACAAIAAEAAQABAA==',
    'base64',
  ),
};

const TAGS = {
  256: 'width',
  257: 'height',
  258: 'bitsPerSample',
  259: 'compression',
  262: 'photometric',
  277: 'samplesPerPixel',
  278: 'rowsPerStrip',
  284: 'planarConfiguration',
  322: 'tileWidth',
  323: 'tileHeight',
} as const;
type Page = Record<(typeof TAGS)[keyof typeof TAGS], number>;

/** TIFF 6.0 section 8: the values of absent fields. `rowsPerStrip` is unlimited, so 0 stands for one strip. */
const NOTHING_SET: Page = {
  width: 0,
  height: 0,
  bitsPerSample: 1,
  compression: 1,
  photometric: 0,
  samplesPerPixel: 1,
  rowsPerStrip: 0,
  planarConfiguration: 1,
  tileWidth: 0,
  tileHeight: 0,
};
const PALETTE = 3;
const SEPARATE_PLANES = 2;
/** The old and the new JPEG compression. A strip of it is decoded as a whole. */
const JPEG_COMPRESSIONS: ReadonlySet<number> = new Set([6, 7]);

/**
 * TIFF 6.0 section 2: a linked list of directories, one for each page, at any offset. If a field occurs twice, the
 * larger value counts, since readers differ about which one they use.
 */
async function readTiff(source: ByteSource): Promise<ImageStructure> {
  const head = await bytesAt(source, 0, 8);
  const little = head.toString('latin1', 0, 2) === 'II';
  if (BIG_TIFF.includes(head.toString('latin1', 0, 4))) throw new BrokenImage('tiffBig');
  const short = (bytes: Buffer, at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const long = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));

  let entriesLeft = MAX_ENTRIES;
  function spend(entries: number): void {
    entriesLeft -= entries;
    if (entriesLeft < 0) throw new BrokenImage('tiffEntries');
  }

  /** The value of a field, or the first of several: readers require that all samples have the same depth. */
  async function fieldValue(entry: Buffer): Promise<number> {
    const size = FIELD_BYTES[short(entry, 2)];
    if (size === undefined) throw new BrokenImage('tiffFieldType');
    let value = entry.subarray(8);
    if (size * long(entry, 4) > 4) {
      spend(ENTRIES_PER_VALUE);
      value = await bytesAt(source, long(entry, 8), size);
    }
    if (size === 1) return value[0] ?? 0;
    return size === 2 ? short(value, 0) : long(value, 0);
  }

  async function readPage(entries: Buffer, count: number): Promise<Page> {
    const page = { ...NOTHING_SET };
    for (let i = 0; i < count; i++) {
      const entry = entries.subarray(i * 12, (i + 1) * 12);
      const tag = short(entry, 0);
      if (!isKnownTag(tag)) continue;
      page[TAGS[tag]] = Math.max(page[TAGS[tag]], await fieldValue(entry));
    }
    return page;
  }

  let [width, height, pages, decodedBytes, heldBytes] = [0, 0, 0, 0, 0];
  const seen = new Set<number>();
  for (let at = long(head, 4); at !== 0 && pages < MAX_PAGES; ) {
    if (seen.has(at)) throw new BrokenImage('tiffLoop');
    seen.add(at);
    const count = short(await bytesAt(source, at, 2), 0);
    spend(count);
    const entries = await bytesAt(source, at + 2, count * 12 + 4);
    const page = await readPage(entries, count);
    width = Math.max(width, page.width);
    height = Math.max(height, page.height);
    decodedBytes += page.width * page.height * bytesPerPixel(page);
    heldBytes = Math.max(heldBytes, heldOf(page));
    pages++;
    at = long(entries, count * 12);
  }
  return { width, height, pages, decodedBytes, heldBytes };
}

function isKnownTag(tag: number): tag is keyof typeof TAGS {
  return Object.hasOwn(TAGS, tag);
}

/** A palette is decoded to three samples. */
function bytesPerPixel({ bitsPerSample, samplesPerPixel, photometric }: Page): number {
  return Math.max(samplesPerPixel, photometric === PALETTE ? 3 : 1) * Math.ceil(Math.max(1, bitsPerSample) / 8);
}

/** A tile or strip can be larger than the image. */
function heldOf(page: Page): number {
  const { width, height, tileWidth, tileHeight, rowsPerStrip, compression, planarConfiguration } = page;
  const pixelBytes = bytesPerPixel(page);
  const rows = heldRows(width, height, pixelBytes);
  if (tileWidth > 0 && tileHeight > 0) {
    // The row of tiles that is read, and the one before it.
    return rows + 2 * Math.ceil(width / tileWidth) * tileWidth * tileHeight * pixelBytes;
  }
  // The strip as it is stored, and its rows as they are put together.
  if (planarConfiguration !== SEPARATE_PLANES && !JPEG_COMPRESSIONS.has(compression)) return rows;
  return rows + 2 * width * (rowsPerStrip === 0 ? height : Math.min(rowsPerStrip, height)) * pixelBytes;
}
