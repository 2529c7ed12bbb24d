import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type ImageInspection, type ImageType, imageInspector } from '../../src/upload/index.js';
import { CAN_OBSERVE, childProcesses, memoryOfAll } from './decoder-processes.js';
import {
  compressedText,
  gifOf,
  jpegOfScans,
  jpegThatDeclares,
  type PngShape,
  pngOf,
  tiffOf,
  webpOfFrames,
} from './hostile-images.js';
import { hex, oneColorWebp } from './image-bytes.js';

const TYPES: readonly ImageType[] = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff'];
const MAX_FILE_BYTES = 8_000_000;
const MAX_GROWTH = 300_000_000;
const TIMEOUT_MS = 2000;
/** For a process that has to start first, on a machine that runs other tests. */
const START_MS = 3000;
/** How long the random search runs. Hours find more. */
const SECONDS = Number(process.env.DECODE_FUZZ_SECONDS ?? 4);

const header = imageInspector({ types: TYPES, maxBytes: MAX_FILE_BYTES, animated: true });
const decode = imageInspector({
  types: TYPES,
  maxBytes: MAX_FILE_BYTES,
  animated: true,
  decode: { sharp, timeout: `${TIMEOUT_MS}ms`, concurrency: 1 },
});
const refusalOf = (inspected: ImageInspection) => (inspected.kind === 'refused' ? inspected.problem : inspected);
const DECODED = { status: 413, code: 'upload-too-large', part: 'decoded' };

/** Decodes, and measures how long it takes and how far memory grows beyond that of an idle decoder. */
async function measured(image: Buffer): Promise<{ inspected: ImageInspection; ms: number; growth: number }> {
  expect(image.length).toBeLessThanOrEqual(MAX_FILE_BYTES);
  await decode(oneColorWebp(1, 1));
  const before = memoryOfAll();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, memoryOfAll());
  }, 5);
  const start = performance.now();
  try {
    const inspected = await decode(image);
    return { inspected, ms: performance.now() - start, growth: most - before };
  } finally {
    clearInterval(watch);
  }
}

const side = 6300;
const pixels = side * side;
const TIFFS = {
  'of 4,000 samples a pixel': tiffOf({
    width: side,
    height: side,
    samples: 4000,
    rowsPerStrip: 1,
    pieceBytes: 4000 * side,
    pieces: side,
  }),
  'of 4,000 samples a pixel, big-endian, in planes': tiffOf({
    width: side,
    height: side,
    samples: 4000,
    planar: 2,
    little: false,
    pieceBytes: side,
    pieces: 4000,
  }),
  'of 1,000 bits a sample': tiffOf({ width: side, height: side, samples: 1, bits: 1000, pieceBytes: 1e6, pieces: 1 }),
  'of doubles': tiffOf({ width: side, height: side, samples: 2, bits: 64, pieceBytes: 1e6, pieces: 1 }),
};

describe('an image that is large when decoded', () => {
  it.each(Object.entries(TIFFS))('is refused by its header: a TIFF %s', async (_what, image) => {
    for (const inspect of [header, decode]) {
      expect(refusalOf(await inspect(image))).toMatchObject({ ...DECODED, limit: 320_000_000 });
    }
  });

  it.each<[string, () => Buffer | Promise<Buffer>]>([
    ['a TIFF of one tile', () => tiffOf({ width: 9, height: 9, tile: [16_384, 16_384], pieceBytes: 8e8, pieces: 1 })],
    [
      'a TIFF of planes',
      () => tiffOf({ width: 5000, height: 5000, samples: 8, planar: 2, pieceBytes: 25e6, pieces: 8 }),
    ],
    ['an interlaced PNG', () => pngOf({ width: side, height: side, depth: 16, interlaced: true })],
    ['a PNG of few rows', () => pngOf({ width: 4_000_000, height: 10 })],
    ['a lossless WebP of 28 bytes', () => oneColorWebp(16_383, 2441)],
    ['a GIF that restores its canvas', () => gifOf(side, side, 1)],
    ['a progressive JPEG in CMYK', () => jpegThatDeclares(side, side, 1, true)],
  ])('is refused before it is decoded, if the decoder would hold too much of it: %s', async (_what, make) => {
    const image = await make();
    expect((await header(image)).kind).toBe('accepted');
    await decode(oneColorWebp(1, 1));
    const processes = CAN_OBSERVE ? childProcesses() : [];
    expect(refusalOf(await decode(image))).toMatchObject({ ...DECODED, limit: 256 * 1024 * 1024 });
    // A decoder that runs out of memory is replaced. This one has not seen the image.
    if (CAN_OBSERVE) expect(childProcesses()).toEqual(processes);
  });

  it.each<[string, () => Buffer | Promise<Buffer>]>([
    ['a PNG', () => pngOf({ width: side, height: side, dataBytes: pixels * 4 + side })],
    ['a PNG of 16 bits', () => pngOf({ width: side, height: side, depth: 16, dataBytes: pixels * 8 + side })],
    [
      'an interlaced PNG',
      () => pngOf({ width: side, height: side, interlaced: true, dataBytes: pixels * 4 + 2 * side }),
    ],
    ['a progressive JPEG', () => jpegOfScans(side, 1)],
    ['a GIF', () => gifOf(side, side, 1, 1)],
    ['a TIFF', () => tiffOf({ width: side, height: side, photometric: 2, pieceBytes: pixels * 3, pieces: 1 })],
  ])('is accepted if the decoder reads it with little memory: %s of 40 million pixels', async (_what, make) => {
    const image = await make();
    const patient = imageInspector({ types: TYPES, maxBytes: MAX_FILE_BYTES, decode: { sharp, timeout: '1m' } });
    expect(refusalOf(await patient(image))).toMatchObject({ kind: 'accepted', width: side, height: side });
  });

  it('is accepted if the service gives it the memory', async () => {
    const image = oneColorWebp(16_383, 2441);
    const decodeMore = { sharp, memoryBytes: '512mb', timeout: '1m' } as const;
    const generous = imageInspector({ types: ['image/webp'], maxBytes: '1mb', decode: decodeMore });
    expect(refusalOf(await generous(image))).toMatchObject({ kind: 'accepted' });
  });
});

describe('a JPEG of many scans', () => {
  it('is refused before it is decoded', async () => {
    const image = await jpegOfScans(side, 2600);
    expect(image.length).toBeLessThan(700_000);
    for (const inspect of [header, decode]) {
      expect(refusalOf(await inspect(image))).toMatchObject({ status: 422, reason: 'the JPEG has too many scans' });
    }
  });

  it('is refused only beyond 100, wherever they are', async () => {
    const reason = 'the JPEG has too many scans';
    expect((await header(await jpegOfScans(64, 100))).kind).toBe('accepted');
    const tooMany = await jpegOfScans(64, 101);
    expect(refusalOf(await header(tooMany))).toMatchObject({ reason });
    const firstScan = tooMany.indexOf(Buffer.from([0xff, 0xda]));
    for (const hidden of ['ffd9 00000000', 'ffd8 00000000', 'ffda 00080000']) {
      const comment = hex(`fffe 0008 ${hidden}`);
      // Behind the first scan: where its data ends, another marker begins.
      const at = tooMany.indexOf(Buffer.from([0xff, 0xc4]), firstScan);
      const image = Buffer.concat([tooMany.subarray(0, at), comment, tooMany.subarray(at)]);
      expect(refusalOf(await header(image))).toMatchObject({ reason });
    }
  });
});

/** Pieces from which the search puts hostile files together. Each is valid on its own. */
const dimension = fc.oneof(fc.constantFrom(1, 2, 8, 600, side, 16_383, 65_535), fc.integer({ min: 1, max: 70_000 }));
const area = fc.tuple(dimension, dimension).map(([width, other]) => {
  // Mostly within the limit of 40 million pixels, where the decoder has to work.
  return { width, height: Math.max(1, Math.min(other, Math.floor(40_000_000 / width))) };
});
const pngs = fc
  .record({
    size: area,
    depth: fc.constantFrom(1, 2, 4, 8, 16),
    colorType: fc.constantFrom(0, 2, 3, 4, 6),
    interlaced: fc.boolean(),
    dataBytes: fc.constantFrom(1000, 10_000_000, 100_000_000),
    texts: fc.nat(20),
  })
  .map(({ size, texts, ...shape }) => () => {
    const chunks = Array.from({ length: texts }, (_, i) => compressedText(50_000_000, i === 0 ? 'iCCP' : 'zTXt'));
    const png: PngShape = { ...size, ...shape, chunks };
    return pngOf(png);
  });
const tiffs = fc
  .record({
    size: area,
    samples: fc.constantFrom(1, 3, 4, 5, 40, 4000),
    bits: fc.constantFrom(1, 8, 16, 32, 64),
    tile: fc.constantFrom(undefined, [16, 16], [256, 256], [4096, 4096], [65_520, 16], [16, 65_520], [16_000, 16_000]),
    rowsPerStrip: fc.constantFrom(1, 8, 128, 5000, 4_294_967_295),
    planar: fc.constantFrom(1 as const, 2 as const),
    photometric: fc.constantFrom(0, 1, 2, 3, 5, 6, 8),
    pieceBytes: fc.constantFrom(1000, 1_000_000, 100_000_000),
    pieces: fc.constantFrom(1, 8, 5000),
    little: fc.boolean(),
  })
  .map(
    ({ size, tile, ...shape }) =>
      () =>
        tiffOf({ ...size, ...shape, ...(tile === undefined ? {} : { tile: [tile[0] ?? 16, tile[1] ?? 16] as const }) }),
  );
const scans = fc.constantFrom(1, 20, 60, 100, 1000);
const jpegs = fc.oneof(
  fc.tuple(fc.constantFrom(16, 600, 3000, side), scans).map(
    ([size, count]) =>
      () =>
        jpegOfScans(size, count),
  ),
  fc.tuple(area, scans, fc.boolean()).map(([{ width, height }, count, cmyk]) => () => {
    return jpegThatDeclares(Math.min(65_500, width), Math.min(65_500, height), count, cmyk);
  }),
);
const webps = fc.oneof(
  area.map(
    ({ width, height }) =>
      () =>
        oneColorWebp(Math.min(16_383, width), Math.min(16_383, height)),
  ),
  fc.tuple(area, fc.constantFrom(2, 3, 50, 5000)).map(([{ width, height }, frames]) => () => {
    return webpOfFrames(Math.min(16_383, width), Math.max(1, Math.min(16_383, Math.floor(height / frames))), frames);
  }),
);
const gifs = fc.tuple(area, fc.constantFrom(1, 2, 50, 5000), fc.nat(7)).map(
  ([{ width, height }, frames, disposal]) =>
    () =>
      gifOf(Math.min(65_535, width), Math.max(1, Math.min(65_535, Math.floor(height / frames))), frames, disposal),
);
const hostile = fc.oneof<fc.Arbitrary<() => Buffer | Promise<Buffer>>[]>(pngs, tiffs, jpegs, webps, gifs);

it.runIf(CAN_OBSERVE)(
  'no file of 8 MB costs more than 300 MB, or a decoder more than its timeout and a second',
  async () => {
    const counts = new Map<string, number>();
    const until = performance.now() + SECONDS * 1000;
    let most = { ms: 0, growth: 0 };
    await fc.assert(
      fc.asyncProperty(hostile, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 }), async (make, changes) => {
        if (performance.now() > until) return;
        const image = Buffer.from(await make());
        if (image.length > MAX_FILE_BYTES) return;
        // In the headers, where a change matters.
        for (const [at, value] of changes) image[at % Math.min(image.length, 200)] = value;
        const { inspected, ms, growth } = await measured(image);
        const outcome = inspected.kind === 'accepted' ? 'accepted' : String(inspected.problem.status);
        counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
        most = { ms: Math.max(most.ms, ms), growth: Math.max(most.growth, growth) };
        expect(growth).toBeLessThan(MAX_GROWTH);
        expect(ms).toBeLessThan(TIMEOUT_MS + 1000);
      }),
      { numRuns: SECONDS * 100, endOnFailure: true },
    );
    console.log(`hostile images: ${JSON.stringify([...counts])}, at most ${JSON.stringify(most)}`);
    expect([...counts.keys()].sort()).toEqual(expect.arrayContaining(['413', '422', 'accepted']));
  },
  SECONDS * 1000 + 30_000 + START_MS,
);
