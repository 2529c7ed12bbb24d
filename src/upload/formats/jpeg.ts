import type { ByteSource } from '../byte-source.js';
import { BrokenImage, bytesAt, type ImageFormat, type ImageHeader, MAX_STEPS } from './format.js';

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

/** Markers that may come before the frame and have a length: DHT, DAC, DQT, DNL, DRI, APP0 to APP15, COM. */
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
 * ITU-T T.81 annex B: the frame header is the first of the markers SOF0 to SOF15, without DHT, JPG and DAC. A marker
 * without a length, such as RST0 to RST7, is refused before it: readers treat such markers differently and would find
 * different frames.
 */
async function readJpeg(source: ByteSource): Promise<ImageHeader> {
  let at = 2;
  for (let step = 0; step < MAX_STEPS; step++) {
    const marker = await bytesAt(source, at, 4);
    if (marker[0] !== 0xff) throw new BrokenImage('jpegMarker');
    const code = marker[1] ?? 0;
    // Any number of fill bytes may precede a marker.
    if (code === 0xff) {
      at += 1;
      continue;
    }
    if (SEGMENTS.has(code)) {
      const length = marker.readUInt16BE(2);
      if (length < 2) throw new BrokenImage('jpegSegmentLength');
      at += 2 + length;
      continue;
    }
    if (code < 0xc0 || code > 0xcf || code === 0xc8) throw new BrokenImage('jpegFrame');
    const frame = await bytesAt(source, at + 5, 4);
    return { height: frame.readUInt16BE(0), width: frame.readUInt16BE(2), pages: 1 };
  }
  throw new BrokenImage('jpegSegments');
}
