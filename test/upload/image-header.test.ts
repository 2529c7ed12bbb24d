import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { bufferSource, fileSource } from '../../src/upload/byte-source.js';
import { BrokenImage } from '../../src/upload/formats/format.js';
import { type ImageType, isImageType, readImageHeader } from '../../src/upload/image-header.js';

const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 90, g: 20, b: 200 } } });
const animated = (width: number, height: number, pages: number) =>
  sharp(
    Buffer.alloc(width * height * pages * 3).map((_, i) => (i * 31) % 256),
    {
      raw: { width, height: height * pages, channels: 3, pageHeight: height } as never,
    },
  );

/** Every kind of file that sharp writes of the types, and what sharp itself reads back. */
const KINDS: readonly (readonly [kind: string, type: ImageType, make: (w: number, h: number) => sharp.Sharp])[] = [
  ['PNG', 'image/png', (w, h) => plain(w, h).png()],
  ['PNG with a palette', 'image/png', (w, h) => plain(w, h).png({ palette: true })],
  [
    'PNG with metadata',
    'image/png',
    (w, h) =>
      plain(w, h)
        .withExif({ IFD0: { Copyright: 'x'.repeat(5000) } })
        .png(),
  ],
  ['JPEG', 'image/jpeg', (w, h) => plain(w, h).jpeg()],
  ['progressive JPEG', 'image/jpeg', (w, h) => plain(w, h).jpeg({ progressive: true })],
  [
    'JPEG with metadata',
    'image/jpeg',
    (w, h) =>
      plain(w, h)
        .withExif({ IFD0: { Copyright: 'x'.repeat(5000) } })
        .jpeg(),
  ],
  ['WebP', 'image/webp', (w, h) => plain(w, h).webp()],
  ['lossless WebP', 'image/webp', (w, h) => plain(w, h).webp({ lossless: true })],
  ['WebP with alpha', 'image/webp', (w, h) => plain(w, h).ensureAlpha(0.5).webp()],
  ['GIF', 'image/gif', (w, h) => plain(w, h).gif()],
  ['TIFF', 'image/tiff', (w, h) => plain(w, h).tiff()],
  ['TIFF with tiles', 'image/tiff', (w, h) => plain(w, h).tiff({ tile: true, compression: 'deflate' })],
];

describe('the header of', () => {
  it.each(KINDS)('%s says how large it is', async (_kind, type, make) => {
    for (const [width, height] of [
      [1, 1],
      [640, 480],
      [3, 1999],
    ] as const) {
      const bytes = await make(width, height).toBuffer();
      expect(await readImageHeader(type, bufferSource(bytes))).toEqual({ width, height, pages: 1 });
    }
  });

  it.each([
    ['GIF', 'image/gif', () => animated(20, 10, 3).gif()],
    ['WebP', 'image/webp', () => animated(20, 10, 3).webp()],
  ] as const)('an animated %s says how many frames it has', async (_kind, type, make) => {
    const bytes = await make().toBuffer();
    expect(await readImageHeader(type, bufferSource(bytes))).toEqual({ width: 20, height: 10, pages: 3 });
  });

  it('an APNG says how many frames it has', async () => {
    const png = await plain(5, 7).png().toBuffer();
    const bytes = Buffer.concat([png.subarray(0, 33), acTL(12), png.subarray(33)]);
    expect(await readImageHeader('image/png', bufferSource(bytes))).toEqual({ width: 5, height: 7, pages: 12 });
  });

  it('a TIFF of several pages says how many, in both byte orders', async () => {
    for (const little of [true, false]) {
      const bytes = tiff(little, [
        [10, 20],
        [50, 40],
        [30, 30],
      ]);
      expect(await readImageHeader('image/tiff', bufferSource(bytes))).toEqual({ width: 50, height: 40, pages: 3 });
    }
  });

  it('a PNG of 50,000 x 50,000 pixels is read without a pixel of it', async () => {
    const ihdr = Buffer.alloc(13);
    ihdr.writeUInt32BE(50_000, 0);
    ihdr.writeUInt32BE(50_000, 4);
    const bytes = Buffer.concat([
      Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
      pngChunk('IHDR', ihdr),
      pngChunk('IDAT', deflateSync(Buffer.alloc(100))),
    ]);
    expect(await readImageHeader('image/png', bufferSource(bytes))).toMatchObject({ width: 50_000, height: 50_000 });
  });

  it.each<[string, ImageType, Buffer, object]>([
    [
      'a GIF counts a frame from where it stands',
      'image/gif',
      gif(gifFrame(5, 6, 10_000, 20_000)),
      { width: 10_005, height: 20_006, pages: 1 },
    ],
    [
      'a GIF has the frames before what no decoder reads',
      'image/gif',
      gif(gifFrame(5, 6), hex('00'), gifFrame(7, 8)),
      { width: 5, height: 6, pages: 1 },
    ],
    ['a GIF of more frames than are counted', 'image/gif', gif(...times(10_001, gifFrame(5, 6))), { pages: 10_000 }],
    ['a GIF of as many blocks as are read', 'image/gif', gif(gifFrame(5, 6), gifComment(2_000_000)), { pages: 1 }],
    ['a JPEG of as many segments as are read', 'image/jpeg', jpeg(...times(99_999, hex('fffe 0002'))), { pages: 1 }],
    ['a JPEG with fill bytes before its frame', 'image/jpeg', jpeg(hex('ff ff ff')), { width: 5, height: 6 }],
    ['a PNG of as many chunks as are read', 'image/png', png(...times(99_999, pngChunk('teXt'))), { pages: 1 }],
    ['a PNG that tells of its frames twice has the most', 'image/png', png(acTL(3), acTL(1)), { pages: 3 }],
    ['a WebP that is to be scaled', 'image/webp', webp('VP8 ', '000000 9d012a 0540 0680'), { width: 5, height: 6 }],
    ['a WebP of more frames than are counted', 'image/webp', animatedWebp(10_001), { pages: 10_000 }],
    ['a WebP with a chunk of odd length', 'image/webp', animatedWebp(2, riffChunk('EXIF', '00')), { pages: 2 }],
    ['a TIFF of more pages than are counted', 'image/tiff', tiff(true, times(10_001, [5, 6])), { pages: 10_000 }],
    ['a TIFF of as many entries as are read', 'image/tiff', crowded(7), { width: 5, height: 6, pages: 7 }],
  ])('%s', async (_what, type, bytes, expected) => {
    expect(await readImageHeader(type, bufferSource(bytes))).toMatchObject(expected);
  });

  it('a GIF counts a frame beyond its screen', async () => {
    const bytes = Buffer.from(await plain(2, 2).gif().toBuffer());
    const frame = bytes.indexOf(0x2c, 13 + 3 * 2 ** (((bytes[10] ?? 0) & 7) + 1));
    bytes.writeUInt16LE(60_000, frame + 5);
    expect(await readImageHeader('image/gif', bufferSource(bytes))).toMatchObject({ width: 60_000 });
  });
});

describe('a file that is no image', () => {
  it.each<[string, ImageType, Buffer]>([
    ['FF D8 FF alone', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff])],
    ['a JPEG that ends at once', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xd9])],
    ['a JPEG with a segment of no length', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0])],
    ['a JPEG without a height', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 0, 0, 5, 3])],
    ['a PNG signature', 'image/png', Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')],
    ['a PNG without data', 'image/png', Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(40)])],
    ['a WebP of nothing', 'image/webp', Buffer.from('RIFF\0\0\0\0WEBPXXXX'.padEnd(40, '\0'), 'latin1')],
    ['a GIF without a frame', 'image/gif', Buffer.from('GIF89a\x01\0\x01\0\0\0\0;', 'latin1')],
    ['a TIFF that goes in a circle', 'image/tiff', circle()],
    ['a TIFF without a page', 'image/tiff', Buffer.from('II*\0\0\0\0\0', 'latin1')],
    ['a TIFF whose directories lie over each other', 'image/tiff', overlapping()],
    [
      'a JPEG with a restart marker before its frame',
      'image/jpeg',
      Buffer.from('\xff\xd8\xff\xd0\xff\xfe\0\x04', 'latin1'),
    ],
    ['a JPEG with a second beginning', 'image/jpeg', Buffer.from('\xff\xd8\xff\xd8\xff\xe0\0\x04', 'latin1')],
    [
      'a JPEG of a kind that nobody reads',
      'image/jpeg',
      Buffer.from('\xff\xd8\xff\xc8\0\x11\x08\0\x05\0\x05', 'latin1'),
    ],
    [
      'a GIF behind the mark of an MP3',
      'image/gif',
      Buffer.from('ID3\x03\0\0\0\0\0\0GIF89a\x01\0\x01\0\0\0\0,', 'latin1'),
    ],
    ['a GIF behind a byte order mark', 'image/gif', Buffer.from('\xef\xbb\xbfGIF89a\x01\0\x01\0\0\0\0,', 'latin1')],
    ['a GIF of blocks of one byte', 'image/gif', blocks()],
    ['a BigTIFF', 'image/tiff', Buffer.from('II+\0\x08\0\0\0\0\0\0\0\0\0\0\0', 'latin1')],
  ])('%s is told', async (_what, type, bytes) => {
    await expect(readImageHeader(type, bufferSource(bytes))).rejects.toThrow(BrokenImage);
  });

  // Most would be taken for images but for this.
  it.each<[string, ImageType, Buffer, string]>([
    ['a GIF of too many blocks', 'image/gif', gif(gifFrame(5, 6), gifComment(2_000_001)), 'too many blocks'],
    [
      'a GIF of too many blocks in all',
      'image/gif',
      gif(gifFrame(5, 6), gifComment(1_000_000), gifComment(1_000_001)),
      'too many blocks',
    ],
    ['a JPEG of too many segments', 'image/jpeg', jpeg(...times(100_000, hex('fffe 0002'))), 'too many segments'],
    [
      'a JPEG without a marker behind a segment',
      'image/jpeg',
      jpeg(hex('ffe0 0002 00c0 0011 08 0005 0005')),
      'no marker',
    ],
    ['a JPEG with a segment of no length', 'image/jpeg', jpeg(hex('ffe0 0000')), 'without a length'],
    ['a JPEG with a segment of half a length', 'image/jpeg', jpeg(hex('ffe0 0001')), 'without a length'],
    ...[0x00, 0x01, 0xbf, 0xc8, 0xd0, 0xd7, 0xd8, 0xd9, 0xda, 0xde, 0xdf, 0xf0, 0xfd].map(
      (code): [string, ImageType, Buffer, string] => [
        `a JPEG with the marker ${code.toString(16)} before its frame`,
        'image/jpeg',
        // An image to whoever takes it for a segment, for a frame, or for nothing.
        jpeg(Buffer.of(0xff, code), hex('000b 08 0005 0005 01 01 11 00')),
        'no frame',
      ],
    ),
    ['a PNG whose first chunk is another', 'image/png', patched(png(), 12, 'iHDR'), 'no IHDR'],
    ['a PNG whose header is of another length', 'image/png', patched(png(), 8, '\0\0\0\x0e'), 'no IHDR'],
    ['a PNG of too many chunks', 'image/png', png(...times(100_000, pngChunk('teXt'))), 'no IDAT'],
    ['a WebP without a key frame', 'image/webp', webp('VP8 ', '000000 9d012b 0500 0600'), 'no key frame'],
    ['a lossless WebP without its signature', 'image/webp', webp('VP8L', '30 04400100 00 00 00 00 00'), 'no signature'],
    ['a TIFF of too many entries', 'image/tiff', crowded(8), 'too large'],
    ['a TIFF whose width is a fraction', 'image/tiff', patched(tiff(true, [[5, 6]]), 12, '\x05'), 'no known type'],
  ])('%s is told by that', async (_what, type, bytes, reason) => {
    const reading = readImageHeader(type, bufferSource(bytes));
    await expect(reading).rejects.toThrow(BrokenImage);
    await expect(reading).rejects.toThrow(reason);
  });

  it.each(KINDS)('another that goes on as a %s is told by how it begins', async (_kind, type, make) => {
    const bytes = patched(await make(9, 8).toBuffer(), type === 'image/tiff' ? 1 : 0, 'X');
    await expect(readImageHeader(type, bufferSource(bytes))).rejects.toThrow('it does not begin as one');
  });

  it.each([
    ['image/gif', 'comments'],
    ['image/webp', 'chunks'],
  ] as const)('%s does not hide its frames behind a hundred thousand empty %s', async (type, _what) => {
    const image = await animated(20, 10, 5)
      .toFormat(type === 'image/gif' ? 'gif' : 'webp')
      .toBuffer();
    expect(await readImageHeader(type, bufferSource(image))).toMatchObject({ pages: 5 });
    const at = type === 'image/gif' ? endOfFirstFrame(image) : image.indexOf('ANMF', image.indexOf('ANMF') + 4);
    const nothing = type === 'image/gif' ? Buffer.from([0x21, 0xfe, 0]) : Buffer.from('XXXX\0\0\0\0', 'latin1');
    const hidden = (count: number) =>
      Buffer.concat([image.subarray(0, at), ...Array.from({ length: count }, () => nothing), image.subarray(at)]);
    expect(await readImageHeader(type, bufferSource(hidden(1000)))).toMatchObject({ pages: 5 });
    await expect(readImageHeader(type, bufferSource(hidden(100_000)))).rejects.toThrow(BrokenImage);
  });

  it('never hangs or fails otherwise, however it is broken', async () => {
    const good = await Promise.all(KINDS.map(async ([, type, make]) => [type, await make(9, 8).toBuffer()] as const));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...good),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 20 }),
        fc.nat(),
        async ([type, bytes], changes, cut) => {
          const broken = Buffer.from(bytes).subarray(0, cut % 2 === 0 ? bytes.length : cut % bytes.length);
          for (const [at, value] of changes) if (broken.length > 0) broken[at % broken.length] = value;
          try {
            const { width, height, pages } = await readImageHeader(type, bufferSource(broken));
            expect(Math.min(width, height, pages)).toBeGreaterThan(0);
          } catch (error) {
            expect(error).toBeInstanceOf(BrokenImage);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});

it('reads a file on the disk as it reads memory, whatever its size', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-header-'));
  try {
    const path = join(folder, 'image');
    const bytes = await plain(700, 500)
      .withExif({ IFD0: { Copyright: 'x'.repeat(200_000) } })
      .png({ compressionLevel: 0 })
      .toBuffer();
    await writeFile(path, bytes);
    const file = await open(path);
    const source = fileSource(file, bytes.length);
    expect(await readImageHeader('image/png', source)).toEqual({ width: 700, height: 500, pages: 1 });
    for (const [offset, length] of [
      [0, 10],
      [bytes.length - 3, 10],
      [bytes.length, 1],
      [5, 100_000],
      [90_000, 7],
      [1, 1],
    ] as const) {
      expect((await source.read(offset, length)).equals(bytes.subarray(offset, offset + length))).toBe(true);
    }
    await file.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('knows its types by their names', () => {
  expect(['image/png', 'image/svg+xml', 'constructor'].map(isImageType)).toEqual([true, false, false]);
});

function hex(digits: string): Buffer {
  return Buffer.from(digits.replaceAll(' ', ''), 'hex');
}

function times<T>(count: number, one: T): readonly T[] {
  return Array.from({ length: count }, () => one);
}

function patched(bytes: Buffer, at: number, text: string): Buffer {
  const changed = Buffer.from(bytes);
  changed.write(text, at, 'latin1');
  return changed;
}

/** A screen of one pixel, and what is on it. */
function gif(...blocks: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('GIF89a\x01\0\x01\0\0\0\0', 'latin1'), ...blocks, Buffer.from(';')]);
}

function gifFrame(width: number, height: number, left = 0, top = 0): Buffer {
  const frame = Buffer.alloc(12);
  frame[0] = 0x2c;
  for (const [i, value] of [left, top, width, height].entries()) frame.writeUInt16LE(value, 1 + 2 * i);
  return frame;
}

/** Of so many blocks, each of one byte. */
function gifComment(blocks: number): Buffer {
  return Buffer.concat([hex('21 fe'), Buffer.alloc(blocks * 2, 1), hex('00')]);
}

/** A JPEG of 5 x 6, as far as its frame. */
function jpeg(...segments: readonly Buffer[]): Buffer {
  return Buffer.concat([hex('ffd8'), ...segments, hex('ffc0 000b 08 0006 0005 01 01 11 00')]);
}

function pngChunk(name: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length, 0);
  head.write(name, 4, 'latin1');
  return Buffer.concat([head, data, Buffer.alloc(4)]);
}

function acTL(frames: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt32BE(frames, 0);
  return pngChunk('acTL', data);
}

/** A PNG of 5 x 6, as far as its pixels. */
function png(...chunks: readonly Buffer[]): Buffer {
  const ihdr = pngChunk('IHDR', hex('00000005 00000006 08 02 00 00 00'));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ihdr, ...chunks, pngChunk('IDAT')]);
}

/** Padded to an even length. */
function riffChunk(name: string, digits = ''): Buffer {
  const data = hex(digits);
  const bytes = Buffer.alloc(8 + data.length + (data.length % 2));
  bytes.write(name, 'latin1');
  bytes.writeUInt32LE(data.length, 4);
  data.copy(bytes, 8);
  return bytes;
}

function webp(name: string, digits: string, ...chunks: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('RIFF\0\0\0\0WEBP', 'latin1'), riffChunk(name, digits), ...chunks]);
}

/** Of 5 x 6; its frames are empty. */
function animatedWebp(frames: number, ...before: readonly Buffer[]): Buffer {
  return webp('VP8X', '02 000000 040000 050000', ...before, ...times(frames, riffChunk('ANMF')));
}

/** A TIFF of pages of 5 x 6, each of which has as many entries as it may. */
function crowded(pages: number): Buffer {
  const [count, page] = [65_535, tiff(true, [[5, 6]]).subarray(10, 34)];
  const size = 2 + count * 12 + 4;
  const bytes = Buffer.alloc(8 + pages * size);
  bytes.write('II*\0\x08', 'latin1');
  for (let i = 0; i < pages; i++) {
    const at = 8 + i * size;
    bytes.writeUInt16LE(count, at);
    page.copy(bytes, at + 2);
    bytes.writeUInt32LE(i + 1 < pages ? at + size : 0, at + size - 4);
  }
  return bytes;
}

/** A TIFF that holds nothing but the sizes of its pages. */
function tiff(little: boolean, pages: readonly (readonly [width: number, height: number])[]): Buffer {
  const bytes = Buffer.alloc(8 + pages.length * 30);
  const short = (value: number, at: number) =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at);
  const long = (value: number, at: number) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  bytes.write(little ? 'II' : 'MM', 0, 'latin1');
  short(42, 2);
  long(8, 4);
  pages.forEach(([width, height], i) => {
    const at = 8 + i * 30;
    short(2, at);
    for (const [n, tag, value] of [
      [0, 256, width],
      [1, 257, height],
    ] as const) {
      short(tag, at + 2 + n * 12);
      short(4, at + 4 + n * 12);
      long(1, at + 6 + n * 12);
      long(value, at + 10 + n * 12);
    }
    long(i + 1 < pages.length ? at + 30 : 0, at + 26);
  });
  return bytes;
}

function circle(): Buffer {
  const bytes = tiff(true, [[5, 5]]);
  bytes.writeUInt32LE(8, 8 + 26);
  return bytes;
}

/** Ten thousand directories of 65,535 entries each, in less than a megabyte. */
function overlapping(): Buffer {
  const count = 10_000;
  const bytes = Buffer.alloc(8 + 6 * count + 2 + 65_535 * 12 + 4);
  bytes.write('II*\0\x08', 'latin1');
  for (let i = 0; i < count; i++) {
    const at = 8 + 6 * i;
    bytes.writeUInt16LE(0xffff, at);
    bytes.writeUInt32LE(at + 6, at + 2 + 65_535 * 12);
  }
  return bytes;
}

/** A comment that goes on for millions of blocks. */
function blocks(): Buffer {
  const bytes = Buffer.alloc(5_000_000, 1);
  bytes.write('GIF89a\x01\0\x01\0\0\0\0\x21\xfe', 'latin1');
  return bytes;
}

function endOfFirstFrame(gif: Buffer): number {
  const table = (flags = 0) => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1));
  let at = 13 + table(gif[10]);
  for (;;) {
    const isFrame = gif[at] === 0x2c;
    at += isFrame ? 11 + table(gif[at + 9]) : 2;
    while ((gif[at] ?? 0) !== 0) at += 1 + (gif[at] ?? 0);
    at++;
    if (isFrame) return at;
  }
}
