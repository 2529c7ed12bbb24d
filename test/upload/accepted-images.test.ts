import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { imageInspector, upload } from '../../src/upload/index.js';
import { exchangeWith, filePart, newDirectory, noiseImage, split } from './fixture.js';
import { multipart } from './multipart.js';

const TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff'] as const;
const [WIDTH, HEIGHT] = [311, 203];

/**
 * As cameras, scanners and programs write them: with profiles and metadata before the pixels, or directories after
 * them.
 */
const IMAGES: readonly (readonly [what: string, type: (typeof TYPES)[number], write: (image: Sharp) => Sharp])[] = [
  ['a PNG', 'image/png', (image) => image.png()],
  ['an interlaced PNG with a profile', 'image/png', (image) => image.withIccProfile('p3').png({ progressive: true })],
  ['a PNG of 16 bits', 'image/png', (image) => image.toColourspace('rgb16').png()],
  ['a PNG with a palette', 'image/png', (image) => image.png({ palette: true })],
  ['a PNG in grey with alpha', 'image/png', (image) => image.grayscale().ensureAlpha(0.5).png()],
  ['a PNG with much metadata', 'image/png', (image) => withMetadata(image).png()],
  ['a JPEG', 'image/jpeg', (image) => image.jpeg()],
  ['a JPEG with much metadata', 'image/jpeg', (image) => withMetadata(image).jpeg({ quality: 100 })],
  ['a progressive JPEG', 'image/jpeg', (image) => image.jpeg({ progressive: true, chromaSubsampling: '4:4:4' })],
  ['a JPEG in CMYK', 'image/jpeg', (image) => image.toColourspace('cmyk').jpeg()],
  ['a JPEG that is turned by its orientation', 'image/jpeg', (image) => image.withMetadata({ orientation: 6 }).jpeg()],
  ['a WebP', 'image/webp', (image) => image.webp()],
  ['a lossless WebP', 'image/webp', (image) => image.webp({ lossless: true })],
  ['a WebP with metadata and alpha', 'image/webp', (image) => withMetadata(image.ensureAlpha(0.5)).webp()],
  ['a GIF', 'image/gif', (image) => image.gif()],
  ['a TIFF without compression', 'image/tiff', (image) => image.tiff({ compression: 'none' })],
  ['a TIFF with LZW', 'image/tiff', (image) => image.tiff({ compression: 'lzw', predictor: 'horizontal' })],
  ['a TIFF with JPEG', 'image/tiff', (image) => image.tiff({ compression: 'jpeg', quality: 90 })],
  ['a TIFF in tiles', 'image/tiff', (image) => image.tiff({ compression: 'deflate', tile: true })],
  ['a TIFF of 16 bits', 'image/tiff', (image) => image.toColourspace('rgb16').tiff()],
  ['a TIFF with much metadata', 'image/tiff', (image) => withMetadata(image).tiff({ compression: 'none' })],
];

function withMetadata(image: Sharp): Sharp {
  const text = 'a long description '.repeat(1500);
  return image.withIccProfile('srgb').withExif({ IFD0: { ImageDescription: text, Copyright: 'no one' } });
}

const photograph = noiseImage(WIDTH, HEIGHT);
const limits = { types: TYPES, maxBytes: '5mb', maxPixels: WIDTH * HEIGHT } as const;
const inspect = imageInspector({ ...limits, decode: { sharp } });

describe('upload and imageInspector', () => {
  it.each(IMAGES)('accept %s', async (_what, type, write) => {
    const content = await write(photograph.clone()).toBuffer();
    const found = { type, width: WIDTH, height: HEIGHT, pages: 1 };
    for (const image of [content, content.toString('base64')]) {
      const inspected = await inspect(image);
      expect(inspected).toMatchObject({ kind: 'accepted', ...found });
      expect(inspected.kind === 'accepted' && inspected.content.equals(content)).toBe(true);
    }
    const body = multipart([filePart(content)]);
    const directory = await newDirectory();
    for (const [memoryBytes, piece] of [
      [5_000_000, body.length],
      [10, body.length],
      [10, 65_536],
      [5_000_000, 4099],
      [10, 777],
    ] as const) {
      const { exchange } = exchangeWith(split(body, piece));
      const guard = upload({ files: limits, decode: { sharp }, spool: { directory, memoryBytes } });
      expect(await guard(exchange)).toBeUndefined();
      expect(exchange.upload?.files[0]).toMatchObject({ ...found, bytes: content.length });
      expect((await exchange.upload?.files[0]?.buffer())?.equals(content)).toBe(true);
      exchange.end({ kind: 'completed', status: 200 });
    }
  });
});
