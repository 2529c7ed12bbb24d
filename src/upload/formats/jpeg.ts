import { type ByteSource, WINDOW_BYTES } from '../byte-source.js';
import { BrokenImage, bytesAt, heldRows, type ImageFormat, type ImageStructure, MAX_STEPS } from './format.js';

export const JPEG: ImageFormat = {
  name: 'jpeg',
  loader: 'VipsForeignLoadJpeg',
  matches: (head) => head.startsWith('\xff\xd8\xff'),
  read: readJpeg,
  sample: Buffer.from(
    '/9j/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wAARCAABAAEDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAj/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFAEBAAAAAAAAAAAAAAAAAAAAAP/EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAMAwEAAhEDEQA/AKpAB//Z',
    'base64',
  ),
};

/** Markers with a length that may come between others: DHT, DAC, DQT, DNL, DRI, APP0 to APP15, COM. */
const SEGMENTS: ReadonlySet<number> = new Set([
  0xc4,
  0xcc,
  0xdb,
  0xdc,
  0xdd,
  ...Array.from({ length: 16 }, (_, n) => 0xe0 + n),
  0xfe,
]);
const [SOI, EOI, SOS] = [0xd8, 0xd9, 0xda];
/** SOF2, SOF6, SOF10 and SOF14: every scan refines the whole image. */
const PROGRESSIVE: ReadonlySet<number> = new Set([0xc2, 0xc6, 0xca, 0xce]);
/** Encoders write about ten, optimizing ones up to forty. Each costs a pass over the whole image. */
const MAX_SCANS = 100;

/**
 * ITU-T T.81 annex B: the frame header is the first of the markers SOF0 to SOF15, without DHT, JPG and DAC. Stray bytes
 * and markers without a length, such as RST0 to RST7, are refused before it: readers treat them differently and would
 * find different frames.
 */
async function readJpeg(source: ByteSource): Promise<ImageStructure> {
  let at = 2;
  for (let step = 0; step < MAX_STEPS; step++) {
    const marker = await bytesAt(source, at, 4);
    const code = marker[1] ?? 0;
    if (marker[0] !== 0xff || code === 0) throw new BrokenImage('jpegStrayBytes');
    // Any number of fill bytes may precede a marker.
    if (code === 0xff) {
      at += 1;
      continue;
    }
    if (SEGMENTS.has(code)) {
      at += 2 + segmentLength(marker);
      continue;
    }
    if (code === EOI || code === SOS) throw new BrokenImage('jpegFrame');
    if (code < 0xc0 || code > 0xcf || code === 0xc8) throw new BrokenImage('jpegMarker');
    const frame = readFrame(code, await bytesAt(source, at + 4, 5), await source.read(at + 9, 1 + 255 * 3));
    if (!(await decodesAtOnce(source, at + 2 + segmentLength(marker), frame))) return frame.byRows;
    return frame.asWhole;
  }
  throw new BrokenImage('jpegSegments');
}

interface Frame {
  readonly progressive: boolean;
  readonly components: number;
  /** If the decoder reads the image row by row. */
  readonly byRows: ImageStructure;
  /** If the decoder holds the coefficients of the whole image until its last scan. */
  readonly asWhole: ImageStructure;
}

/** Annex B.2.2. */
function readFrame(code: number, fixed: Buffer, list: Buffer): Frame {
  const [height, width, components] = [fixed.readUInt16BE(1), fixed.readUInt16BE(3), list[0] ?? 0];
  const factors = Array.from({ length: components }, (_, i) => list[2 + 3 * i] ?? 0x11);
  const across = factors.map((factor) => Math.max(1, factor >> 4));
  const down = factors.map((factor) => Math.max(1, factor & 0x0f));
  const units = Math.ceil(width / (8 * Math.max(1, ...across))) * Math.ceil(height / (8 * Math.max(1, ...down)));
  const blocks = units * across.reduce((sum, h, i) => sum + h * (down[i] ?? 1), 0);
  const bytesPerPixel = components * ((fixed[0] ?? 8) > 8 ? 2 : 1);
  const size = { width, height, pages: 1, decodedBytes: width * height * bytesPerPixel };
  const rows = heldRows(width, height, bytesPerPixel);
  return {
    progressive: PROGRESSIVE.has(code),
    components,
    byRows: { ...size, heldBytes: rows },
    // 64 coefficients of two bytes.
    asWhole: { ...size, heldBytes: rows + blocks * 128 },
  };
}

function segmentLength(marker: Buffer): number {
  const length = marker.readUInt16BE(2);
  if (length < 2) throw new BrokenImage('jpegSegmentLength');
  return length;
}

/**
 * Walks over the markers behind the frame header as libjpeg does, and counts the scans. Returns whether there can be
 * several. Whether the data between them is valid is left to the decoder.
 */
async function decodesAtOnce(source: ByteSource, from: number, { progressive, components }: Frame): Promise<boolean> {
  let scans = 0;
  let at = from;
  for (let step = 0; step < MAX_STEPS; step++) {
    at = await nextMarker(source, at);
    const marker = await source.read(at, 5);
    const code = marker[1] ?? EOI;
    if (code === EOI || code === SOI || marker.length < 4) return progressive || scans > 0;
    if (code === SOS) {
      // A single scan of all components: no decoder reads another one.
      if (!progressive && scans === 0 && (marker[4] ?? 0) >= components) return false;
      if (++scans > MAX_SCANS) throw new BrokenImage('jpegScans');
    }
    at += code === SOS || SEGMENTS.has(code) ? 2 + marker.readUInt16BE(2) : 2;
  }
  throw new BrokenImage('jpegSegments');
}

/** The offset of the next marker, or the end of the file. Skips entropy-coded data, with stuffed bytes and RST0 to RST7. */
async function nextMarker(source: ByteSource, from: number): Promise<number> {
  let at = from;
  for (;;) {
    const available = await source.readAvailable(at);
    const bytes = available.length < 2 ? await source.read(at, WINDOW_BYTES) : available;
    if (bytes.length < 2) return source.size;
    for (let i = 0; i + 1 < bytes.length; i++) {
      if (bytes[i] !== 0xff) continue;
      const code = bytes[i + 1] ?? 0;
      if (code > 0x01 && code < 0xff && (code < 0xd0 || code > 0xd7)) return at + i;
    }
    at += bytes.length - 1;
  }
}
