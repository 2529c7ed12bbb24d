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
    const acTL = Buffer.alloc(20);
    acTL.writeUInt32BE(8, 0);
    acTL.write('acTL', 4, 'latin1');
    acTL.writeUInt32BE(12, 8);
    const bytes = Buffer.concat([png.subarray(0, 33), acTL, png.subarray(33)]);
    expect(await readImageHeader('image/png', bufferSource(bytes))).toEqual({ width: 5, height: 7, pages: 12 });
  });

  it('a TIFF of several pages says how many, in both byte orders', async () => {
    for (const little of [true, false]) {
      const bytes = tiff(little, [
        [30, 40],
        [50, 20],
      ]);
      expect(await readImageHeader('image/tiff', bufferSource(bytes))).toEqual({ width: 50, height: 40, pages: 2 });
    }
  });

  it('a PNG of 50,000 x 50,000 pixels is read without a pixel of it', async () => {
    const ihdr = Buffer.alloc(13);
    ihdr.writeUInt32BE(50_000, 0);
    ihdr.writeUInt32BE(50_000, 4);
    const chunk = (name: string, data: Buffer) => {
      const head = Buffer.alloc(8);
      head.writeUInt32BE(data.length, 0);
      head.write(name, 4, 'latin1');
      return Buffer.concat([head, data, Buffer.alloc(4)]);
    };
    const bytes = Buffer.concat([
      Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
      chunk('IHDR', ihdr),
      chunk('IDAT', deflateSync(Buffer.alloc(100))),
    ]);
    expect(await readImageHeader('image/png', bufferSource(bytes))).toMatchObject({ width: 50_000, height: 50_000 });
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
