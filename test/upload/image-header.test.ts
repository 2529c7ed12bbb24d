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
import {
  acTL,
  animatedWebp,
  endOfFirstFrame,
  gif,
  gifComment,
  gifFrame,
  gifWithEndlessComment,
  hex,
  jpeg,
  loopingTiff,
  oneColorWebp,
  patched,
  png,
  pngChunk,
  riffChunk,
  tiff,
  tiffWithManyEntries,
  tiffWithOverlappingDirectories,
  times,
  webp,
} from './image-bytes.js';

const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 90, g: 20, b: 200 } } });
const animated = (width: number, height: number, pages: number) =>
  sharp(
    Buffer.alloc(width * height * pages * 3).map((_, i) => (i * 31) % 256),
    {
      raw: { width, height: height * pages, channels: 3, pageHeight: height } as never,
    },
  );

/** Every variant of the image types that sharp can write. */
const VARIANTS: readonly (readonly [variant: string, type: ImageType, make: (w: number, h: number) => sharp.Sharp])[] =
  [
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

describe('the image header reader', () => {
  it.each(VARIANTS)('reads the size of a %s', async (_variant, type, make) => {
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
  ] as const)('counts the frames of an animated %s', async (_variant, type, make) => {
    const bytes = await make().toBuffer();
    expect(await readImageHeader(type, bufferSource(bytes))).toEqual({ width: 20, height: 10, pages: 3 });
  });

  it('counts the frames of an APNG', async () => {
    const png = await plain(5, 7).png().toBuffer();
    const bytes = Buffer.concat([png.subarray(0, 33), acTL(12), png.subarray(33)]);
    expect(await readImageHeader('image/png', bufferSource(bytes))).toEqual({ width: 5, height: 7, pages: 12 });
  });

  it('counts the pages of a TIFF in both byte orders', async () => {
    for (const little of [true, false]) {
      const bytes = tiff(little, [
        [10, 20],
        [50, 40],
        [30, 30],
      ]);
      expect(await readImageHeader('image/tiff', bufferSource(bytes))).toEqual({ width: 50, height: 40, pages: 3 });
    }
  });

  it('reads the size of a PNG of 50,000 x 50,000 pixels without decoding it', async () => {
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
      'a GIF with a frame at an offset',
      'image/gif',
      gif(gifFrame(5, 6, 10_000, 20_000)),
      { width: 10_005, height: 20_006, pages: 1 },
    ],
    [
      'a GIF with a later frame beyond its screen, which decoders cut off',
      'image/gif',
      gif(gifFrame(5, 6), gifFrame(5, 6, 10_000, 20_000)),
      { width: 5, height: 6, pages: 2 },
    ],
    ['a lossless WebP of 28 bytes', 'image/webp', oneColorWebp(5, 6), { width: 5, height: 6, pages: 1 }],
    ['a lossless WebP that is only a header', 'image/webp', webp('VP8L', '2f 04400100 00'), { width: 5, height: 6 }],
    [
      'a GIF with an unknown block, at which decoders stop',
      'image/gif',
      gif(gifFrame(5, 6), hex('00'), gifFrame(7, 8)),
      { width: 5, height: 6, pages: 1 },
    ],
    ['a GIF of more frames than are counted', 'image/gif', gif(...times(10_001, gifFrame(5, 6))), { pages: 10_000 }],
    ['a GIF of the largest number of blocks', 'image/gif', gif(gifFrame(5, 6), gifComment(2_000_000)), { pages: 1 }],
    ['a JPEG of the largest number of segments', 'image/jpeg', jpeg(...times(99_999, hex('fffe 0002'))), { pages: 1 }],
    ['a JPEG with fill bytes before its frame', 'image/jpeg', jpeg(hex('ff ff ff')), { width: 5, height: 6 }],
    ['a PNG of the largest number of chunks', 'image/png', png(...times(99_999, pngChunk('teXt'))), { pages: 1 }],
    ['a PNG with two frame counts, of which the larger counts', 'image/png', png(acTL(3), acTL(1)), { pages: 3 }],
    ['a WebP with scaling bits', 'image/webp', webp('VP8 ', '000000 9d012a 0540 0680'), { width: 5, height: 6 }],
    ['a WebP of more frames than are counted', 'image/webp', animatedWebp(10_001), { pages: 10_000 }],
    ['a WebP with a chunk of odd length', 'image/webp', animatedWebp(2, riffChunk('EXIF', '00')), { pages: 2 }],
    ['a TIFF of more pages than are counted', 'image/tiff', tiff(true, times(10_001, [5, 6])), { pages: 10_000 }],
    [
      'a TIFF of the largest number of entries',
      'image/tiff',
      tiffWithManyEntries(7),
      { width: 5, height: 6, pages: 7 },
    ],
  ])('reads %s', async (_what, type, bytes, expected) => {
    expect(await readImageHeader(type, bufferSource(bytes))).toMatchObject(expected);
  });

  it('includes a GIF frame that extends beyond the screen', async () => {
    const bytes = Buffer.from(await plain(2, 2).gif().toBuffer());
    const frame = bytes.indexOf(0x2c, 13 + 3 * 2 ** (((bytes[10] ?? 0) & 7) + 1));
    bytes.writeUInt16LE(60_000, frame + 5);
    expect(await readImageHeader('image/gif', bufferSource(bytes))).toMatchObject({ width: 60_000 });
  });
});

const MARKER_REASONS: Readonly<Record<number, string>> = {
  0: 'the JPEG has stray bytes between its segments',
  217: 'the JPEG has no frame header',
  218: 'the JPEG has no frame header',
};

describe('the image header reader', () => {
  it.each<[string, ImageType, Buffer]>([
    ['a JPEG that ends after its signature', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xd9])],
    ['a JPEG with a segment length of zero', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0])],
    ['a JPEG without a height', 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 0, 0, 5, 3])],
    ['a PNG signature', 'image/png', Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')],
    ['a PNG without data', 'image/png', Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(40)])],
    ['a TIFF without a page', 'image/tiff', Buffer.from('II*\0\0\0\0\0', 'latin1')],
    ['a TIFF with overlapping directories', 'image/tiff', tiffWithOverlappingDirectories()],
    [
      'a JPEG with a restart marker before its frame',
      'image/jpeg',
      Buffer.from('\xff\xd8\xff\xd0\xff\xfe\0\x04', 'latin1'),
    ],
    ['a JPEG with a second start marker', 'image/jpeg', Buffer.from('\xff\xd8\xff\xd8\xff\xe0\0\x04', 'latin1')],
    [
      'a JPEG with the reserved marker JPG',
      'image/jpeg',
      Buffer.from('\xff\xd8\xff\xc8\0\x11\x08\0\x05\0\x05', 'latin1'),
    ],
    ['a GIF after an ID3 tag', 'image/gif', Buffer.from('ID3\x03\0\0\0\0\0\0GIF89a\x01\0\x01\0\0\0\0,', 'latin1')],
    ['a GIF after a byte order mark', 'image/gif', Buffer.from('\xef\xbb\xbfGIF89a\x01\0\x01\0\0\0\0,', 'latin1')],
    ['a GIF of millions of blocks of one byte', 'image/gif', gifWithEndlessComment()],
  ])('refuses %s', async (_what, type, bytes) => {
    await expect(readImageHeader(type, bufferSource(bytes))).rejects.toThrow(BrokenImage);
  });

  // Most would be accepted without the check that their reason names.
  it.each<[string, ImageType, Buffer, string]>([
    [
      'FF D8 FF alone',
      'image/jpeg',
      Buffer.from([0xff, 0xd8, 0xff]),
      'the file ends before its image header is complete',
    ],
    [
      'a WebP without an image chunk',
      'image/webp',
      Buffer.from('RIFF\0\0\0\0WEBPXXXX'.padEnd(40, '\0'), 'latin1'),
      'the WebP has no image chunk',
    ],
    [
      'a GIF without a frame',
      'image/gif',
      Buffer.from('GIF89a\x01\0\x01\0\0\0\0;', 'latin1'),
      'the image has a width, height or page count of zero',
    ],
    ['a TIFF whose pages form a loop', 'image/tiff', loopingTiff(), 'the TIFF has a page list that loops'],
    [
      'a GIF of too many blocks',
      'image/gif',
      gif(gifFrame(5, 6), gifComment(2_000_001)),
      'the GIF has too many blocks',
    ],
    [
      'a GIF of too many blocks in all',
      'image/gif',
      gif(gifFrame(5, 6), gifComment(1_000_000), gifComment(1_000_001)),
      'the GIF has too many blocks',
    ],
    [
      'a JPEG of too many segments',
      'image/jpeg',
      jpeg(...times(100_000, hex('fffe 0002'))),
      'the JPEG has too many segments',
    ],
    [
      'a JPEG without a marker after a segment',
      'image/jpeg',
      jpeg(hex('ffe0 0002 00c0 0011 08 0005 0005')),
      'the JPEG has stray bytes between its segments',
    ],
    [
      'a JPEG with a zero after a segment',
      'image/jpeg',
      jpeg(hex('ffe0 0002 00')),
      'the JPEG has stray bytes between its segments',
    ],
    [
      'a little-endian BigTIFF',
      'image/tiff',
      Buffer.from('II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0', 'latin1'),
      'the file is a BigTIFF, which is not supported',
    ],
    [
      'a big-endian BigTIFF',
      'image/tiff',
      Buffer.from('MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10', 'latin1'),
      'the file is a BigTIFF, which is not supported',
    ],
    [
      'a JPEG with a segment length of zero',
      'image/jpeg',
      jpeg(hex('ffe0 0000')),
      'the JPEG has a segment with an invalid length',
    ],
    [
      'a JPEG with a segment length of one',
      'image/jpeg',
      jpeg(hex('ffe0 0001')),
      'the JPEG has a segment with an invalid length',
    ],
    ...[0x00, 0x01, 0xbf, 0xc8, 0xd0, 0xd7, 0xd8, 0xd9, 0xda, 0xde, 0xdf, 0xf0, 0xfd].map(
      (code): [string, ImageType, Buffer, string] => [
        `a JPEG with the marker ${code.toString(16)} before its frame`,
        'image/jpeg',
        // A valid image if the marker is taken for a segment, for a frame, or is ignored.
        jpeg(Buffer.of(0xff, code), hex('000b 08 0005 0005 01 01 11 00')),
        MARKER_REASONS[code] ?? 'the JPEG has a marker that is not allowed before its frame header',
      ],
    ),
    ['a PNG whose first chunk is another', 'image/png', patched(png(), 12, 'iHDR'), 'the PNG has no valid IHDR chunk'],
    [
      'a PNG whose header is of another length',
      'image/png',
      patched(png(), 8, '\0\0\0\x0e'),
      'the PNG has no valid IHDR chunk',
    ],
    [
      'a PNG of too many chunks',
      'image/png',
      png(...times(100_000, pngChunk('teXt'))),
      'the PNG has no IDAT chunk, or too many chunks before it',
    ],
    ['a WebP without a key frame', 'image/webp', webp('VP8 ', '000000 9d012b 0500 0600'), 'the WebP has no key frame'],
    [
      'a lossless WebP without its signature',
      'image/webp',
      webp('VP8L', '30 04400100 00 00 00 00 00'),
      'the WebP has no VP8L signature',
    ],
    ['a TIFF of too many entries', 'image/tiff', tiffWithManyEntries(8), 'the TIFF has too many directory entries'],
    [
      'a TIFF with a fraction as its width',
      'image/tiff',
      patched(tiff(true, [[5, 6]]), 12, '\x05'),
      'the TIFF has a field of an unsupported type',
    ],
  ])('refuses %s with its reason', async (_what, type, bytes, reason) => {
    const reading = readImageHeader(type, bufferSource(bytes));
    await expect(reading).rejects.toThrow(BrokenImage);
    await expect(reading).rejects.toThrow(reason);
  });

  it.each(VARIANTS)('refuses a file that is a %s except for its signature', async (_variant, type, make) => {
    const bytes = patched(await make(9, 8).toBuffer(), type === 'image/tiff' ? 1 : 0, 'X');
    await expect(readImageHeader(type, bufferSource(bytes))).rejects.toThrow(
      'the file does not start with the signature of its image type',
    );
  });

  it.each([
    ['image/gif', 'comments', 'the GIF has too many extensions'],
    ['image/webp', 'chunks', 'the WebP has too many chunks'],
  ] as const)('refuses %s frames hidden behind a hundred thousand empty %s: %s', async (type, _what, reason) => {
    const image = await animated(20, 10, 5)
      .toFormat(type === 'image/gif' ? 'gif' : 'webp')
      .toBuffer();
    expect(await readImageHeader(type, bufferSource(image))).toMatchObject({ pages: 5 });
    const at = type === 'image/gif' ? endOfFirstFrame(image) : image.indexOf('ANMF', image.indexOf('ANMF') + 4);
    const filler = type === 'image/gif' ? Buffer.from([0x21, 0xfe, 0]) : Buffer.from('XXXX\0\0\0\0', 'latin1');
    const hidden = (count: number) =>
      Buffer.concat([image.subarray(0, at), ...Array.from({ length: count }, () => filler), image.subarray(at)]);
    expect(await readImageHeader(type, bufferSource(hidden(1000)))).toMatchObject({ pages: 5 });
    await expect(readImageHeader(type, bufferSource(hidden(100_000)))).rejects.toThrow(reason);
  });

  it('returns a size or throws BrokenImage for any bytes', async () => {
    const images = await Promise.all(
      VARIANTS.map(async ([, type, make]) => [type, await make(9, 8).toBuffer()] as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...images),
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

it('reads a file on disk exactly as it reads memory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'gatewarden-header-'));
  try {
    const path = join(directory, 'image');
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
    await rm(directory, { recursive: true });
  }
});

it('recognizes its media types', () => {
  expect(['image/png', 'image/svg+xml', 'constructor'].map(isImageType)).toEqual([true, false, false]);
});
